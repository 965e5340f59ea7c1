"""`ingestor hub`: its options reach the hub, which writes down what it was started with."""

import subprocess
import sys
from pathlib import Path

from tests.support.daemon import ROOT
from tests.support.journal import read_journal
from tests.support.waiting import eventually


def test_the_simulated_hubs_switches_reach_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    options = (
        "--port 0 --rate 0 --random-step 3 --answers-in both --answer-lag 0.5 --ping-interval 40 --null-lists"
    )
    faults = ("--fault", "0:sequence_reset sequence=7", "--fault", "60:handshake_error error='bad key {key}'")
    command = [sys.executable, "-m", "ingestor", "hub", "--journal", str(journal), *options.split(), *faults]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"hub ")
        eventually(lambda: read_journal(journal).lines["fault"])
        running.terminate()
        assert running.wait(10) == 0
    lines = read_journal(journal).lines
    faults_seen = [(one["fault"], one["parameters"]) for one in lines["fault"]]
    assert faults_seen == [("sequence_reset", {"sequence": 7})]
    (started,) = lines["started"]
    expected = {
        "sequence_step_random": 3,
        "answers_in": "both",
        "answer_lag_seconds": 0.5,
        "ping_interval_s": 40.0,
        "null_lists": True,
        "schedule": [
            [0.0, "sequence_reset", {"sequence": 7}],
            [60.0, "handshake_error", {"error": "bad key {key}"}],
        ],
    }
    assert expected.items() <= started["switches"].items()
