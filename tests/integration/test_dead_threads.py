"""Whichever thread ends unexpectedly is named, and the process ends with it.

Invariant I15.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.waiting import eventually

NOTHING_KNOWN: Any = object()
END: dict[str, Callable[[Ingestor], object]] = {
    "writer": lambda ingestor: ingestor._inbox.put(NOTHING_KNOWN),
    "committer": lambda ingestor: ingestor._writer._committer._batches.put(NOTHING_KNOWN),
    "scheduler": lambda ingestor: _break(ingestor._schedule._scheduler),
    "database deadline": lambda ingestor: ingestor._store._database._guard.close(),
}
"""What ends each thread from within. Not an exception sent from outside: while one waits for a thread that
sleeps, Python 3.11 under a tracer (coverage) gets nowhere in any other."""


def _break(scheduler: Any) -> None:
    scheduler._process_jobs = None
    scheduler.wakeup()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the point
@pytest.mark.parametrize("name", list(END))
def test_a_dead_thread_is_noticed(name: str, database: str) -> None:
    before = set(threading.enumerate())
    with SimulatedHub(HubConfig(seed=3)) as hub:
        settings = Settings(account="dead", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
            assert ingestor.dead() is None
            END[name](ingestor)
            assert eventually(ingestor.dead) == name
        finally:
            ingestor.stop(5.0)
    eventually(lambda: not set(threading.enumerate()) - before)
