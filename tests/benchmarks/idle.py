"""A daemon that has nothing to do: linked to the simulated hub, which answers, pings, and pushes nothing."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ingestor.simulator import HubConfig, SimulatedHub
from tests.benchmarks.daemon import PROGRAM, REPOSITORY, Daemon, DaemonFailed, environment
from tests.benchmarks.runs import Bed, fresh

STATUS_RUNS = 5
FINE_SECONDS = 20.0
KEY = "benchmark-key"


@dataclass(frozen=True, slots=True)
class Idle:
    """What was seen."""

    resident: int
    """Bytes."""
    wakeups_per_second: float
    """Voluntary context switches of all its threads."""
    status_seconds: list[float]
    """Wall time of `ingestor status`, run by run; without those that found a problem."""


def measure(bed: Bed, seconds: float) -> Idle:
    """Let the daemon alone for so long, then measure it; afterwards, ask for the account's status."""
    with fresh(bed) as database, SimulatedHub(HubConfig(api_key=KEY)) as hub:
        url = bed.server.url(database)
        with Daemon(hub.url, url, bed.home, bed.program) as daemon:
            deadline = time.monotonic() + FINE_SECONDS
            while _status_seconds(bed, url) is None and time.monotonic() < deadline:
                pass  # until its first snapshots are stored and a heartbeat says so
            before, began = wakeups(daemon.pid), time.monotonic()
            time.sleep(seconds)  # what is measured is that nothing happens
            after, ended = wakeups(daemon.pid), time.monotonic()
            woken = sum(count - before.get(thread, 0) for thread, count in after.items())
            resident = _number(f"/proc/{daemon.pid}/status", "VmRSS") * 1024
            runs = [_status_seconds(bed, url) for _ in range(STATUS_RUNS)]
    status = [each for each in runs if each is not None]
    if not status:
        raise DaemonFailed("`ingestor status` finds a problem with an idle daemon")
    return Idle(resident, woken / (ended - began), status)


def wakeups(pid: int) -> dict[str, int]:
    """Of each thread, by its number: how often it has waited for something so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: _number(task / "status", "voluntary_ctxt_switches") for task in tasks}


def _status_seconds(bed: Bed, url: str) -> float | None:
    """Wall time of one `status`; None if it finds a problem."""
    start = time.monotonic()
    done = subprocess.run(
        [*(bed.program or PROGRAM), "status"],
        cwd=REPOSITORY,
        env=environment(bed.home, INGESTOR_DATABASE__URL=url),
        check=False,
        capture_output=True,
    )
    return time.monotonic() - start if done.returncode == 0 else None


def _number(file: Path | str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(file).read_text(), re.MULTILINE)
    assert found is not None, f"no {name} in {file}"
    return int(found[1])
