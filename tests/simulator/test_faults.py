"""Each fault does what its name says, is counted, and comes from the seed."""

import itertools
import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from ingestor.simulator import Fault, HubConfig, SimulatedHub
from ingestor.simulator.faults import STAGE_OF, FaultQueue, FaultSpec, Stage, misbehaviour
from ingestor.simulator.journal import ChannelRecord
from tests.simulator.conftest import StartHub
from tests.simulator.test_server import closing_code
from tests.simulator.wire import HANDSHAKE, Wire, dial, join, post
from tests.support.journal import read_journal
from tests.support.waiting import eventually


def test_every_fault_has_a_stage() -> None:
    assert set(STAGE_OF) == set(Fault)


# --- records ---------------------------------------------------------------------------------------------


def changes(hub: Any, count: int) -> None:
    for _ in range(count):
        hub.account.change()


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        (Fault.DROP, [102, 103]),
        (Fault.DUPLICATE, [101, 101, 102, 103]),
        (Fault.REORDER, [102, 101, 103]),
        (Fault.DELAY, [102, 103, 101]),
    ],
)
def test_records_are_lost_doubled_swapped_and_late(
    start_hub: StartHub, journal_path: Path, fault: Fault, received: list[int]
) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(fault)
        changes(hub, 3)
        assert [wire.sequence() for _ in received] == received
        assert hub.fault_counts == {fault: 1}
        hub.settle()
    assert [one.fault for one in read_journal(journal_path).records].count(fault) == 1


def test_a_swapped_record_without_a_successor_comes_all_the_same(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.REORDER)
        changes(hub, 1)
        assert wire.sequence() == 101


def test_garbage_is_one_bad_record_between_good_ones(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.GARBAGE)
        changes(hub, 2)
        with pytest.raises(ValueError, match=r"."):
            json.loads(wire.record())
        assert wire.sequence() == 102


def test_an_internal_error_of_the_hub_is_raised_by_stop(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.DELAY, seconds="no number")
        changes(hub, 1)
        with pytest.raises(ConnectionClosed):
            wire.frame()
    with pytest.raises(RuntimeError, match="internal error") as raised:
        hub.stop()
    assert isinstance(raised.value.__cause__, TypeError)


def test_an_unknown_parameter_is_an_error_at_once(start_hub: StartHub) -> None:
    with pytest.raises(TypeError, match="colour"):
        start_hub().inject(Fault.RST, colour="red")


def test_a_fault_without_count_stays_until_it_is_cleared() -> None:
    requests = FaultQueue("key", lambda *_: None)
    requests.add(FaultSpec(Fault.DROP, count=None))
    assert all(requests.take(Stage.RECORD) for _ in range(5))
    assert requests.take(Stage.COMMAND) is None
    requests.clear()
    assert requests.take(Stage.RECORD) is None


# --- links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "record"),
    [
        ({}, {"type": 7}),
        (
            {"error": "maintenance", "allow_reconnect": True},
            {"type": 7, "error": "maintenance", "allowReconnect": True},
        ),
    ],
)
def test_the_hub_can_send_a_close_record(start_hub: StartHub, parameters: Any, record: Any) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.CLOSE, **parameters)
        assert wire.json() == record
        assert closing_code(wire.socket.recv) == 1000


def test_the_hub_can_close_the_websocket_without_a_record(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.WEBSOCKET_CLOSE, code=1001)
        assert closing_code(wire.socket.recv) == 1001


@pytest.mark.parametrize("fault", [Fault.RST, Fault.FIN])
def test_a_link_can_break_with_a_reset_or_an_end(start_hub: StartHub, fault: Fault) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(fault)
        with pytest.raises(ConnectionClosedError) as closed:
            wire.frame()
        assert closed.value.rcvd is None
        assert isinstance(closed.value.__cause__, ConnectionResetError) is (fault is Fault.RST)
        assert hub.wait_until(lambda one: one.connections == 0)


def test_a_silent_hub_says_nothing_and_keeps_tcp(start_hub: StartHub, journal_path: Path) -> None:
    hub = start_hub(ping_interval_s=0.1)
    with join(hub) as wire:
        hub.inject(Fault.SILENCE)
        hub.account.change()
        wire.call("GetPairs", "x")
        pong = wire.socket.ping()
        with pytest.raises(TimeoutError):
            drain_pings(wire, timeout=0.5)
        assert not pong.is_set()
        assert hub.connections == 1
        with join(hub) as late:
            hub.account.change()
            assert late.sequence() == 102
    assert {(one.fault, one.handed) for one in read_journal(journal_path).records} >= {("silence", None)}


def test_a_silent_hub_does_not_answer_a_close_frame_either(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.SILENCE)
        wire.socket.close()
        assert wire.socket.protocol.close_rcvd is None
        assert hub.wait_until(lambda one: one.connections == 0), "but it notices when TCP is gone"


def drain_pings(wire: Wire, timeout: float) -> None:
    """Pings already on their way may come; anything else must not."""
    for _ in range(3):
        assert wire.frame(timeout) == b'{"type":6}\x1e'


def test_silence_can_end(start_hub: StartHub) -> None:
    hub = start_hub(ping_interval_s=0.1)
    with join(hub) as wire:
        hub.inject(Fault.SILENCE, seconds=0.3)
        assert wire.frame() == b'{"type":6}\x1e'


def test_a_websocket_ping_can_carry_a_payload(start_hub: StartHub) -> None:
    """Seen on a bare socket, for WebSocket libraries hide it."""
    hub = start_hub()
    with socket.create_connection(("127.0.0.1", hub.port), timeout=5) as raw:
        raw.sendall(
            b"GET /ExecutionLiveServer/v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer " + hub.config.api_key.encode() + b"\r\n\r\n"
        )
        masked = bytes([0x81, 0x80 | len(HANDSHAKE), 0, 0, 0, 0]) + HANDSHAKE
        raw.sendall(masked)
        assert hub.wait_until(lambda hub: hub.connections >= 1)
        hub.inject(Fault.WEBSOCKET_PING, payload=b"are you there")
        received_bytes = b""
        while b"are you there" not in received_bytes:
            received_bytes += raw.recv(4096)
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in received_bytes, "RFC 6455's sample answer to its sample key"
        assert received_bytes.endswith(b"\x89\x0dare you there")
        assert b"\x81\x03{}\x1e" in received_bytes, "records are text frames"


def test_a_restarted_hub_is_back_on_its_port_with_its_account(start_hub: StartHub) -> None:
    hub = start_hub()
    port = hub.port
    with join(hub) as wire:
        hub.account.change()
        assert wire.sequence() == 101
        hub.inject(Fault.RESTART, seconds=0.2)
        with pytest.raises(ConnectionClosedError) as closed:
            wire.frame()
        assert closed.value.rcvd is None, "a killed process sends no close frame"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    assert hub.wait_until(lambda one: one.listening)
    with join(hub) as wire:
        hub.account.change()
        assert (hub.port, wire.sequence()) == (port, 102)


def test_restarts_may_overlap(start_hub: StartHub) -> None:
    hub = start_hub()
    for _ in range(3):
        hub.inject(Fault.RESTART, seconds=0.1)
    assert hub.wait_until(lambda one: one.listening)
    hub.come_back()
    with join(hub):
        assert hub.fault_counts == {Fault.RESTART: 3}
    hub.stop()


def test_a_hub_can_go_away_and_come_back(start_hub: StartHub) -> None:
    hub = start_hub()
    for _ in range(3):
        hub.go_away()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", hub.port), timeout=1)
        hub.come_back()
        with join(hub):
            assert hub.connections == 1


# --- negotiation, upgrade, handshake -------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_negotiation_can_fail_with_a_status(start_hub: StartHub, status: int) -> None:
    hub = start_hub()
    hub.inject(Fault.NEGOTIATE_STATUS, status=status, headers={"Retry-After": "7"})
    refused, _, headers = post(f"{hub.url}/negotiate", hub.config.api_key)
    assert (refused, headers["Retry-After"]) == (status, "7")
    assert post(f"{hub.url}/negotiate", hub.config.api_key)[0] == 200


def test_negotiation_can_answer_something_else(start_hub: StartHub) -> None:
    hub = start_hub()
    url, key = f"{hub.url}/negotiate", hub.config.api_key
    hub.inject(Fault.NEGOTIATE_PAGE)
    status, body, headers = post(url, key)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert body.startswith(b"<!DOCTYPE html>")
    hub.inject(Fault.NEGOTIATE_REDIRECT, url="http://127.0.0.1:9/elsewhere", status=307)
    status, _, headers = post(url, key)
    assert (status, headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


def test_negotiation_and_upgrade_can_hang(start_hub: StartHub) -> None:
    hub = start_hub()
    hub.inject(Fault.NEGOTIATE_HANG)
    with pytest.raises(TimeoutError):
        post(f"{hub.url}/negotiate", hub.config.api_key, timeout=0.3)
    hub.inject(Fault.UPGRADE_HANG)
    with pytest.raises(TimeoutError), dial(hub, open_timeout=0.3):
        pass
    with join(hub):
        assert hub.fault_counts == {Fault.NEGOTIATE_HANG: 1, Fault.UPGRADE_HANG: 1}


def test_the_upgrade_can_be_refused(start_hub: StartHub) -> None:
    hub = start_hub()
    hub.inject(Fault.UPGRADE_STATUS, status=403)
    with pytest.raises(InvalidStatus, match="403"), dial(hub):
        pass


def test_the_handshake_can_fail_or_hang(start_hub: StartHub) -> None:
    hub = start_hub()
    hub.inject(Fault.HANDSHAKE_ERROR, error="no")
    with dial(hub) as wire:
        wire.send(HANDSHAKE)
        assert wire.frame() == b'{"error":"no"}\x1e'
        with pytest.raises(ConnectionClosed):
            wire.frame()
    hub.inject(Fault.HANDSHAKE_HANG)
    with dial(hub) as wire:
        wire.send(HANDSHAKE)
        with pytest.raises(TimeoutError):
            wire.frame(timeout=0.3)


# --- commands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "subject"),
    [
        (Fault.COMMAND_PRECHECKS_ERROR, "preChecksError"),
        (Fault.COMMAND_SUBJECT_ERROR, "execution.error"),
    ],
)
def test_commands_can_fail_by_an_event(start_hub: StartHub, fault: Fault, subject: str) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(fault, error="not today", target="GetBalances")
        wire.call("GetPairs", "a")
        assert wire.json()["arguments"][0]["subject"] == "execution.pairs"
        assert wire.json()["result"] is None
        wire.call("GetBalances", "b")
        envelope = wire.json()["arguments"][0]
        assert (envelope["subject"], envelope["clientId"]) == (subject, "b")
        assert json.loads(envelope["data"]) == {"message": "not today"}
        assert wire.json() == {"type": 3, "invocationId": "1", "result": None}


def test_commands_can_fail_by_completion_or_not_be_answered(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.COMMAND_COMPLETION_ERROR)
        wire.call("GetPairs", "a")
        assert wire.json()["error"] == (
            "An unexpected error occurred invoking 'GetPairs' on the server. HubException: permission denied"
        )
        hub.inject(Fault.COMMAND_SILENCE)
        wire.call("GetPairs", "b", invocation_id="2")
        wire.call("GetPairs", "c", invocation_id="3")
        assert [wire.json().get("invocationId") for _ in range(2)] == [None, "3"]


@pytest.mark.parametrize(
    "fault", [Fault.COMMAND_SILENCE, Fault.COMMAND_COMPLETION_ERROR, Fault.COMMAND_PRECHECKS_ERROR]
)
def test_commands_can_fail_for_some_seconds_and_then_not(
    start_hub: StartHub, journal_path: Path, fault: Fault
) -> None:
    hub = start_hub()
    with join(hub) as wire:
        until = time.monotonic() + 0.5
        hub.inject(fault, seconds=0.5)
        refused = 0
        while b"execution.pairs" not in _first_of(wire, f"id-{refused}"):
            refused += 1
        assert time.monotonic() >= until
    assert hub.fault_counts[fault] == refused > 1
    lines = [(one["fault"], one["parameters"]) for one in read_journal(journal_path).lines["fault"]]
    assert lines == [(fault, {"seconds": 0.5})] * refused


def _first_of(wire: Wire, client_id: str) -> bytes:
    """What GetPairs gets first: its answer, a refusal, or nothing within 0.1 s."""
    wire.call("GetPairs", client_id, invocation_id=client_id)
    with suppress(TimeoutError):
        first = wire.record(timeout=0.1)
        if json.loads(first)["type"] == 1:
            assert wire.json()["invocationId"] == client_id
        return first
    return b""


def test_negotiation_can_be_refused_for_some_seconds(start_hub: StartHub) -> None:
    hub = start_hub()
    statuses: list[int] = []
    until = time.monotonic() + 0.3
    hub.inject(Fault.NEGOTIATE_STATUS, status=401, seconds=0.3)
    while not statuses or statuses[-1] == 401:
        statuses.append(post(f"{hub.url}/negotiate", hub.config.api_key)[0])
    assert statuses[-1] == 200
    assert len(statuses) > 2
    assert time.monotonic() >= until


def test_an_error_can_echo_the_key_and_its_fault_is_journaled_without(
    start_hub: StartHub, journal_path: Path
) -> None:
    hub = start_hub(api_key="first-key", push_balances=False)
    hub.change_key("echoed-key")
    with join(hub, key="echoed-key") as wire:
        hub.inject(Fault.COMMAND_COMPLETION_ERROR, error="bad key {key}")
        wire.call("GetPairs", "x")
        assert wire.json()["error"].endswith("bad key echoed-key")
        hub.inject(Fault.CLOSE, error="{key} was replaced")
        assert wire.json()["error"] == "echoed-key was replaced"
    hub.inject(Fault.HANDSHAKE_ERROR, error="no: {key}")
    with dial(hub, key="echoed-key") as wire:
        wire.send(HANDSHAKE)
        assert wire.json() == {"error": "no: echoed-key"}
    assert [one["fault"] for one in read_journal(journal_path).lines["fault"]] == [
        "command_completion_error",
        "close",
        "handshake_error",
    ]
    assert b"echoed-key" not in journal_path.read_bytes()


# --- the account -----------------------------------------------------------------------------------------


def test_the_sequence_can_start_again(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.account.change()
        hub.inject(Fault.SEQUENCE_RESET)
        hub.account.change()
        assert [wire.sequence() for _ in range(3)] == [101, 1, 2]


def test_lists_can_be_emptied_once(start_hub: StartHub) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.MASS_DELETE)
        hub.account.change()
        hub.inject(Fault.MASS_DELETE, kind="pairs")
        for _ in range(2):
            wire.call("GetPairs", "x", invocation_id=None)
        sizes = []
        for _ in range(4):
            data = json.loads(wire.json()["arguments"][0]["data"])
            sizes.append(len(data["assets"]) if "assets" in data else len(data))
        assert sizes == [0, 6, 0, 6]


# --- by the clock ----------------------------------------------------------------------------------------


def test_scheduled_faults_come_by_themselves(start_hub: StartHub) -> None:
    hub = start_hub(schedule=((0.3, Fault.SEQUENCE_RESET, {}), (0.5, Fault.CLOSE, {"error": "planned"})))
    with join(hub) as wire:
        assert wire.sequence() == 1
        assert wire.json() == {"type": 7, "error": "planned"}


def test_changes_come_by_themselves_at_their_rate(start_hub: StartHub) -> None:
    hub = start_hub(changes_per_second=200, pair_change_interval_s=0.01)
    with join(hub) as wire:
        sequences = [wire.sequence() for _ in range(100)]
        assert sequences == list(range(sequences[0], sequences[0] + 100))
        wire.call("GetPairs", "x")
        pairs = next(one for one in iter(wire.record, None) if b"execution.pairs" in one)
    fresh = json.loads(json.loads(pairs)["arguments"][0]["data"])
    assert fresh != start_hub().account.pairs()


@pytest.mark.parametrize("seed", range(50))
def test_misbehaviour_cuts_the_link_early_and_not_too_often(seed: int) -> None:
    """A demonstration of 20 s sees one reconnect or two, the first before its 7th second."""
    now, cuts, sent = 0.0, [], 0
    for pause, spec in misbehaviour(seed):
        now += pause
        if now > 60:
            break
        if STAGE_OF[spec.fault] is Stage.NOW:
            cuts.append(now)
        else:
            sent += 1
    assert 4 <= cuts[0] <= 6
    assert all(8 <= later - earlier <= 14 for earlier, later in itertools.pairwise(cuts))
    assert sent >= 10
    first, again = (list(itertools.islice(misbehaviour(seed), 20)) for _ in range(2))
    assert first == again


def listen(wire: Wire, frames: int) -> None:
    for _ in range(frames):
        wire.frame()


@pytest.mark.slow
def test_a_misbehaving_hub_loses_its_client_once_in_seven_seconds(start_hub: StartHub) -> None:
    hub = start_hub(misbehave=True, changes_per_second=20)
    with join(hub) as wire, pytest.raises(ConnectionClosed):
        listen(wire, frames=7 * 20 * 2)  # duplicates included, more than 7 s can bring


def test_whoever_asks_is_told_of_each_fault_and_of_the_record_that_it_hits() -> None:
    told: list[tuple[Fault, int | None]] = []

    def on_fault(spec: FaultSpec, record: ChannelRecord | None) -> None:
        told.append((spec.fault, None if record is None else record.sequence))

    with SimulatedHub(HubConfig(), on_fault) as hub, join(hub) as wire:
        hub.inject(Fault.DUPLICATE)
        sent = hub.account.change().sequence
        assert (wire.sequence(), wire.sequence()) == (sent, sent)
        hub.inject(Fault.FIN)
        assert told == [(Fault.DUPLICATE, sent), (Fault.FIN, None)]


@pytest.mark.slow
def test_a_hub_whose_faults_are_cleared_misbehaves_no_more() -> None:
    told: list[Fault] = []
    config = HubConfig(misbehave=True, changes_per_second=20)
    with SimulatedHub(config, lambda spec, _: told.append(spec.fault)) as hub, join(hub) as wire:
        eventually(lambda: told, within=10)
        hub.clear_faults()
        before = len(told)
        listen(wire, frames=8 * 20)  # a cut of the link comes within six seconds
        assert len(told) == before
