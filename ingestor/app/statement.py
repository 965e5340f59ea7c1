"""The figures of a statement, read from the functions of schema `report` in one snapshot of the database."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import class_row, namedtuple_row

import ingestor
from ingestor.app.database import connect, require_account, snapshot
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration
from ingestor.statement import page
from ingestor.statement.figures import (
    Balance,
    Day,
    Figures,
    GapShown,
    LatencyDay,
    LimitChange,
    Movement,
    Point,
    Proof,
    Series,
)

_LARGEST = 15
"""Movements shown."""
_STEP = "1 hour"
_T = TypeVar("_T")


def statement(
    settings: Settings, since: datetime, until: datetime, zone: ZoneInfo, assets: Sequence[str] = ()
) -> str:
    """The HTML document of the configured account, for `since <= t < until`.

    Args:
        since: local midnight of the zone, like `until`.
        assets: only these; none means all.

    Raises:
        BadConfiguration: the account is not in this database, or the period has not begun.
        Transient: the database cannot be reached.
    """
    with connect(settings) as connection, snapshot(connection):
        return page(_figures(_Reader(connection, settings.account, since, until, zone, tuple(assets))))


class _Reader:
    """Reads the figures of one account and one period. Each method is one part of the statement."""

    def __init__(
        self,
        connection: psycopg.Connection,
        account: str,
        since: datetime,
        until: datetime,
        zone: ZoneInfo,
        assets: tuple[str, ...],
    ) -> None:
        self._connection = connection
        self.zone = zone
        self._given: dict[str, object] = {}
        ((self.known_at,),) = self.rows("SELECT now()")
        self.account, self.since, self.until = account, since, min(until, self.known_at)
        if self.since >= self.until:
            raise BadConfiguration(
                f"{since:%Y-%m} has no statement yet\nwhy: it has not begun\nfix: use an earlier month"
            )
        self._given = {
            "account": account,
            "since": since,
            "until": self.until,
            "first_day": since.astimezone(zone).date(),
            "last_day": (self.until - timedelta(microseconds=1)).astimezone(zone).date(),
            "zone": zone.key,
            "known_at": self.known_at,
            "assets": list(assets) or None,
            "step": _STEP,
            "largest": _LARGEST,
        }

    def rows(self, query: str) -> list[Any]:
        cursor = self._connection.cursor(row_factory=namedtuple_row)
        return cursor.execute(query.encode(), self._given).fetchall()

    def read(self, into: type[_T], query: str) -> list[_T]:
        """The same as values of this type, whose fields the query names."""
        cursor = self._connection.cursor(row_factory=class_row(into))
        return cursor.execute(query.encode(), self._given).fetchall()

    def environment(self) -> str:
        require_account(self._connection, self.account, "report")
        found = self.rows("SELECT environment FROM report.account WHERE account = %(account)s")
        return str(found[0].environment)

    def balances(self) -> list[Balance]:
        return self.read(
            Balance,
            """
            SELECT user_id, asset, total_before AS opening,
                coalesce(certainty_before, 'before_first') AS opening_certainty,
                total AS closing, available AS closing_available, allocated AS closing_allocated,
                certainty AS closing_certainty, observed_at, is_former, total_change AS change
            FROM report.balance_change(%(since)s, %(until)s, %(known_at)s)
            WHERE account = %(account)s AND (%(assets)s::text[] IS NULL OR asset = ANY (%(assets)s))
              AND total IS NOT NULL
            ORDER BY is_former, user_id, asset
            """,
        )

    def series(self) -> list[Series]:
        points: dict[tuple[str, str], list[Point]] = defaultdict(list)
        for each in self.rows("""
            SELECT user_id, asset, bucket_until, total
            FROM report.balance_bucket(%(since)s, %(until)s, %(step)s::interval, %(zone)s, %(known_at)s)
            WHERE account = %(account)s AND NOT is_former AND total IS NOT NULL
              AND (%(assets)s::text[] IS NULL OR asset = ANY (%(assets)s))
            ORDER BY user_id, asset, bucket_until
        """):
            known = points[each.user_id, each.asset]
            if not known or known[-1].total != each.total:
                known.append(Point(each.bucket_until, each.total))
        return [Series(user, asset, found) for (user, asset), found in points.items()]

    def gaps(self) -> list[GapShown]:
        return self.read(
            GapShown,
            """
            SELECT kind, cause, missed_from, ended_at AS until, affects FROM report.gap
            WHERE account = %(account)s AND missed_from < %(until)s
              AND coalesce(ended_at, 'infinity') > %(since)s
            ORDER BY missed_from
            """,
        )

    def days(self) -> list[Day]:
        parts: dict[Any, dict[str, timedelta]] = defaultdict(lambda: defaultdict(timedelta))
        for each in self.rows("""
            SELECT day, cause, duration
            FROM report.coverage_daily(%(first_day)s, %(last_day)s, %(zone)s, %(known_at)s)
            WHERE account = %(account)s AND kind = 'balances' AND NOT is_former
        """):
            parts[each.day][each.cause] += each.duration
        return [Day(day, sum(found.values(), timedelta()), found) for day, found in sorted(parts.items())]

    def movements(self) -> list[Movement]:
        # The largest are selected first, by a window over the period, because computing the certainty takes
        # longer.
        return self.read(
            Movement,
            """
            WITH known AS MATERIALIZED (
                SELECT user_id, asset FROM report.asset
                WHERE account = %(account)s AND (%(assets)s::text[] IS NULL OR asset = ANY (%(assets)s))
            ),
            opening AS MATERIALIZED (
                SELECT user_id, asset, total FROM report.balance_as_of(%(since)s, %(known_at)s)
                WHERE account = %(account)s AND NOT is_former
            ),
            moved AS (
                SELECT h.user_id, h.asset, h.valid_from, h.epoch, h.sequence, h.revision,
                    h.total - lag(h.total, 1, o.total) OVER (
                        PARTITION BY h.user_id, h.asset ORDER BY h.valid_from, h.epoch, h.sequence, h.revision
                    ) AS change
                FROM known AS k
                JOIN opening AS o USING (user_id, asset)
                JOIN report.balance_history AS h
                    ON h.account = %(account)s AND h.user_id = k.user_id AND h.asset = k.asset
                -- As the opening and the closing balance: both have what changed at that very moment.
                WHERE h.valid_from > %(since)s AND h.valid_from <= %(until)s
            ),
            largest AS MATERIALIZED (
                SELECT * FROM moved WHERE change <> 0 ORDER BY abs(change) DESC, valid_from LIMIT %(largest)s
            )
            SELECT h.valid_from AS observed_at, h.asset, l.change, h.total, h.certainty
            FROM largest AS l
            JOIN report.balance_history AS h
                ON h.account = %(account)s AND h.user_id = l.user_id AND h.asset = l.asset
                AND h.valid_from = l.valid_from AND h.epoch = l.epoch AND h.sequence = l.sequence
                AND h.revision = l.revision
            ORDER BY abs(l.change) DESC, h.valid_from
            """,
        )

    def limit_changes(self) -> list[LimitChange]:
        return self.read(
            LimitChange,
            """
            SELECT changed_at AS at, name AS pair, field AS what, before, after FROM report.pair_change
            WHERE account = %(account)s AND changed_at >= %(since)s AND changed_at < %(until)s
              AND NOT is_first
            ORDER BY changed_at, name, field
            """,
        )

    def latency(self) -> list[LatencyDay]:
        return self.read(
            LatencyDay,
            """
            SELECT day, command, requests, unanswered, median_ms::float8, p99_ms::float8
            FROM report.vendor_latency_daily(%(first_day)s, %(last_day)s, %(zone)s)
            WHERE account = %(account)s ORDER BY day, command
            """,
        )

    def proof(self, balances: Sequence[Balance]) -> Proof:
        # By stream, so that the primary key is used for the period.
        (found,) = self.rows("""
            SELECT count(*) AS records, count(*) FILTER (WHERE v.kind = 'balances') AS versions,
                (array_agg(v.session_id || '/' || v.ordinal ORDER BY v.received_at, v.ordinal))[1]
                    AS first_position,
                (array_agg(v.session_id || '/' || v.ordinal ORDER BY v.received_at DESC, v.ordinal DESC))[1]
                    AS last_position
            FROM report.stream AS s
            JOIN report.version AS v USING (account, kind, user_id)
            WHERE s.account = %(account)s AND v.valid_from >= %(since)s AND v.valid_from < %(until)s
        """)
        lines = "".join(
            "\t".join((each.user_id, each.asset, _plain(each.opening), _plain(each.closing))) + "\n"
            for each in balances
        )
        return Proof(
            found.records,
            found.first_position or "-",
            found.last_position or "-",
            found.versions,
            hashlib.sha256(lines.encode()).hexdigest(),
        )


def _figures(reader: _Reader) -> Figures:
    environment = reader.environment()
    balances = reader.balances()
    return Figures(
        account=reader.account,
        environment=environment,
        since=reader.since,
        until=reader.until,
        zone=reader.zone,
        known_at=reader.known_at,
        software_version=ingestor.__version__,
        contract_version=str(reader.rows("SELECT version FROM report.contract_version")[0].version),
        balances=balances,
        series=reader.series(),
        gaps=reader.gaps(),
        days=reader.days(),
        movements=reader.movements(),
        limit_changes=reader.limit_changes(),
        latency=reader.latency(),
        proof=reader.proof(balances),
    )


def _plain(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"
