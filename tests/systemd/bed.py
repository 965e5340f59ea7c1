"""Two accounts on one machine, each with a hub of its own, and what a test can see of them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import IO

from tests.support.oracle import Verdict, judge
from tests.support.waiting import eventually
from tests.systemd.machine import Machine

ACCOUNTS = {"main": 5081, "second": 5082}
"""Each with its hub's port."""

Figures = dict[str, object]
"""What a run has measured, by name."""


def unit(account: str) -> str:
    """The account's unit."""
    return f"hercle-ingestor@{account}.service"


class Bed:
    """The machine, its hubs, and their keys."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.keys = {
            account: f"canary-{account}-q7Zp0eXw41sVbN8{port}LkTfR2yH" for account, port in ACCOUNTS.items()
        }
        self.old_keys: list[str] = []
        self.password = "canary-password-u3Rk9pXw27cVb"
        self._directory = directory
        self._hubs: dict[str, subprocess.Popen[str]] = {}
        self._starts = 0

    def start_hubs(self) -> None:
        """In the machine's network; after a boot again, because that is another network."""
        self._starts += 1
        for account, port in ACCOUNTS.items():
            hub = subprocess.Popen(
                [
                    *(*self.machine.within_network(), sys.executable, "-m", "tests.systemd.hub", str(port)),
                    *(self.keys[account], str(self._starts * 1_000_000), str(self.journal(account))),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._hubs[account] = hub
            assert _of(hub.stdout).readline().startswith("http"), account

    def stop_hubs(self) -> None:
        for hub in self._hubs.values():
            _of(hub.stdin).close()
            hub.wait(30)
            _of(hub.stdout).close()
        self._hubs.clear()

    def tell_hub(self, account: str, *words: str) -> None:
        """One of the commands of `tests.systemd.hub`."""
        stdin, stdout = _of(self._hubs[account].stdin), _of(self._hubs[account].stdout)
        stdin.write(" ".join(words) + "\n")
        stdin.flush()
        assert stdout.readline() == "done\n"

    def journal(self, account: str) -> Path:
        return self._directory / f"{account}.journal"

    def write_key(self, account: str) -> None:
        """As an editor does, into the file that is there."""
        with (self.machine.root / "etc" / "ingestor" / f"{account}.key").open("w") as file:
            file.write(self.keys[account] + "\n")

    def logged(self, account: str) -> str:
        """What the machine's journal has of the account's unit."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", unit(account))

    def pid(self, account: str) -> int:
        """Of the daemon, inside the machine; 0 while there is none."""
        return int(self.machine.show(unit(account), "MainPID"))

    def says(self, account: str, pattern: str, within: float = 20) -> None:
        """Wait until the Status line is like this."""
        eventually(
            lambda: re.fullmatch(pattern, self.machine.show(unit(account), "StatusText")),
            within=within,
            every=0.2,
        )

    def stored(self, account: str) -> int:
        """Records in the database."""
        query = "SELECT count(*) FROM ingest.record WHERE account = %s"
        return int(self.machine.ask(query, account))

    def open_gaps(self, account: str) -> int:
        query = "SELECT count(*) FROM report.gap WHERE account = %s AND is_open"
        return int(self.machine.ask(query, account))

    def streaming(self, account: str, within: float = 30) -> None:
        """Wait until new records are stored and no gap is open."""
        before = self.stored(account)
        eventually(
            lambda: self.stored(account) > before + 5 and not self.open_gaps(account),
            within=within,
            every=0.2,
        )

    def verdict(self, account: str) -> Verdict:
        """Every record that the hub sent against what is stored."""
        return judge(self.journal(account), self.machine.dsn, account)


def _of(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
