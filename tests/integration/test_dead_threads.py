"""A thread that has ended although nobody asked it to is named, whichever it is: the process ends with it."""

import ctypes
import threading
from collections.abc import Callable

import pytest

from ingestor.app import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.pipeline.batch import Batch
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.waiting import eventually

THREADS: dict[str, Callable[[Ingestor], threading.Thread | None]] = {
    "writer": lambda ingestor: ingestor._writer._thread,
    "committer": lambda ingestor: ingestor._writer._committer._thread,
    "scheduler": lambda ingestor: ingestor._schedule._scheduler._thread,
    "database deadline": lambda ingestor: ingestor._store._guard._thread,
}
WAKE: dict[str, Callable[[Ingestor], object]] = {
    "committer": lambda ingestor: ingestor._writer._committer.write(Batch()),
    "scheduler": lambda ingestor: ingestor._schedule._scheduler.wakeup(),
}
"""These two sleep until there is something to do, and meet their end only once they are awake."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the point
@pytest.mark.parametrize("name", list(THREADS))
def test_a_dead_thread_is_noticed(name: str, database: str) -> None:
    with SimulatedHub(HubConfig(seed=3)) as hub:
        settings = Settings(account="dead", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            eventually(lambda: ingestor.picture().answered >= 2)
            assert ingestor.dead() is None
            threads = [thread(ingestor) for thread in THREADS.values()]
            kill(THREADS[name](ingestor))
            if name in WAKE:
                WAKE[name](ingestor)
            assert eventually(ingestor.dead) == name
        finally:
            ingestor.stop(5.0)
        eventually(lambda: not any(thread.is_alive() for thread in threads if thread is not None))


def kill(thread: threading.Thread | None) -> None:
    """End it from outside, as an exception out of nowhere would."""
    assert thread is not None
    assert thread.ident is not None
    raised = ctypes.py_object(SystemExit)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised) == 1
