"""What is done after a commit, never before: notifying the request scheduler and writing the log."""

from typing import assert_never

import structlog

from ingestor.pipeline.batch import Batch, Notice, RequestAnswered, RequestFailed, SnapshotNeeded
from ingestor.pipeline.request_scheduler import RequestScheduler
from ingestor.pipeline.telemetry import LOG_EVENTS

log = structlog.get_logger()


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
                getattr(log, LOG_EVENTS[effect.event].level)(effect.event, **effect.facts)
            case _:
                assert_never(effect)
