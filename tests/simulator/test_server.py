"""The hub's bytes are those of ASP.NET Core (measured at version 10)."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingestor.simulator import ArgumentForm, DataForm, HandlerForm
from tests.simulator.conftest import StartHub
from tests.simulator.wire import HANDSHAKE, dial, join, post

BARE_FAILURE = "Failed to invoke 'GetBalances' due to an error on the server."


def test_a_taken_port_is_an_error_at_the_start(start_hub: StartHub) -> None:
    hub = start_hub()
    with pytest.raises(OSError, match="in use"):
        start_hub(port=hub.port)


def test_negotiation_version_1_gives_a_token_that_opens_the_websocket_once(start_hub: StartHub) -> None:
    hub = start_hub()
    status, body, _ = post(f"{hub.url}/negotiate?negotiateVersion=1", hub.config.api_key)
    answer = json.loads(body)
    assert status == 200
    assert list(answer) == ["negotiateVersion", "connectionId", "connectionToken", "availableTransports"]
    assert [one["transport"] for one in answer["availableTransports"]] == [
        "WebSockets",
        "ServerSentEvents",
        "LongPolling",
    ]
    with pytest.raises(InvalidStatus, match="404"), dial(hub, query=f"?id={answer['connectionId']}"):
        pass
    with join(hub, query=f"?id={answer['connectionToken']}"):
        assert hub.connections == 1
    with pytest.raises(InvalidStatus, match="404"), dial(hub, query=f"?id={answer['connectionToken']}"):
        pass


def test_negotiation_version_0_has_no_token_and_the_id_opens(start_hub: StartHub) -> None:
    hub = start_hub()
    answer = json.loads(post(f"{hub.url}/negotiate", hub.config.api_key)[1])
    assert "connectionToken" not in answer
    assert answer["negotiateVersion"] == 0
    with join(hub, query=f"?id={answer['connectionId']}"):
        assert hub.connections == 1


def test_negotiation_is_a_post(start_hub: StartHub) -> None:
    hub = start_hub()
    assert post(f"{hub.url}/negotiate", hub.config.api_key, method="GET")[0] == 405


def test_a_bad_key_gets_a_bare_401_at_negotiation_and_upgrade(start_hub: StartHub) -> None:
    hub = start_hub()
    status, body, _ = post(f"{hub.url}/negotiate", "wrong")
    assert (status, body) == (401, b"")
    with pytest.raises(InvalidStatus, match="401"), dial(hub, key="wrong"):
        pass


def test_a_changed_key_leaves_open_connections_alone(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.change_key("new-key")
        assert post(f"{hub.url}/negotiate", hub.config.api_key)[0] == 401
        assert post(f"{hub.url}/negotiate", hub.api_key)[0] == 200
        wire.call("Nope")
        assert wire.json()["type"] == 3


def test_the_key_may_come_in_the_query_as_browsers_send_it(start_hub: StartHub) -> None:
    hub = start_hub()
    with dial(hub, key="", query=f"?access_token={hub.config.api_key}") as wire:
        wire.send(HANDSHAKE)
        assert wire.frame() == b"{}\x1e"


def test_compression_is_offered_and_not_taken(start_hub: StartHub) -> None:
    with join(start_hub(), compression="deflate") as wire:
        assert wire.socket.response is not None
        assert "Sec-WebSocket-Extensions" not in wire.socket.response.headers


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b'{"protocol":"nope","version":1}\x1e', b'{"error":"The protocol \'nope\' is not supported."}\x1e'),
        (b"junk\x1e", b'{"error":"An unexpected error occurred during connection handshake."}\x1e'),
    ],
)
def test_a_refused_handshake_gets_the_reason_and_close_code_1000(
    start_hub: StartHub, request_: bytes, answer: bytes
) -> None:
    with dial(start_hub()) as wire:
        wire.send(request_)
        assert wire.frame() == answer
        assert closing_code(wire.socket.recv) == 1000


def test_a_handshake_that_does_not_come_is_canceled(start_hub: StartHub) -> None:
    with dial(start_hub(handshake_timeout_s=0.2)) as wire:
        assert wire.frame() == b'{"error":"Handshake was canceled."}\x1e'
        assert closing_code(wire.socket.recv) == 1000


def test_commands_glued_to_the_handshake_are_answered(start_hub: StartHub) -> None:
    with dial(start_hub()) as wire:
        wire.send(HANDSHAKE + b'{"type":1,"target":"Nope","arguments":[],"invocationId":"a"}\x1e')
        assert wire.json() == {}
        assert wire.json()["invocationId"] == "a"


def test_a_record_may_span_messages(start_hub: StartHub) -> None:
    with join(start_hub()) as wire:
        wire.send(b'{"type":1,"target":"Nope","argu')
        wire.send(b'ments":[],"invocationId":"a"}\x1e')
        assert wire.json()["invocationId"] == "a"


def test_commands_are_answered_by_an_event_and_then_a_null_completion(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        for target, subject, topic in (
            ("GetBalances", "account.balances.snapshot", "Account"),
            ("getpairs", "execution.pairs", "Execution"),  # target names know no case
        ):
            wire.call(target, "id-1", invocation_id="7")
            event = wire.json()
            (envelope,) = event.pop("arguments")
            assert event == {"type": 1, "target": "executionEvents"}
            assert list(envelope) == ["channel", "topic", "subject", "type", "clientId", "data"]
            assert json.loads(envelope.pop("data"))
            assert envelope == {
                "channel": "executionEvents",
                "topic": topic,
                "subject": subject,
                "type": "message",
                "clientId": "id-1",
            }
            assert wire.json() == {"type": 3, "invocationId": "7", "result": None}


@pytest.mark.parametrize(
    ("form", "arguments", "fits"),
    [
        (ArgumentForm.POSITIONAL, ["x"], True),
        (ArgumentForm.POSITIONAL, [["x"]], False),
        (ArgumentForm.POSITIONAL, [], False),
        (ArgumentForm.POSITIONAL, ["x", "y"], False),
        (ArgumentForm.POSITIONAL, [7], False),
        (ArgumentForm.NESTED, ["x"], False),
        (ArgumentForm.NESTED, [["x"]], True),
        (ArgumentForm.BOTH, ["x"], True),
        (ArgumentForm.BOTH, [["x"]], True),
    ],
)
def test_arguments_that_do_not_fit_fail_with_the_bare_text(
    start_hub: StartHub, form: ArgumentForm, arguments: list[object], fits: bool
) -> None:
    with join(start_hub(argument_form=form)) as wire:
        wire.call("GetBalances", *arguments)
        answer = wire.json()
        assert (answer["type"] == 1) if fits else (answer["error"] == BARE_FAILURE)


def test_an_unknown_method_is_refused_with_the_text_of_asp_net_core(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        wire.call("Nope")
        unknown = (
            "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."
        )
        assert wire.json() == {"type": 3, "invocationId": "1", "error": unknown}
    assert hub.targets_seen == {"Nope": 1}


def test_a_caller_without_invocation_id_hears_of_no_error(start_hub: StartHub) -> None:
    with join(start_hub()) as wire:
        wire.call("Nope", invocation_id=None)
        wire.call("GetPairs", "x", invocation_id=None)
        wire.call("GetPairs", "y", invocation_id="1")
        assert [wire.json()["type"] for _ in range(3)] == [1, 1, 3]


def test_a_client_id_above_36_characters_is_a_prechecks_error(start_hub: StartHub) -> None:
    with join(start_hub()) as wire:
        wire.call("GetBalances", "x" * 37)
        envelope = wire.json()["arguments"][0]
        assert envelope["subject"] == "preChecksError"
        assert "36" in json.loads(envelope["data"])["message"]


@pytest.mark.parametrize("sent", [b"junk\x1e", b'{"type":1}\x1e', b"x" * 33_000])
def test_a_broken_or_huge_record_ends_the_connection_with_a_close_record(
    start_hub: StartHub, sent: bytes
) -> None:
    with join(start_hub()) as wire:
        wire.send(sent)
        assert wire.frame() == (
            b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}\x1e'
        )
        assert closing_code(wire.socket.recv) == 1000


def test_pings_come_after_silence(start_hub: StartHub) -> None:
    with join(start_hub(ping_interval_s=0.2)) as wire:
        assert [wire.record(2.0), wire.record(2.0)] == [b'{"type":6}'] * 2


def test_only_a_client_that_has_pinged_is_timed_out(start_hub: StartHub) -> None:
    hub = start_hub(client_timeout_s=0.3)
    with join(hub) as mute, join(hub) as pinger:
        pinger.send(b'{"type":6}\x1e')
        assert pinger.json()["type"] == 7
        assert hub.wait_until(lambda one: one.connections == 1)
        mute.call("Nope")
        assert mute.json()["type"] == 3


def test_a_client_that_closes_is_forgotten(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        wire.send(b'{"type":7}\x1e')
        assert hub.wait_until(lambda one: one.connections == 0)


@pytest.mark.parametrize("data_form", DataForm)
@pytest.mark.parametrize("handler_form", HandlerForm)
def test_what_the_vendor_leaves_open_can_be_switched(
    start_hub: StartHub, data_form: DataForm, handler_form: HandlerForm
) -> None:
    with join(start_hub(data_form=data_form, handler_form=handler_form)) as wire:
        wire.call("GetBalances", "x")
        argument = wire.json()["arguments"][0]
        envelope = argument[0] if handler_form is HandlerForm.LIST else argument
        data = json.loads(envelope["data"]) if data_form is DataForm.STRING else envelope["data"]
        assert data["sequence"] == 100


def closing_code(read: object) -> int | None:
    assert callable(read)
    with pytest.raises(ConnectionClosed) as closed:
        read(timeout=5)
    return closed.value.rcvd.code if closed.value.rcvd else None
