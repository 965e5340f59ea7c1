"""The schedule of snapshots, by APScheduler: a table of (interval, job); a job only enqueues a request.

APScheduler 3.11 drops a job that is a second late, stops an interval job when the wall clock is set back, and
stops without an error when a job hangs. So there is no grace limit, overdue runs are merged into one, jobs do
nothing that could hang, its warnings become log events, and the request scheduler checks the age of snapshots
by the monotonic clock as well.
"""

from collections.abc import Callable, Mapping
from datetime import UTC

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from ingestor.domain.requests import Command, RequestCause

log = structlog.get_logger()


class SnapshotSchedule:
    """Requests each command every so many seconds."""

    def __init__(
        self, request: Callable[[Command, RequestCause], None], interval_seconds: Mapping[Command, float]
    ) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._interval_seconds = dict(interval_seconds)
        for command, seconds in interval_seconds.items():
            self._scheduler.add_job(
                request,
                IntervalTrigger(seconds=seconds, timezone=UTC),
                (command, RequestCause.SCHEDULE),
                id=command.value,
            )
        self._scheduler.add_listener(
            _log_missed, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )

    def start(self) -> None:
        """Begin; the first runs come one interval from now, because link-up requests both anyway."""
        self._scheduler.start()

    def use(self, interval_seconds: Mapping[Command, float]) -> None:
        """Use these intervals from now on: if one has changed, its next run comes one interval from now."""
        for command, seconds in interval_seconds.items():
            if seconds != self._interval_seconds[command]:
                trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
                self._scheduler.reschedule_job(command.value, trigger=trigger)
        self._interval_seconds = dict(interval_seconds)

    def alive(self) -> bool:
        """False once its thread has ended, for whatever reason."""
        thread = self._scheduler._thread  # noqa: SLF001 - APScheduler has no public attribute for it
        return thread is not None and thread.is_alive()

    def stop(self) -> None:
        """End it. It is stopped first, because it holds no data."""
        self._scheduler.shutdown(wait=False)


def _log_missed(event: JobEvent) -> None:
    log.warning("scheduled_job_missed", job=event.job_id, code=event.code)
