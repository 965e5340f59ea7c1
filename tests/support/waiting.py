"""Waiting for a fact instead of for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(fact: Callable[[], T], *, within: float = 10.0, every: float = 0.005) -> T:
    """The first truthy value of `fact`.

    Raises:
        AssertionError: it did not come true within so many seconds; the text says what it was last.
    """
    deadline = time.monotonic() + within
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {within} s; last seen: {value!r}")
        time.sleep(every)
