"""Whichever thread ends unexpectedly is named, and the process ends with it.

Invariant I15.
"""

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Metrics, Settings
from ingestor.logs import configure
from ingestor.logs.output import LineHandler
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.waiting import eventually

NOTHING_KNOWN: Any = object()
END: dict[str, Callable[[Ingestor], object]] = {
    "writer": lambda ingestor: ingestor._inbox.put(NOTHING_KNOWN),
    "committer": lambda ingestor: ingestor._writer._committer._batches.put(NOTHING_KNOWN),
    "scheduler": lambda ingestor: _break(ingestor._schedule._scheduler),
    "database deadline": lambda ingestor: ingestor._store._database._guard.close(),
    "metrics": lambda ingestor: _ask_a_broken_server(ingestor._servers[0]),
    "control": lambda ingestor: _ask_a_broken_server(ingestor._servers[1]),
    "log writer": lambda _: _log_into_a_broken_handler(),
}
"""What ends each thread from within. Not an exception sent from outside: while one waits for a thread that
sleeps, Python 3.11 under a tracer (coverage) gets nowhere in any other."""


def _break(scheduler: Any) -> None:
    scheduler._process_jobs = None
    scheduler.wakeup()


def _ask_a_broken_server(server: Any) -> None:
    server._page = None
    listener = eventually(lambda: server._listener)
    with socket.socket(listener.family) as client:
        client.connect(listener.getsockname() if server.name == "metrics" else str(server._path))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")


def _log_into_a_broken_handler() -> None:
    handler: Any = _line_handler()
    handler._write = None
    logging.getLogger("test").error("the last line")


def _line_handler() -> LineHandler:
    return next(each for each in logging.getLogger().handlers if isinstance(each, LineHandler))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the point
@pytest.mark.parametrize("name", list(END))
def test_a_dead_thread_is_noticed(
    name: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    before = set(threading.enumerate())
    configure()
    with SimulatedHub(HubConfig(seed=3)) as hub:
        settings = Settings(
            account="dead",
            hub=Hub(environment=Environment.CUSTOM, url=hub.url),
            metrics=Metrics(listen="127.0.0.1:0"),
        )
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
            assert ingestor.dead() is None
            END[name](ingestor)
            assert eventually(ingestor.dead) == name
        finally:
            ingestor.stop(5.0)
    _line_handler().close()
    eventually(lambda: not set(threading.enumerate()) - before)
