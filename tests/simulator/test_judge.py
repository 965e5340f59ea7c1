"""Microsoft's own client takes the simulated hub for a real one."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.simulator.conftest import PROGRAMS, StartHub
from tests.support.journal import read_journal


@pytest.mark.slow
@pytest.mark.parametrize("how", ["negotiate", "skip"])
def test_microsofts_client_connects_receives_and_calls(
    start_hub: StartHub, journal_path: Path, judge: Path, how: str
) -> None:
    hub = start_hub(changes_per_second=20, journal_fsync=True)
    done = subprocess.run(
        [PROGRAMS / "node", "judge.mjs", hub.url, how, "5"],
        cwd=judge,
        env={**os.environ, "HUB_KEY": hub.config.api_key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert hub.requests["negotiate"] == (1 if how == "negotiate" else 0)

    assert report["answers"] == {"GetBalances": None, "GetPairs": None}
    failed = "Failed to invoke '{}' due to an error on the server."
    assert report["refusals"] == {
        "unknown": failed.format("Nope") + " HubException: Method does not exist.",
        "nested": failed.format("GetBalances"),
    }
    assert report["closed"] == "clean"
    assert hub.wait_until(lambda one: one.connections == 0)

    sent = [json.loads(one.body or "")["arguments"][0] for one in read_journal(journal_path).records]
    received = report["events"]
    assert received == sent[: len(received)]
    assert len([one for one in received if one["clientId"] == ""]) >= 5
    assert {one["clientId"] for one in received} == {"", "balances-1", "pairs-1"}


def test_the_judges_lock_pins_contents_and_names_no_host() -> None:
    lock = json.loads((Path(__file__).parent.parent / "judge" / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())
