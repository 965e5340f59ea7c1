"""Notifies the request scheduler and writes the log, after a commit and never before."""

from typing import assert_never

import structlog

from ingestor.pipeline.batch import Batch, Notice, RequestAnswered, RequestFailed, SnapshotNeeded
from ingestor.pipeline.request_scheduler import RequestScheduler

log = structlog.get_logger()

LEVELS = {
    "confirmation_resolved": "info",
    "gap_ended": "info",
    "gap_expected": "info",
    "stream_first_seen": "info",
    "stream_degraded": "error",
}
"""Levels of notices; all others are warnings."""


def notify(batch: Batch, scheduler: RequestScheduler) -> None:
    """Act on the effects of a batch that is committed, in their order."""
    for effect in batch.effects:
        match effect:
            case RequestAnswered():
                scheduler.answered(effect.request_id)
            case RequestFailed():
                scheduler.failed(effect.request_id, effect.outcome)
            case SnapshotNeeded():
                scheduler.request(effect.command, effect.cause)
            case Notice():
                getattr(log, LEVELS.get(effect.event, "warning"))(effect.event, **effect.facts)
            case _:
                assert_never(effect)
