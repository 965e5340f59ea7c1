"""Runs steps one after the other in a thread, each with a deadline.

A name lookup or a hanging file system cannot be interrupted. So after a step's deadline, the reader of the
findings reports the timeout and abandons the thread, because the command will end soon.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ingestor.app.check.findings import Finding, NothingToTry, Problem, finding, problem
from ingestor.domain.errors import IngestorError
from ingestor.pipeline.ports import Clock


class Step(NamedTuple):
    """One thing to try."""

    name: str
    run: Callable[[], str]
    """Returns a description of what it found. Raises Problem, NothingToTry or IngestorError."""
    seconds: float
    """Its deadline."""
    needs: tuple[str, ...] = ()
    """Names of steps without which it cannot be tried."""
    if_it_hangs: str = "find out what does not answer: the network, the server or the file system"
    """The fix if it does not end in time."""


class Chain:
    """Steps in their order; several chains can run at the same time.

    Args:
        passed: names of the steps that did not fail; more are added.
        until: monotonic time of the last finding at the latest.
    """

    def __init__(self, steps: Sequence[Step], passed: set[str], until: float, clock: Clock) -> None:
        self._steps = steps
        self._passed = passed
        self._until = until
        self._clock = clock
        self._found: queue.SimpleQueue[Finding | BaseException] = queue.SimpleQueue()
        self._began = clock.monotonic()
        self.left = False
        """A step did not end in time, and may still run."""
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)
        self._thread.start()

    def findings(self) -> Iterator[Finding]:
        """One for each step, as they arise."""
        for number, step in enumerate(self._steps):
            limit = min(self._began + step.seconds, self._until)
            try:
                found = self._found.get(timeout=max(0.0, limit - self._clock.monotonic()))
            except queue.Empty:
                yield from self._leave(self._steps[number:])
                return
            if isinstance(found, BaseException):  # a bug
                raise found
            yield found

    def _leave(self, rest: Sequence[Step]) -> Iterator[Finding]:
        """Abandon the thread."""
        self.left = True
        late, *others = rest
        seconds = self._clock.monotonic() - self._began
        what = f"it did not end within {seconds:.1f} s"
        yield finding(late.name, seconds, Problem(what, late.if_it_hangs, 69))
        for each in others:
            yield finding(each.name, 0.0, NothingToTry(f"not tried: {late.name} did not end"))

    def _run(self) -> None:
        for step in self._steps:
            if self.left:
                return
            try:
                found = self._finding(step)
            except BaseException as error:  # noqa: BLE001 - raised where the findings are read
                self._found.put(error)
                return
            self._began = self._clock.monotonic()  # of the next one, before the reader asks for it
            self._found.put(found)

    def _finding(self, step: Step) -> Finding:
        missing = [name for name in step.needs if name not in self._passed]
        if missing:
            return finding(step.name, 0.0, NothingToTry(f"not tried: needs {', '.join(missing)}"))
        found: str | Problem | NothingToTry
        try:
            found = step.run()
        except (Problem, NothingToTry) as end:
            found = end
        except IngestorError as error:
            found = problem(error)
        made = finding(step.name, self._clock.monotonic() - self._began, found)
        if made.ok:
            self._passed.add(step.name)
        return made
