"""The only module that reads the time."""

import time
from datetime import UTC, datetime


class SystemClock:
    """`ingestor.pipeline.ports.Clock` from the operating system."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware, microseconds."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point; immune to steps of the wall clock."""
        return time.monotonic()
