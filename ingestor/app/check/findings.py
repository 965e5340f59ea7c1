"""The findings of `ingestor check`, and the exceptions of steps that fail or do not apply."""

from dataclasses import dataclass
from enum import StrEnum

from ingestor.domain.errors import IngestorError, parts_of


class Verdict(StrEnum):
    """How a step ended."""

    OK = "ok"
    NOTE = "note"
    """It works, but something needs attention."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """There was nothing to try, or a step that it needs has failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    verdict: Verdict
    ok: bool
    """False if the step failed."""
    what: str
    fix: str | None
    """What to do; None if nothing."""
    exit_code: int
    """Exit code for this finding; 0 unless it failed."""
    seconds: float


class Problem(Exception):
    """A step failed.

    Args:
        what: one line.
        fix: what to do.
        exit_code: exit code of `check` for it; 0 if it is only a note.
    """

    def __init__(self, what: str, fix: str, exit_code: int) -> None:
        super().__init__(what)
        self.what, self.fix, self.exit_code = what, fix, exit_code


class NothingToTry(Exception):
    """A step does not apply here, for the reason in its text. Steps that need it are tried nevertheless."""


_FIXES = {
    69: "make sure that the server runs, and that database.url names it",
    77: "check the role that database.url names, and its password",
    78: "check database.url, and that the server, database and role in it exist",
}
"""By exit code, for errors of the database that contain only the server's text."""


def problem(error: IngestorError) -> Problem:
    """The problem with the lines of an error: what, why and fix."""
    what, why, fix = parts_of(error)
    code = getattr(error, "exit_code", 69)
    said = f"{what} ({why})" if why else what
    return Problem(said, fix or _FIXES.get(code, "run it again with --debug"), code)


def finding(name: str, seconds: float, found: str | Problem | NothingToTry) -> Finding:
    """The finding of a step that ended in this way."""
    seconds = round(seconds, 4)
    match found:
        case str():
            return Finding(name, Verdict.OK, True, found, None, 0, seconds)
        case Problem(exit_code=0):
            return Finding(name, Verdict.NOTE, True, found.what, found.fix, 0, seconds)
        case Problem():
            return Finding(name, Verdict.FAILED, False, found.what, found.fix, found.exit_code, seconds)
        case NothingToTry():
            return Finding(name, Verdict.SKIPPED, True, str(found), None, 0, seconds)
