"""The faults of a demonstration, and the rows in the database that prove that they are healed.

A fault counts as healed only by rows that were stored after it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from ingestor.adapters.postgres.reading import rows
from ingestor.simulator import Fault, FaultSpec
from ingestor.simulator.journal import ChannelRecord

_CLOCKS_APART = timedelta(seconds=0.1)
"""Allowance for the difference between the machine's clock, which the hub uses, and the database's."""

NAMES: Mapping[Fault, str] = {
    Fault.RST: "link reset by the hub",
    Fault.FIN: "link closed by the hub",
    Fault.CLOSE: "Close record of the hub",
    Fault.RESTART: "hub restarted",
    Fault.DUPLICATE: "record sent twice",
    Fault.REORDER: "records out of order",
    Fault.DELAY: "record late",
    Fault.DROP: "record lost",
    Fault.GARBAGE: "record cut in half",
}
"""Descriptions of the faults that the hub injects at random."""

_RECONNECTED = """
    SELECT g.ended_at AS at, 'reconnected, fresh snapshots' AS by
    FROM report.gap AS g
    JOIN report.session AS s ON s.session_id = g.balances_confirmed_by_session_id
    WHERE g.kind = 'disconnected' AND g.ended_at IS NOT NULL AND s.opened_at > $1
    ORDER BY g.ended_at
    LIMIT 1
"""
_READ_ANEW = """
    SELECT ended_at AS at, 'bytes kept, fresh snapshot' AS by
    FROM report.gap
    WHERE kind = 'undecodable' AND last_occurred_at > $1 AND ended_at IS NOT NULL
    ORDER BY ended_at
    LIMIT 1
"""
_SEEN = """
    SELECT received_at AS at, outcome
    FROM ingest.event_outcome
    WHERE received_at > $1 AND outcome = ANY ($4)
      AND CASE WHEN $3 = '' THEN kind = 'balances' AND sequence = $2 ELSE request_id = $3 END
    ORDER BY received_at
    LIMIT 1
"""
_NEXT_PUSH = """
    SELECT received_at AS at, 'next snapshot has it all' AS by
    FROM report.version
    WHERE received_at > $1 AND kind = 'balances' AND sequence > $2
    ORDER BY received_at
    LIMIT 1
"""
_NEXT_ANSWER = """
    SELECT again.ended_at AS at, 'requested again' AS by
    FROM report.request AS first
    JOIN report.request AS again USING (command)
    WHERE again.ended_at > $1 AND first.request_id::text = $2
      AND again.requested_at > first.requested_at AND again.outcome = 'answered'
    ORDER BY again.ended_at
    LIMIT 1
"""
_RECOGNISED = {
    "duplicate": "seen as duplicate, kept once",
    "stale": "seen as stale, newer one kept",
    "applied": "still the newest: applied",
}


@dataclass(slots=True)
class InjectedFault:
    """A fault that has occurred."""

    fault: Fault
    at: datetime
    record: ChannelRecord | None
    """The record that it affected."""
    healed_by: str | None = None
    seconds: float | None = None
    """From the fault until it was healed."""

    @property
    def name(self) -> str:
        """Its description."""
        return NAMES.get(self.fault, self.fault)


class DemoFaults:
    """All faults so far; the hub adds to it in its own thread.

    Args:
        now: the database's time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._faults: list[InjectedFault] = []

    def occurred(self, spec: FaultSpec, record: ChannelRecord | None) -> None:
        """Called by the hub."""
        with self._lock:
            self._faults.append(InjectedFault(spec.fault, self._now(), record))

    def with_recoveries(self, connection: psycopg.Connection) -> list[InjectedFault]:
        """All faults, the oldest first, each with what has repaired its effect, if anything."""
        with self._lock:
            faults = list(self._faults)
        for fault in faults:
            if fault.healed_by is None:
                _find_what_healed(connection, fault)
        return faults


def _find_what_healed(connection: psycopg.Connection, fault: InjectedFault) -> None:
    found_rows = _rows_after(connection, fault) or rows(connection, _RECONNECTED, fault.at)
    for found in found_rows:
        fault.healed_by = _RECOGNISED[found.outcome] if hasattr(found, "outcome") else found.by
        fault.seconds = max(0.0, (found.at - fault.at).total_seconds())


def _rows_after(connection: psycopg.Connection, fault: InjectedFault) -> list[Any]:
    """For a fault of a record: the rows of the record, or of what followed it."""
    record, since = fault.record, fault.at - _CLOCKS_APART
    if record is None:
        return []
    answered = record.client_id or ""  # the request; empty for a push
    match fault.fault:
        case Fault.GARBAGE:
            return rows(connection, _READ_ANEW, since)
        case Fault.DROP if answered:
            return rows(connection, _NEXT_ANSWER, since, answered)
        case Fault.DROP:
            return rows(connection, _NEXT_PUSH, since, record.sequence)
        case Fault.DUPLICATE:
            outcomes = ["duplicate"]
        case _:
            outcomes = list(_RECOGNISED)
    return rows(connection, _SEEN, since, record.sequence, answered, outcomes)
