"""The metrics of `/metrics`, each declared once: name, meaning, and how it is read from a `DaemonStatus`.

Values are read when a scrape asks for them; the pipeline keeps no counters for this. Values of labels come
from fixed sets. The table in `deploy/METRICS.md` is made from this.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from typing_extensions import override

from ingestor import __version__
from ingestor.app.daemon_status import DaemonStatus, not_live
from ingestor.app.health import REASONS, not_ready
from ingestor.domain.decision import Outcome
from ingestor.domain.gaps import GapKind

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PREFIX = "hercle_ingestor_"

Value = float | None
"""None: not known yet; then there is no sample."""


def _each(names: type[StrEnum], counts: Mapping[str, int]) -> dict[str, Value]:
    """A count for every name, 0 included: a series that is missing cannot be compared."""
    return {name.value: counts.get(name.value, 0) for name in names}


@dataclass(frozen=True, slots=True)
class Exposed:
    """One metric."""

    name: str
    """Without `PREFIX`; a counter ends in `_total`."""
    meaning: str
    read: Callable[[DaemonStatus], Value | Mapping[str, Value]]
    label: str | None = None
    """Its label, where it is read as a mapping by this label's values."""

    @property
    def kind(self) -> str:
        """`counter` or `gauge`."""
        return "counter" if self.name.endswith("_total") else "gauge"


EXPOSED = (
    Exposed("build_info", "Always 1; the label is the version.", lambda _: {__version__: 1}, "version"),
    Exposed(
        "ready", "1 while data flows and is committed, as `/health/ready` says.", lambda p: not not_ready(p)
    ),
    Exposed(
        "not_ready_reason",
        "1 for each reason why it is not ready.",
        lambda p: {reason: reason in not_ready(p) for reason in REASONS},
        "reason",
    ),
    Exposed(
        "live", "1 while every thread makes progress, as `/health/live` says.", lambda p: not not_live(p)
    ),
    Exposed(
        "thread_turn_age_seconds",
        "Seconds since each thread last completed a turn of its loop; from 30 s on it is stuck.",
        lambda p: p.turns,
        "thread",
    ),
    Exposed("link_up", "1 while there is a session with the hub.", lambda p: p.link == "up"),
    Exposed("link_attempts_total", "Attempts to connect to the hub.", lambda p: p.connection_attempts),
    Exposed(
        "links_lost_last_hour",
        "Sessions of this process lost in the last hour.",
        lambda p: p.links_lost_last_hour,
    ),
    Exposed("key_refused", "1 while the hub answers 401 or 403 to the key.", lambda p: p.key_refused),
    Exposed(
        "snapshot_age_seconds",
        "Seconds since the committed state of each kind was last confirmed by the hub.",
        lambda p: p.snapshot_seconds,
        "kind",
    ),
    Exposed(
        "snapshot_overdue_seconds",
        "The age from which a snapshot is overdue.",
        lambda p: p.snapshot_limits,
        "kind",
    ),
    Exposed(
        "requests_failed",
        "Requests that have failed since the command's last good answer.",
        lambda p: p.failed_requests,
        "command",
    ),
    Exposed("gaps_open", "Gaps open, by kind.", lambda p: _each(GapKind, p.gaps), "kind"),
    Exposed(
        "gap_oldest_age_seconds",
        "Seconds since the oldest open gap opened; 0: none.",
        lambda p: p.oldest_gap_seconds,
    ),
    Exposed("confirmations_pending", "Confirmations that are pending.", lambda p: p.pending_confirmations),
    Exposed(
        "last_commit_age_seconds", "Seconds since the last commit of data.", lambda p: p.seconds_since_commit
    ),
    Exposed(
        "oldest_uncommitted_age_seconds",
        "Age of the oldest item that the writer has taken and not committed; 0: none.",
        lambda p: p.seconds_uncommitted,
    ),
    Exposed(
        "database_age_seconds",
        "Seconds since the last commit of anything, heartbeats included.",
        lambda p: p.seconds_since_stored,
    ),
    Exposed("commit_retrying", "1 while a batch is tried again.", lambda p: p.retrying is not None),
    Exposed("committed_records_total", "Records committed.", lambda p: p.records),
    Exposed("committed_batches_total", "Transactions committed.", lambda p: p.batches),
    Exposed("events_total", "Events committed, by outcome.", lambda p: _each(Outcome, p.outcomes), "outcome"),
    Exposed("inbox_records", "Records that wait for the writer.", lambda p: p.inbox_records),
    Exposed("inbox_limit_records", "The limit of `inbox_records`.", lambda p: p.inbox_max_records),
    Exposed("inbox_bytes", "Bytes of the records that wait.", lambda p: p.inbox_bytes),
    Exposed("inbox_limit_bytes", "The limit of `inbox_bytes`.", lambda p: p.inbox_max_bytes),
    Exposed("dropped_records_total", "Records dropped from a full inbox.", lambda p: p.dropped),
    Exposed("dropping", "1 while records are being dropped.", lambda p: p.dropping > 0),
    Exposed(
        "unaccounted_records",
        "Records received that are neither stored nor counted as dropped; must be 0.",
        lambda p: p.unaccounted,
    ),
    Exposed(
        "clock_offset_seconds",
        "This host's clock minus the database's, at the last reading.",
        lambda p: p.clock_offset_seconds,
    ),
)


def page(daemon_status: Callable[[], DaemonStatus]) -> bytes:
    """The present values in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Scrape(daemon_status()))
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, daemon_status: DaemonStatus) -> None:
        self._status = daemon_status

    @override
    def collect(self) -> Iterable[Metric]:
        for each in EXPOSED:
            values = each.read(self._status)
            family = (CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily)(
                PREFIX + each.name, each.meaning, labels=None if each.label is None else [each.label]
            )
            for label, value in values.items() if isinstance(values, Mapping) else [(None, values)]:
                if value is not None:
                    family.add_metric([] if label is None else [label], value)
            yield family
