"""The catalogue of log events, as the table in `ingestor/DATA.md` has it."""

import re
from pathlib import Path
from typing import NamedTuple

import ingestor

DATA = (Path(ingestor.__file__).parent / "DATA.md").read_text()


class LogEvent(NamedTuple):
    """A row of the table."""

    name: str
    level: str
    facts: frozenset[str]
    meaning: str
    action: str


def _read(row: str) -> LogEvent:
    name, level, facts, meaning, action = row.strip("| ").split(" | ")
    return LogEvent(name.strip("`"), level, frozenset(re.findall(r"\w+", facts)), meaning, action)


TABLE = DATA.partition("| event | level | facts |")[2].partition("\n\n")[0]
LOG_EVENTS = {each.name: each for each in map(_read, TABLE.splitlines()[2:])}
