"""The one way to say something to the hub: two commands, one call, and never the key."""

import json
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import ingestor
from ingestor.adapters.hub.link import HubLink
from ingestor.domain.commands import ArgumentForm, Command
from ingestor.domain.errors import LinkDown
from tests.support.fault_hub import END, FaultHub, Peer, frame, stay
from tests.support.hub_listener import KEY, Ear, linked, make_link, quick
from tests.support.waiting import eventually


def invocations(hub: FaultHub) -> list[dict[str, object]]:
    messages = [json.loads(payload.rstrip(END)) for opcode, payload in hub.heard if opcode == 1]
    return [message for message in messages if message["type"] == 1]


@pytest.mark.parametrize(
    ("form", "arguments"), [(ArgumentForm.POSITIONAL, ["id-1"]), (ArgumentForm.NESTED, [["id-1"]])]
)
@pytest.mark.parametrize("command", Command)
def test_an_ask_is_one_invocation_with_its_id_twice(
    command: Command, form: ArgumentForm, arguments: list[object]
) -> None:
    ear = Ear()
    with FaultHub() as hub, linked(hub.url, ear, quick(ping_seconds=60)) as link:
        eventually(lambda: ear.opened)
        link.ask(ear.opened[0].session, command, "id-1", form)
        eventually(lambda: hub.heard)
        assert invocations(hub) == [
            {"type": 1, "invocationId": "id-1", "target": command.value, "arguments": arguments}
        ]
        assert KEY.encode() not in b"".join(payload for _, payload in hub.heard)


def test_the_answer_to_an_ask_is_told_by_its_id() -> None:
    ear = Ear()

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

    with FaultHub([act]) as hub, linked(hub.url, ear):
        eventually(lambda: len(ear.completions) == 4)
    session = ear.opened[0].session
    assert ear.completions[:3] == [
        (session, "a", None),
        (session, "b", None),
        (session, "c", "HubException: no"),
    ]
    assert ear.completions[3][2] == "bad key [redacted]!"


def test_an_ask_outside_its_session_is_refused_and_nothing_is_sent() -> None:
    ear = Ear()
    with FaultHub() as hub:
        with linked(hub.url, ear, quick(ping_seconds=60)) as link:
            eventually(lambda: ear.opened)
            with pytest.raises(LinkDown):
                link.ask(uuid4(), Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)
        with pytest.raises(LinkDown):
            link.ask(ear.opened[0].session, Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)
        assert invocations(hub) == []


def test_a_link_that_never_started_refuses_to_ask() -> None:
    with pytest.raises(LinkDown):
        make_link("http://localhost/", Ear()).ask(uuid4(), Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)


def test_an_ask_on_a_broken_link_says_so_and_the_link_comes_back() -> None:
    ear = Ear()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.reset()

    with FaultHub([act, stay]) as hub, linked(hub.url, ear) as link:
        eventually(lambda: ear.opened)
        with pytest.raises(LinkDown):
            _ask_without_end(link, ear.opened[0].session)
        eventually(lambda: len(ear.opened) == 2)


def _ask_without_end(link: HubLink, session: UUID) -> None:
    while True:
        link.ask(session, Command.GET_PAIRS, "id", ArgumentForm.POSITIONAL)


def test_asks_and_pings_of_many_threads_never_interleave() -> None:
    ear = Ear()
    with FaultHub() as hub, linked(hub.url, ear, quick(ping_seconds=0.001)) as link:
        eventually(lambda: ear.opened)
        session = ear.opened[0].session

        def ask(thread: int) -> None:
            for number in range(200):
                link.ask(session, Command.GET_PAIRS, f"{thread}-{number}" * 200, ArgumentForm.NESTED)

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: len(invocations(hub)) == 800)
        assert ear.closed == []


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
    assert places == ["connection.py:self.invoke(command.value, arguments, invocation_id=command_id)"]
