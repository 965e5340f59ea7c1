"""What the reports must say of a history, from the words of `ingestor/DATA.md` alone.

Slow and plain: each answer reads the whole history again. Times are datetimes outside, and twice the
microseconds of an interval inside, so that the middle of any interval is a whole number.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from ingestor.pipeline.rows import ConfirmationRow, GapRow
from tests.support.told import Told, Version

_Row = TypeVar("_Row")
_ZERO = datetime(1970, 1, 1, tzinfo=UTC)
_ORDER = (
    *("disconnected", "unclean_end", "commits_lost", "dropped"),
    *("undecodable", "unanswered", "sequence_skip"),
)
WINDOWS = (
    (3, "10:00", "11:00", "Etc/GMT-1"),
    (7, "01:05", "01:20", "Europe/Rome"),
    (7, "02:30", "03:15", "Europe/Rome"),  # ends before it begins where clocks go forward
    (1, "00:00", "00:40", "Asia/Kolkata"),
)
"""Of maintenance: weekday, local times, zone. The first is the one that every database has."""
_DAY = 2 * 86_400_000_000
TWO_INTERVALS = {"balances": timedelta(minutes=2), "pairs": timedelta(minutes=10)}


SILENT = timedelta(seconds=30)
"""A process without a heartbeat for so long counts as dead."""
TOLERANCE = 4_000_000
"""Two seconds, as ticks: stamps and `known_at` are of clocks that may differ by so much."""


def tick(moment: datetime) -> int:
    """Twice the microseconds since 1970."""
    return 2 * ((moment - _ZERO) // timedelta(microseconds=1))


def moment(ticks: int) -> datetime:
    """The reverse."""
    return _ZERO + timedelta(microseconds=ticks // 2)


def maintenance(at: int) -> Iterable[tuple[int, int]]:
    """The windows of the days around a moment."""
    for weekday, starts_at, ends_at, zone in WINDOWS:
        for days in (-1, 0, 1):
            day = moment(at).date() + timedelta(days=days)
            if day.isoweekday() == weekday:
                begin, end = (
                    tick(datetime.combine(day, time.fromisoformat(edge), ZoneInfo(zone)).astimezone(UTC))
                    for edge in (starts_at, ends_at)
                )
                yield begin, end


@dataclass
class Answer:
    """Of a stream and a moment."""

    version: Version | None
    certainty: str | None
    confirmed_until: datetime | None
    seen: list[Version]
    """The versions up to the one that held."""


class Held(NamedTuple):
    """What a version says of an asset or a pair; nothing, if that had not been seen yet."""

    first: Decimal | None = None
    """Available, or the smallest size."""
    second: Decimal | None = None
    """Allocated, or the largest size."""
    is_named: bool | None = None
    since: datetime | None = None


class Oracle:
    """Answers for one account, as known at one moment."""

    def __init__(self, told: Told, known_at: datetime, history_from: datetime | None = None) -> None:
        self.told, self.known_at, self.limit = told, known_at, tick(known_at)
        self.begins = None if history_from is None else tick(history_from)
        """Of what was before, the reports say nothing."""
        self.gaps: list[GapRow] = _latest(told.gaps.values(), known_at)
        if told.died and told.end + SILENT <= known_at:
            self.gaps.append(_died(told.end))
        self.confirmations: list[ConfirmationRow] = _latest(told.confirmations.values(), known_at)

    def versions(self, kind: str, user: str) -> list[Version]:
        """Those that were known."""
        return [v for v in self.told.streams.get((kind, user), []) if v.recorded_at <= self.known_at]

    def confirmed_until(self, version: Version) -> int:
        """An answer confirms once it is stored. Of the pushes only the last one does, and only where nothing
        has confirmed the version after it.
        """
        last = max(version.again, default=None)
        known = [
            received
            for received, recorded, pushed in version.again
            if tick(received) <= self.limit + (TOLERANCE if (received, recorded, pushed) == last else 0)
            and ((received, recorded, pushed) == last if pushed else recorded <= self.known_at)
        ]
        return max(map(tick, [version.valid_from, *known]))

    def stream(self, kind: str, user: str, at: int) -> Answer:
        """`report.stream_as_of`."""
        if at > self.limit + TOLERANCE:
            return Answer(None, None, None, [])
        if self.begins is not None and at < self.begins:
            return Answer(None, "before_first", None, [])
        versions = self.versions(kind, user)
        seen = [v for v in versions if tick(v.valid_from) <= min(at, self.limit)]
        if not seen:
            return Answer(None, "before_first", None, [])
        held = seen[-1]
        until = self.confirmed_until(held)
        told = self.told.streams[kind, user]
        # The next one of all, if it was known.
        after = [
            v
            for v in told[told.index(held) + 1 :][:1]
            if v.recorded_at <= self.known_at and v.valid_from <= self.known_at
        ]
        unsure = self.is_pending(kind, user, at) or self._is_contradicted(held, after, until)
        if at <= until and not unsure:
            certainty = "confirmed"
        elif self.gap_kinds(kind, user, at):
            certainty = "in_gap"
        elif not unsure and self._is_followed(held, after, until):
            certainty = "confirmed"
        else:
            certainty = "last_known"
        # Commits come in order, so what came before it had been stored too, whatever the clock said.
        return Answer(held, certainty, moment(until), told[: told.index(held) + 1])

    def _is_contradicted(self, held: Version, after: list[Version], until: int) -> bool:
        """Other contents came under the same number before it was confirmed."""
        return bool(after) and after[0].number[:2] == held.number[:2] and until == tick(held.valid_from)

    def _is_followed(self, held: Version, after: list[Version], until: int) -> bool:
        """The hub pushed the next number in the session that had confirmed this one. Pairs have no number."""
        if not after or held.sent.kind == "pairs":
            return False
        (epoch, _, _), (next_epoch, _, revision) = held.number, after[0].number
        return (
            after[0].sent.pushed
            and after[0].passed_over == revision == 0
            and epoch == next_epoch
            and tick(self.told.sessions[after[0].session]) <= until
        )

    def is_pending(self, kind: str, user: str, at: int) -> bool:
        """Whether a contradiction waited for confirmation, as far as known."""
        return any(
            row.kind == kind
            and row.user_id == user
            and tick(row.raised_at) <= at
            and (row.resolved_at is None or at < tick(row.resolved_at))
            for row in self.confirmations
        )

    def gap_kinds(self, kind: str, user: str, at: int) -> set[str]:
        """The kinds of gap that the moment lies in, before their proof; `stopped` for a process that was."""
        kinds = set()
        for row in self.gaps:
            proof = row.balances_confirmed_at if kind == "balances" else row.pairs_confirmed_at
            if (
                kind in row.affects
                and row.user_id in {None, user}
                and tick(row.missed_from) <= at
                and (proof is None or at < tick(proof))
            ):
                kinds.add("stopped" if row.cause == "stopped" else row.kind)
        return kinds

    # --- balances ---

    def assets(self) -> list[tuple[str, str]]:
        """Users and assets ever reported."""
        return sorted(
            {
                (user, name)
                for (kind, user), versions in self.told.streams.items()
                if kind == "balances"
                for v in versions
                for name in v.sent.contents
            }
        )

    def held(self, answer: Answer, name: str) -> Held:
        """An asset of the balances, or a pair of the list."""
        held = Held()
        for version in answer.seen:
            given = version.sent.contents.get(name)
            if given is not None:
                now = Held(Decimal(given[0]), Decimal(given[1]), True)
            elif held.since is None:
                continue
            elif version.sent.kind == "balances":
                now = Held(Decimal(0), Decimal(0), False)
            else:  # the limits that it had
                now = Held(held.first, held.second, False)
            if now[:3] != held[:3]:
                held = now._replace(since=version.valid_from)
        return held

    def exposure(self, user: str, asset: str, at: int) -> tuple[str | None, str | None, str | None, object]:
        """Of an asset: present, at most, the currency, and the receipt of the snapshot that brought it."""
        known: tuple[str | None, str | None] = (None, None)
        base, since = None, None
        if self.begins is not None and at < self.begins:
            return None, None, None, None
        for received, recorded, sent in self.told.exposed:
            if (sent.kind, sent.user) != ("balances", user) or recorded > self.known_at:
                continue
            if tick(received) > min(at, self.limit):
                continue
            base = sent.base_currency or base
            if asset not in sent.contents or asset in sent.exposure:
                now = sent.exposure.get(asset, (None, None))
                if now != known:
                    known, since = now, received
        return (*known, None if since is None else base, since)

    def changes(self, user: str, asset: str) -> list[tuple[Version, Held, Held | None]]:
        """The versions that changed an asset, what they say of it, and what was before."""
        rows: list[tuple[Version, Held, Held | None]] = []
        seen: list[Version] = []
        for version in self.versions("balances", user):
            seen.append(version)
            now = self.held(Answer(version, None, None, seen), asset)
            before = rows[-1][1] if rows else None
            if now.since is not None and (before is None or now[:3] != before[:3]):
                rows.append((version, now, before))
        return rows

    # --- coverage ---

    def is_former(self, kind: str, user: str) -> bool:
        """For two intervals the hub has confirmed another user only."""
        last = {
            each: max(
                tick(v.valid_from) if not v.again else tick(max(a[0] for a in v.again)) for v in versions
            )
            for (k, each), versions in self.told.streams.items()
            if k == kind
        }
        others = [ticks for each, ticks in last.items() if each != user]
        return bool(others) and max(others) - last[user] > 2 * (
            TWO_INTERVALS[kind] // timedelta(microseconds=1)
        )

    def cause(self, kind: str, user: str, at: int) -> str:
        """Of a moment: known, or why not."""
        answer = self.stream(kind, user, at)
        if answer.certainty == "confirmed":
            return "known"
        if answer.certainty == "before_first":
            return "before_first"
        last = self.stream(kind, user, self.limit).confirmed_until
        if self.is_former(kind, user) and last is not None and at > tick(last):
            return "former_user"
        if any(begin <= at < end for begin, end in maintenance(at)):
            return "maintenance"
        kinds = self.gap_kinds(kind, user, at)
        for cause in ("stopped", *_ORDER):
            if cause in kinds:
                return cause
        return "pending" if self.is_pending(kind, user, at) else "unconfirmed"

    def coverage(self, kind: str, user: str, since: datetime, until: datetime) -> dict[str, timedelta]:
        """Seconds by cause; they add up to the range, which ends with the knowledge."""
        first, last = tick(since), min(tick(until), self.limit)
        edges = {first, last}
        for versions in self.told.streams.values():
            for v in versions:
                edges |= {tick(v.valid_from), *(tick(a[0]) for a in v.again)}
        edges |= {tick(opened) for opened in self.told.sessions.values()}
        for gap in self.gaps:
            times = (gap.missed_from, gap.balances_confirmed_at, gap.pairs_confirmed_at)
            edges |= {tick(time) for time in times if time is not None}
        for row in self.confirmations:
            edges |= {tick(time) for time in (row.raised_at, row.resolved_at) if time is not None}
        for day in range(first, last + _DAY, _DAY):
            edges |= {edge for window in maintenance(day) for edge in window}
        edges |= {self.begins or first}
        cuts = sorted(edge for edge in edges if first <= edge <= last)
        parts: dict[str, timedelta] = {}
        for begin, end in pairwise(cuts):
            cause = self.cause(kind, user, (begin + end) // 2)
            parts[cause] = parts.get(cause, timedelta(0)) + timedelta(microseconds=(end - begin) // 2)
        return parts


def _died(at: datetime) -> GapRow:
    """From the last heartbeat of a process on."""
    known = {
        "kind": "unclean_end",
        "cause": "no_heartbeat",
        "missed_from": at,
        "affects": ("balances", "pairs"),
    }
    return GapRow(**dict.fromkeys(GapRow.__struct_fields__) | known)  # type: ignore[arg-type]


def _latest(histories: Iterable[list[tuple[datetime, _Row]]], known_at: datetime) -> list[_Row]:
    """Each row as it stood last, of those that were stored by then."""
    known = ([row for recorded, row in rows if recorded <= known_at] for rows in histories)
    return [rows[-1] for rows in known if rows]
