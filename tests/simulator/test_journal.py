"""The journal says what was sent, and was written before."""

import os
import signal
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from ingestor.simulator import Fault, HubConfig
from tests.simulator.conftest import StartHub
from tests.simulator.wire import END, HANDSHAKE, dial_url, join, sequence_of
from tests.support.journal import read_journal


def test_each_record_is_on_disk_before_it_can_be_read_from_the_wire(
    start_hub: StartHub, journal_path: Path
) -> None:
    """What a client has received is in the journal already, byte for byte."""
    hub = start_hub(journal_fsync=True)
    with join(hub) as wire:
        for _ in range(50):
            hub.account.change()
            record = wire.record()
            last = read_journal(journal_path).records[-1]
            assert last.sha256 == sha256(record).hexdigest()
            assert last.size == len(record)
            assert last.body == record.decode()
            assert last.sequence == sequence_of(record)


def test_the_journal_is_forced_to_disk_before_the_socket_is_touched(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While fsync does not return, the record does not come."""
    forced, release = threading.Event(), threading.Event()
    hub = start_hub(journal_fsync=True)
    with join(hub) as wire:
        really = os.fsync

        def slow(descriptor: int) -> None:
            forced.set()
            release.wait(10)
            really(descriptor)

        monkeypatch.setattr(os, "fsync", slow)
        hub.account.change()
        assert forced.wait(10)
        with pytest.raises(TimeoutError):
            wire.frame(timeout=0.3)
        release.set()
        assert wire.sequence() == 101


def test_handed_counts_the_records_in_the_order_of_the_wire(start_hub: StartHub, journal_path: Path) -> None:
    hub = start_hub()
    with join(hub) as wire:
        hub.inject(Fault.REORDER)
        hub.inject(Fault.DROP)
        for _ in range(3):
            hub.account.change()
        assert [wire.sequence() for _ in range(2)] == [103, 101]
        hub.settle()
    records = read_journal(journal_path).records
    assert [(one.sequence, one.fault, one.handed) for one in records] == [
        (101, "reorder", 2),
        (102, "drop", None),
        (103, None, 1),
    ]


def test_connections_commands_and_faults_have_their_lines_and_the_key_has_none(
    start_hub: StartHub, journal_path: Path
) -> None:
    hub = start_hub(api_key="very-secret-key", seed=77)
    with join(hub) as wire:
        wire.call("GetPairs", "id-1", invocation_id="9")
        wire.json()
        hub.inject(Fault.RST)
        assert hub.wait_until(lambda one: one.connections == 0)
    hub.stop()
    journal = read_journal(journal_path)
    (started,) = journal.lines["started"]
    assert (started["seed"], started["switches"]) == (77, {"seed": 77, "journal_fsync": False})
    (opened,), (closed,) = journal.lines["opened"], journal.lines["closed"]
    assert opened["connection"] == closed["connection"]
    assert closed["cause"] == "rst"
    (command,) = journal.lines["command"]
    assert (command["target"], command["client_id"], command["invocation_id"]) == ("GetPairs", "id-1", "9")
    assert [one["fault"] for one in journal.lines["fault"]] == ["rst"]
    assert b"very-secret" not in journal_path.read_bytes()
    assert "very-secret" not in repr(hub.config)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_bytes(b'{"kind":"started","time":"t","seed":3,"switches":{},"url":"u"}\n{"kind":"rec')
    journal = read_journal(path)
    assert [one["seed"] for one in journal.lines["started"]] == [3]
    assert journal.records == []


def test_a_killed_hub_leaves_a_journal_that_covers_all_that_was_received(tmp_path: Path) -> None:
    """As a process of its own, killed with SIGKILL in the middle of a stream."""
    path = tmp_path / "killed.jsonl"
    program = (
        "import sys; from pathlib import Path; from ingestor.simulator import HubConfig, SimulatedHub\n"
        "with SimulatedHub(HubConfig(journal_path=Path(sys.argv[1]), changes_per_second=300)) as hub:\n"
        "    print(hub.url, flush=True)\n"
        "    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            got: list[str] = []
            with dial_url(url, HubConfig().api_key) as wire:
                wire.send(HANDSHAKE)
                assert wire.json() == {}
                while len(got) < 100:
                    got.append(sha256(wire.record()).hexdigest())
                process.send_signal(signal.SIGKILL)
                process.wait(10)
        finally:
            process.kill()
    assert set(got) <= {one.sha256 for one in read_journal(path).records}


def test_raw_bytes_are_journaled_record_by_record(start_hub: StartHub, journal_path: Path) -> None:
    hub = start_hub()
    with join(hub) as wire:
        assert hub.send_raw(b'{"type":6}\x1e\xff\xfe\x1eopen end', binary=True) == 1
        assert wire.frame() == b'{"type":6}\x1e\xff\xfe\x1eopen end'
        hub.settle()
    records = read_journal(journal_path).records
    assert [one.sha256 for one in records] == [
        sha256(piece).hexdigest() for piece in (b'{"type":6}', b"\xff\xfe", b"open end")
    ]
    assert {(one.fault, one.target) for one in records} == {("raw", None)}
    assert [one.handed for one in records] == [1, 2, 3]


def test_a_burst_can_share_frames_and_loses_nothing(start_hub: StartHub, journal_path: Path) -> None:
    hub = start_hub(push_balances=False)
    with join(hub) as wire:
        hub.account.change()  # not pushed: only bursts are
        hub.burst(1050, records_per_frame=20)
        frames = [wire.frame() for _ in range(53)]
    assert {frame.count(END) for frame in frames} == {20, 10}
    sequences = [sequence_of(record) for frame in frames for record in frame.split(END)[:-1]]
    assert sequences == list(range(102, 1152))
    assert all(one.handed for one in read_journal(journal_path).records)
