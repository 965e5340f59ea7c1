"""Notifies systemd of our state: one datagram for each message, as in sd_notify(3). Without systemd, does
nothing.

Errors are never raised: a daemon must not stop because systemd did not receive a message.
"""

import re
import socket
from collections.abc import Mapping
from typing import Self

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_LONGEST_STATUS = 80
"""What `systemctl status` shows on one line of an ordinary terminal."""


class Notifier:
    """Sends messages of one process to its service manager."""

    def __init__(self, address: str | None, watchdog_interval_seconds: float | None = None) -> None:
        """
        Args:
            address: path of the manager's datagram socket, `@` for an abstract one; None sends nothing.
            watchdog_interval_seconds: how often `watchdog()` should be called, half of what the unit allows;
                None if the watchdog is off for this process.
        """
        self.watchdog_interval_seconds = watchdog_interval_seconds
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._failing = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Self:
        """From $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, as systemd sets them for process `pid`."""
        address = environ.get("NOTIFY_SOCKET")
        usable = address if address and address[0] in "/@" else None
        allowed = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID") in {None, "", str(pid)}
        armed = usable and ours and re.fullmatch("[0-9]*[1-9][0-9]*", allowed)
        return cls(usable, int(allowed) / 2_000_000 if armed else None)

    def ready(self, status: str) -> bool:
        """The start is complete. Like all these methods, returns whether the message was sent."""
        return self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, status: str) -> bool:
        """The line that `systemctl status` shows."""
        return self._send(f"STATUS={_one_line(status)}")

    def watchdog(self) -> bool:
        """The process makes progress. To be called from the loop that is watched, not from a timer."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str) -> bool:
        """The stop has begun."""
        return self._send("STOPPING=1", f"STATUS={_one_line(status)}")

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for this much more time to start or to stop, counted from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not read must not delay the loop
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failing:
                log.warning("notify_failed", error=str(error))
            self._failing = True
            return False
        self._failing = False
        return True


def _one_line(text: str) -> str:
    """Each line of a datagram is an assignment; a line break in a status must not become one."""
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST_STATUS]
