"""Commits one batch while the writer applies the next.

Postgres takes about as long to commit a batch as Python to apply one, and both can run at the same time,
because libpq releases the interpreter lock while it waits. Only one batch is committed at a time, so commits
have the order of batches.
"""

import threading
from concurrent.futures import Future
from queue import SimpleQueue

from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Store


class Committer:
    """Uses the store in a thread of its own; the writer does not use the store meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batches: SimpleQueue[tuple[Batch, Future[None]] | None] = SimpleQueue()
        # A daemon thread: a database that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def end(self) -> None:
        """End the thread after the batch that is being committed."""
        self._batches.put(None)

    def write(self, batch: Batch) -> "Future[None]":
        """Begin to write; the future has the result or error of `Store.write`."""
        under_way: Future[None] = Future()
        self._batches.put((batch, under_way))
        return under_way

    def _run(self) -> None:
        while (next_ := self._batches.get()) is not None:
            batch, under_way = next_
            try:
                self._store.write(batch)
            except BaseException as error:  # noqa: BLE001 - the writer gets it from the future
                under_way.set_exception(error)
            else:
                under_way.set_result(None)
