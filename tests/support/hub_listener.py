"""A listener that keeps what the link reports, and checks the rules that every report must obey."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.hub.link import HubLink
from ingestor.adapters.hub.options import LinkLimits, LinkOptions, LinkTiming, tls_context
from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.pipeline.ports import LinkListener

KEY = "eyJhbGciOi.canary-4f1d9a77c2.do-not-print"

_QUICK = LinkTiming(
    negotiate_seconds=2.0,
    start_seconds=2.0,
    handshake_seconds=2.0,
    receive_seconds=5.0,
    ping_seconds=0.5,
    backoff_base_seconds=0.01,
    backoff_cap_seconds=0.05,
    refused_first_seconds=(),
    refused_seconds=0.2,
    key_check_seconds=0.05,
    healthy_seconds=60.0,
)


def quick(**changes: Any) -> LinkTiming:
    """Deadlines and pauses that suit a test, with these seconds instead."""
    return replace(_QUICK, **changes)


class RecordingListener:
    """Implements `LinkListener`; `broken` holds every rule that was broken, in words."""

    def __init__(self, on_records: Callable[[Sequence[Record]], object] | None = None) -> None:
        self.opened: list[SessionOpened] = []
        self.closed: list[SessionClosed] = []
        self.received: list[Record] = []
        self.completions: list[tuple[UUID, str, str | None]] = []
        self.order: list[bytes | str] = []
        """Records and the ids of completions, as they came."""
        self.silences: list[UUID] = []
        self.broken: list[str] = []
        self._live: UUID | None = None
        self._on_records = on_records
        self._lock = threading.Lock()

    def link_up(self, opened: SessionOpened) -> None:
        with self._lock:
            if self._live is not None:
                self.broken.append("a session opened before the last one closed")
            self._live = opened.session
            self.opened.append(opened)

    def records(self, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                if record.session != self._live:
                    self.broken.append(f"record {record.ordinal} outside its session")
                last = self.received[-1] if self.received else None
                due = last.ordinal + 1 if last is not None and last.session == record.session else 1
                if record.ordinal != due:
                    self.broken.append(f"ordinal {record.ordinal} where {due} was due")
                self.received.append(record)
                self.order.append(record.raw)
        if self._on_records is not None:
            self._on_records(records)

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        self.order.append(invocation_id)
        self.completions.append((session, invocation_id, error))

    def silent(self, session: UUID) -> None:
        self.silences.append(session)

    def link_down(self, closed: SessionClosed) -> None:
        with self._lock:
            if closed.session != self._live:
                self.broken.append("a session closed that was not open")
            count = sum(record.session == closed.session for record in self.received)
            if closed.received != count:
                self.broken.append(f"closed with {closed.received} records, {count} were delivered")
            self._live = None
            self.closed.append(closed)

    @property
    def raws(self) -> list[bytes]:
        return [record.raw for record in self.received]


def make_link(
    url: str,
    listener: LinkListener,
    timing: LinkTiming | None = None,
    *,
    limits: LinkLimits | None = None,
    key: Callable[[], str] = lambda: KEY,
    negotiation: str = "auto",
    ca_file: Path | None = None,
) -> HubLink:
    """A link with quick timing that has not been started."""
    options = LinkOptions(
        url, key, negotiation, tls_context(ca_file), timing or quick(), limits or LinkLimits()
    )
    return HubLink(options, listener, DatabaseClock(), Random(7))


@contextmanager
def linked(
    url: str,
    listener: RecordingListener,
    timing: LinkTiming | None = None,
    *,
    limits: LinkLimits | None = None,
    key: Callable[[], str] = lambda: KEY,
    negotiation: str = "auto",
    ca_file: Path | None = None,
    breaks: type[BaseException] | None = None,
) -> Iterator[HubLink]:
    """A started link; stopped within two seconds at the end, and the rules checked.

    Args:
        breaks: the bug by which the link is expected to end, where one was planted.
    """
    link = make_link(url, listener, timing, limits=limits, key=key, negotiation=negotiation, ca_file=ca_file)
    link.start()
    try:
        yield link
    finally:
        assert link.stop(2.0), "stop took more than two seconds"
    assert type(link.failure) is (breaks or type(None)), link.failure
    assert not listener.broken, listener.broken
