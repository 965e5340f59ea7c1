"""The oracle: compares the hub's journal with the tables.

It shares no code with the daemon. The hub wrote the journal before it sent; whatever it handed to a socket
must be stored exactly once, or lie in the interval of a gap row.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from tests.support.journal import SentRecord, read_journal

_TRANSIT = timedelta(seconds=1)
"""Between the journal's clock and the daemon's receipt, bursts included."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the records that the hub sent fared."""

    sent: int
    stored: int
    covered: int
    """Not stored, in the interval of a gap row."""
    lost: int
    """Not stored, and in no gap row's interval. Must be 0."""
    doubled: int
    """Stored more often than sent. Must be 0."""
    invented: int
    """Stored and never sent. Must be 0."""


def judge(journal: Path, database: str, account: str, *, commits_lost: bool = False) -> Verdict:
    """Classify every record of the journal.

    Args:
        commits_lost: the database has lost commits, so what it does not have may lie between what it has.
    """
    sent = [record for record in read_journal(journal).records if record.handed is not None]
    with psycopg.connect(database) as connection:
        raw = connection.execute("SELECT raw FROM ingest.record WHERE account = %s", (account,)).fetchall()
        gaps: list[tuple[datetime, datetime]] = connection.execute(
            "SELECT missed_from, coalesce(missed_until, now()) FROM ingest.gap WHERE account = %s", (account,)
        ).fetchall()
    stored = Counter(hashlib.sha256(row[0]).hexdigest() for row in raw)
    expected = Counter(record.sha256 for record in sent)
    missing = covered = 0
    for records in _by_connection(sent):
        kept = [n for n, record in enumerate(records) if record.sha256 in stored]
        received = kept[-1] + 1 if kept and not commits_lost else 0
        # Up to the last stored record of a connection nothing may be missing, even in a gap.
        missing += sum(record.sha256 not in stored for record in records[:received])
        for record in records[received:]:
            if record.sha256 in stored:
                continue
            moment = datetime.fromisoformat(record.time)
            in_gap = any(begin - _TRANSIT <= moment <= end + _TRANSIT for begin, end in gaps)
            covered += in_gap
            missing += not in_gap
    return Verdict(
        sent=len(sent),
        stored=sum(stored.values()),
        covered=covered,
        lost=missing,
        doubled=sum((stored - expected).values()) - sum(n for k, n in stored.items() if k not in expected),
        invented=sum(n for k, n in stored.items() if k not in expected),
    )


def _by_connection(sent: list[SentRecord]) -> list[list[SentRecord]]:
    """The records of each connection, in the order in which its socket got them."""
    connections: dict[str, list[SentRecord]] = {}
    for record in sent:
        connections.setdefault(record.connection, []).append(record)
    return [sorted(records, key=lambda record: record.handed or 0) for records in connections.values()]
