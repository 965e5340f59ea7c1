"""The daemon's local socket: its state and its commands, which need no database.

Who may open the socket may read the state and make the daemon request a snapshot or connect again, nothing
else.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from ingestor import __version__
from ingestor.adapters.loopback_http import ControlServer, Page, ask
from ingestor.app.activity import Activity
from ingestor.app.daemon_status import DaemonStatus, not_live, status_line
from ingestor.app.health import not_ready
from ingestor.app.tail import TailPart, TailQuery, part
from ingestor.domain.errors import Transient
from ingestor.pipeline.ports import Clock
from ingestor.pipeline.tail import Tail

PACKAGED = Path("/run/hercle-ingestor")
"""Contains the RuntimeDirectory= of each account's unit."""
_ASK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """The state of a running daemon."""

    account: str
    pid: int
    version: str
    status: str
    """The line that `systemctl status` shows."""
    not_live: list[str]
    """The threads that make no progress."""
    not_ready: dict[str, str]
    """Reasons why data may not flow or not be committed, by name."""
    daemon_status: DaemonStatus


def control_server(
    account: str,
    daemon_status: Callable[[], DaemonStatus],
    activity: Callable[[], Activity],
    tail: Tail,
    snapshot: Callable[[], None],
    reconnect: Callable[[], None],
    clock: Clock,
) -> ControlServer | None:
    """The server, not started yet; None without a runtime directory.

    Args:
        snapshot: plans a request of each kind.
        reconnect: ends the session or the pause before the next attempt, and connects at once.
    """
    directory = _directory(os.environ)
    if directory is None:
        return None

    def state(_: str) -> LiveState:
        now = daemon_status()
        return LiveState(
            account, os.getpid(), __version__, status_line(now), not_live(now), not_ready(now), now
        )

    answers: dict[str, Callable[[str], object]] = {
        "GET /state": state,
        "GET /activity": lambda _: activity(),
        "GET /tail": lambda query: part(tail, str(os.getpid()), query),
        "POST /snapshot": lambda _: snapshot(),
        "POST /reconnect": lambda _: reconnect(),
    }
    pages = {what: partial(_page, answer) for what, answer in answers.items()}
    return ControlServer(directory / f"{account}.sock", pages, clock)


def _page(answer: Callable[[str], object], query: str) -> Page:
    return Page(200, msgspec.json.encode(answer(query)), "application/json")


def live_state(account: str) -> LiveState | None:
    """The state of the account's daemon on this machine; None if none answers."""
    answer = _asked(account, "GET", "/state")
    return None if answer is None else msgspec.json.decode(answer, type=LiveState)


def live_activity(account: str) -> Activity:
    """The value for `ingestor top`. Raises Transient if no daemon answers."""
    return msgspec.json.decode(_answered(account, "GET", "/activity"), type=Activity)


def live_tail(account: str, query: TailQuery) -> TailPart:
    """The next committed events. Raises Transient if no daemon answers."""
    answer = _answered(account, "GET", f"/tail?{query.encoded()}")
    return msgspec.json.decode(answer, type=TailPart)


def snapshot_now(account: str) -> None:
    """Make the account's daemon request balances and pairs. Raises Transient if none answers."""
    _answered(account, "POST", "/snapshot")


def reconnect_now(account: str) -> None:
    """Make the account's daemon connect to the hub again. Raises Transient if none answers, or if it is
    paused."""
    if live_activity(account).daemon_status.link == "paused":
        raise Transient(
            f"the account {account} is paused\n"
            "why: an operator has closed its link to the hub\n"
            "fix: `ingestor resume`"
        )
    _answered(account, "POST", "/reconnect")


def _answered(account: str, method: str, target: str) -> bytes:
    answer = _asked(account, method, target)
    if answer is None:
        raise Transient(
            f"no daemon of the account {account} answers on this machine\n"
            f"why: none listens on {' or '.join(map(str, _sockets(account)))}, or this user may not open it\n"
            "fix: run this as root or as a member of the daemon's group; see `ingestor status`"
        )
    return answer


def _asked(account: str, method: str, target: str) -> bytes | None:
    for path in _sockets(account):
        try:
            answer = ask(path, method, target, _ASK_SECONDS)
        except PermissionError:
            continue
        if answer is not None:
            return answer
    return None


def _directory(environ: Mapping[str, str]) -> Path | None:
    """The directory for this process's socket."""
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    user = environ.get("XDG_RUNTIME_DIR")
    return Path(user) / "ingestor" if user else None


def _sockets(account: str) -> list[Path]:
    """Paths at which the account's daemon may listen: by our environment, and by its unit's."""
    directories = [each for each in (_directory(os.environ), PACKAGED / account) if each is not None]
    return [directory / f"{account}.sock" for directory in dict.fromkeys(directories)]
