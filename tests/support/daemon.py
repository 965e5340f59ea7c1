"""The daemon as an operator has it: a process with an environment, a log and an exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ROOT = Path(__file__).parents[2]
ACCOUNT = "acceptance"

QUICK = {
    "INGESTOR_HUB__NEGOTIATE_DEADLINE_SECONDS": "1",
    "INGESTOR_HUB__START_DEADLINE_SECONDS": "1",
    "INGESTOR_HUB__HANDSHAKE_DEADLINE_SECONDS": "1",
    "INGESTOR_HUB__RECEIVE_DEADLINE_SECONDS": "2",
    "INGESTOR_HUB__PING_INTERVAL_SECONDS": "0.5",
    "INGESTOR_HUB__BACKOFF_CAP_SECONDS": "1",
    "INGESTOR_HUB__REFUSED_INTERVAL_SECONDS": "1",
    "INGESTOR_SNAPSHOTS__REPLY_DEADLINE_SECONDS": "3",
}
"""Deadlines for tests: the same paths, sooner."""


def surroundings() -> dict[str, str]:
    """The environment without what `ingestor` could pick up of it by accident."""
    ours = (
        "INGESTOR_",
        "HERCLE_",
        "NOTIFY_",
        "CREDENTIALS_",
        "PYTHONPATH",
        "RUNTIME_DIRECTORY",
        "XDG_RUNTIME_DIR",
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def environment(hub_url: str, database_url: str, key: str, **more: str) -> dict[str, str]:
    """What `ingestor` needs to know."""
    return {
        **surroundings(),
        "PYTHONPATH": str(ROOT),
        "INGESTOR_ACCOUNT": ACCOUNT,
        "INGESTOR_HUB__ENVIRONMENT": "custom",
        "INGESTOR_HUB__URL": hub_url,
        "INGESTOR_DATABASE__URL": database_url,
        "HERCLE_API_KEY": key,
        **QUICK,
        **more,
    }


def command(
    *arguments: str, env: Mapping[str, str], timeout: float = 60, stdin: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `ingestor` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ingestor", *arguments],
        env=dict(env),
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def command_on_terminal(
    *arguments: str, typed: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The same with a terminal as standard input, on which this line is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{typed}\n".encode())
        return command(*arguments, env=env, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


class Daemon:
    """`ingestor run`, killed at the latest when the block ends."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the block ends
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ingestor", "run"],
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # without a terminal, as under systemd
        )

    def log(self) -> str:
        """All that it has printed."""
        self._log.seek(0)
        return self._log.read().decode()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log records of this name."""
        records = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [record for record in records if record["event"] == name]

    def terminate(self, timeout: float = 15) -> int:
        """Ask it to stop; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()
