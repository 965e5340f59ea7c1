"""The state of a running daemon for `ingestor top`, as a value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ingestor import __version__
from ingestor.app.daemon_status import DaemonStatus, status_line
from ingestor.app.health import not_ready
from ingestor.pipeline.recent import BOUNDS_MS, Recently
from ingestor.pipeline.state import State

_MOST = 20
"""Most gaps, and most requests, of one document."""


@dataclass(frozen=True, slots=True)
class LatencyBand:
    """Records of the last ten minutes that took no longer than this, and longer than the band before."""

    up_to_ms: int | None
    """None: longer than every other band."""
    records: int


@dataclass(frozen=True, slots=True)
class StreamNow:
    """The committed state of a stream."""

    kind: str
    user_id: str
    epoch: int | None
    sequence: int | None
    seconds_since_confirmed: float | None
    """None: never confirmed."""
    overdue_after_seconds: float
    pending_confirmations: int


@dataclass(frozen=True, slots=True)
class GapNow:
    """An open gap."""

    kind: str
    cause: str
    affects: list[str]
    """Kinds of stream."""
    seconds_open: float
    receiving_again: bool
    """The link is up again, and the state is not confirmed yet."""


@dataclass(frozen=True, slots=True)
class RequestNow:
    """A request without an answer so far."""

    command: str
    cause: str
    attempt: int
    seconds_since_sent: float


@dataclass(frozen=True, slots=True)
class Activity:
    """A daemon and its last ten minutes."""

    account: str
    version: str
    at: datetime
    """The database's time."""
    status: str
    """The line that `systemctl status` shows."""
    not_ready: dict[str, str]
    """Reasons why data may not flow or not be committed, by name."""
    daemon_status: DaemonStatus
    records_per_second: float
    """Committed; mean of the last ten whole seconds."""
    records_each_ten_seconds: list[int]
    """Committed in the last ten minutes, the oldest first; the last ten seconds have not ended yet."""
    latency: list[LatencyBand]
    """From receipt to commit, each record counted with the oldest of its transaction."""
    streams: list[StreamNow]
    gaps: list[GapNow]
    """Open ones, the newest first; at most 20."""
    requests: list[RequestNow]
    """Open ones, the newest first; at most 20."""


def activity(
    account: str, daemon_status: DaemonStatus, state: State, recently: Recently, at: datetime
) -> Activity:
    """Build the value.

    Args:
        state: as of the last commit.
        at: the database's time.
    """
    return Activity(
        account=account,
        version=__version__,
        at=at,
        status=status_line(daemon_status),
        not_ready=not_ready(daemon_status),
        daemon_status=daemon_status,
        records_per_second=recently.records_per_second,
        records_each_ten_seconds=recently.bars,
        latency=[
            LatencyBand(bound, count)
            for bound, count in zip((*BOUNDS_MS, None), recently.latency, strict=True)
        ],
        streams=list(_streams(state, daemon_status.snapshot_limits, at)),
        gaps=[
            GapNow(
                gap.kind.value,
                gap.cause,
                sorted(gap.affects),
                (at - gap.opened_at).total_seconds(),
                receiving_again=gap.missed_until is not None,
            )
            for gap in sorted(state.gaps, key=lambda gap: gap.opened_at, reverse=True)[:_MOST]
        ],
        requests=sorted(_requests(state, at), key=lambda each: each.seconds_since_sent)[:_MOST],
    )


def _streams(state: State, limits: Mapping[str, float], at: datetime) -> Iterator[StreamNow]:
    for key, stream in sorted(state.streams.items(), key=lambda each: (each[0].kind, each[0].user_id)):
        mark = stream.state.watermark
        yield StreamNow(
            kind=key.kind.value,
            user_id=key.user_id,
            epoch=None if mark is None else mark.number.epoch,
            sequence=None if mark is None else mark.number.sequence,
            seconds_since_confirmed=None if mark is None else (at - mark.confirmed_until).total_seconds(),
            overdue_after_seconds=limits[key.kind],
            pending_confirmations=len(stream.state.pending),
        )


def _requests(state: State, at: datetime) -> Iterator[RequestNow]:
    for request in state.requests.values():
        if request.outcome is None:
            sent = request.sent
            yield RequestNow(
                sent.command.value, sent.cause.value, sent.attempt, (at - sent.requested_at).total_seconds()
            )
