"""A pair of hands for the writer: commits a batch while the next one is booked.

Postgres works on a batch about as long as Python needs to book one, and both can happen at once, because
libpq lets go of the interpreter while it waits. There is never more than one batch under way, so the order of
commits is the order of batches.
"""

import threading
from concurrent.futures import Future
from queue import SimpleQueue

from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Store


class Committer:
    """Uses the store from a thread of its own; whoever hands it a batch leaves it alone meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: SimpleQueue[tuple[Batch, Future[None]] | None] = SimpleQueue()
        # A daemon thread: a database that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread.is_alive()

    def end(self) -> None:
        """After the batch that is under way."""
        self._asked.put(None)

    def write(self, batch: Batch) -> "Future[None]":
        """Begin; the future ends as `Store.write` does, with its errors."""
        under_way: Future[None] = Future()
        self._asked.put((batch, under_way))
        return under_way

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            batch, under_way = asked
            try:
                self._store.write(batch)
            except BaseException as error:  # noqa: BLE001 - the writer takes it from the future, and acts on it
                under_way.set_exception(error)
            else:
                under_way.set_result(None)
