"""The daemon under test: the real command line, in a process of its own, set by its environment."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import psutil

from tests.benchmarks.peers import cpu_of

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
RSS_EVERY_SECONDS = 0.1

PROGRAM = [sys.executable, "-m", "ingestor"]


class DaemonFailed(Exception):
    """It ended, or did not come up; the text holds the end of its log."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the user's own settings may reach the daemon."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "HOME": str(home), "HERCLE_API_KEY": "benchmark-key", **more}


class Daemon:
    """`with Daemon(...)`: READY inside the block, stopped after it."""

    def __init__(self, hub_url: str, database_url: str, home: Path, program: list[str] | None = None) -> None:
        self._log = home / "daemon.log"
        self._notify = Path(tempfile.mkdtemp(dir=home)) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._notify))
        self._program = [*(program or PROGRAM), "run"]
        self._environment = environment(
            home,
            NOTIFY_SOCKET=str(self._notify),
            INGESTOR_HUB__ENVIRONMENT="custom",
            INGESTOR_HUB__URL=hub_url,
            INGESTOR_DATABASE__URL=database_url,
            INGESTOR_SNAPSHOTS__BALANCES_INTERVAL_SECONDS="3600",
            INGESTOR_SNAPSHOTS__PAIRS_INTERVAL_SECONDS="3600",
        )
        self._ended = threading.Event()
        self.memory: list[tuple[int, int]] = []
        """(monotonic nanoseconds, resident bytes), ten times a second."""
        self.ready_seconds = 0.0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            started = time.monotonic()
            self._process = subprocess.Popen(
                self._program, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log
            )
        try:
            self._await_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.ready_seconds = time.monotonic() - started
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ended.set()
        self._sampler.join()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._socket.close()
        if code != 0 and kind is None:
            raise DaemonFailed(f"the daemon ended with {code}:\n{self._tail()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu_of(self.pid)

    def memory_at(self, moment: int) -> int:
        """Resident bytes at the sample before that moment."""
        before = [size for at, size in self.memory if at <= moment]
        return before[-1] if before else self.memory[0][1]

    def _await_ready(self) -> None:
        self._socket.settimeout(0.2)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in self._socket.recv(4096):
                    return
            except TimeoutError:
                if self._process.poll() is not None:
                    raise DaemonFailed(f"ended with {self._process.returncode}:\n{self._tail()}") from None
        raise DaemonFailed(f"not ready after {START_SECONDS:g} s:\n{self._tail()}")

    def _sample(self) -> None:
        self._socket.settimeout(0)
        process = psutil.Process(self.pid)
        while not self._ended.wait(RSS_EVERY_SECONDS):
            try:
                self.memory.append((time.monotonic_ns(), process.memory_info().rss))
                while self._socket.recv(4096):
                    pass  # status lines: read, so that they do not pile up
            except BlockingIOError:
                continue
            except psutil.NoSuchProcess:
                return

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-3:])
