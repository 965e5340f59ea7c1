"""The one way to send something to the hub: two commands, one call, and never the key (I17)."""

import json
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import ingestor
from ingestor.adapters.hub.link import HubLink
from ingestor.domain.errors import LinkDown
from ingestor.domain.requests import ArgumentForm, Command
from tests.support.fault_hub import END, FaultHub, Peer, frame, stay
from tests.support.hub_listener import KEY, RecordingListener, linked, make_link, quick
from tests.support.waiting import eventually


def invocations(hub: FaultHub) -> list[dict[str, object]]:
    messages = [json.loads(payload.rstrip(END)) for opcode, payload in hub.received if opcode == 1]
    return [message for message in messages if message["type"] == 1]


@pytest.mark.parametrize(
    ("form", "arguments"), [(ArgumentForm.POSITIONAL, ["id-1"]), (ArgumentForm.NESTED, [["id-1"]])]
)
@pytest.mark.parametrize("command", Command)
def test_a_request_is_one_invocation_with_its_id_twice(
    command: Command, form: ArgumentForm, arguments: list[object]
) -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener, quick(ping_seconds=60)) as link:
        eventually(lambda: listener.opened)
        link.request(listener.opened[0].session, command, "id-1", form)
        eventually(lambda: hub.received)
        assert invocations(hub) == [
            {"type": 1, "invocationId": "id-1", "target": command.value, "arguments": arguments}
        ]
        assert KEY.encode() not in b"".join(payload for _, payload in hub.received)


def test_the_answer_to_a_request_is_reported_by_its_id() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        echo = KEY[10:22]
        for text in (
            '{"type":3,"invocationId":"a"}',
            '{"type":3,"invocationId":"b","result":{"x":[1]}}',
            '{"type":3,"invocationId":"c","error":"HubException: no"}',
            f'{{"type":3,"invocationId":"d","error":"bad key {echo}!"}}',
        ):
            peer.raw(frame(text.encode() + END))
        peer.listen()

    with FaultHub([act]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.completions) == 4)
    assert listener.order == ["a", b'{"type":3,"invocationId":"b","result":{"x":[1]}}', "b", "c", "d"]
    session = listener.opened[0].session
    assert listener.completions[:3] == [
        (session, "a", None),
        (session, "b", None),
        (session, "c", "HubException: no"),
    ]
    assert listener.completions[3][2] == "bad key [redacted]!"


def test_a_request_outside_its_session_is_refused_and_nothing_is_sent() -> None:
    listener = RecordingListener()
    with FaultHub() as hub:
        with linked(hub.url, listener, quick(ping_seconds=60)) as link:
            eventually(lambda: listener.opened)
            with pytest.raises(LinkDown):
                link.request(uuid4(), Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)
        with pytest.raises(LinkDown):
            link.request(listener.opened[0].session, Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)
        assert invocations(hub) == []


def test_a_link_that_never_started_refuses_a_request() -> None:
    with pytest.raises(LinkDown):
        make_link("http://localhost/", RecordingListener()).request(
            uuid4(), Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL
        )


def test_a_request_on_a_broken_link_says_so_and_the_link_comes_back() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.reset()

    with FaultHub([act, stay]) as hub, linked(hub.url, listener) as link:
        eventually(lambda: listener.opened)
        with pytest.raises(LinkDown):
            _request_without_end(link, listener.opened[0].session)
        eventually(lambda: len(listener.opened) == 2)


def _request_without_end(link: HubLink, session: UUID) -> None:
    while True:
        link.request(session, Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)


def test_requests_and_pings_of_many_threads_never_interleave() -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener, quick(ping_seconds=0.001)) as link:
        eventually(lambda: listener.opened)
        session = listener.opened[0].session

        def request(thread: int) -> None:
            for number in range(200):
                link.request(session, Command.GET_PAIRS, f"{thread}-{number}" * 200, ArgumentForm.NESTED)

        threads = [threading.Thread(target=request, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: len(invocations(hub)) == 800)
        assert listener.closed == []


def test_exactly_one_place_in_the_package_sends_an_invocation() -> None:
    """The key can withdraw funds, so this is read from the sources themselves."""
    package = Path(ingestor.__file__).parent
    places = [
        f"{path.name}:{line.strip()}"
        for path in package.rglob("*.py")
        if not {"simulator", "cli"} & set(path.parts)  # a hub of its own, and click's `invoke`
        for line in path.read_text().splitlines()
        if any(word in line for word in (".invoke(", "InvocationMessage", ".stream(", "hub.send("))
    ]
    assert places == ["connection.py:self.invoke(command.value, arguments, invocation_id=request_id)"]
