"""Apply: from items to the next state and the rows of a transaction. Pure: no clock, no I/O.

The same items on the same state give the same rows, which makes a rejected batch repeatable and the tables
replayable (I7).
"""

from ingestor.pipeline.apply.fold import apply, fold
from ingestor.pipeline.apply.rules import Rules

__all__ = ["Rules", "apply", "fold"]
