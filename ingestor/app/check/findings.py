"""What `ingestor check` says of each step, and how a step says that it failed or does not apply."""

from dataclasses import dataclass
from enum import StrEnum

from ingestor.domain.errors import IngestorError, parts_of


class Verdict(StrEnum):
    """How a step ended."""

    OK = "ok"
    NOTE = "note"
    """It works, and something should be seen to."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """There was nothing to try, or what it needs has failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    verdict: Verdict
    ok: bool
    """False where the step failed."""
    what: str
    fix: str | None
    """What to do; None if there is nothing to."""
    exit_code: int
    """What a check that stops here should exit with; 0 unless it failed."""
    seconds: float


class Problem(Exception):
    """A step failed.

    Args:
        what: one line.
        fix: what to do.
        exit_code: what `check` should exit with; 0 if it is only to be seen to.
    """

    def __init__(self, what: str, fix: str, exit_code: int) -> None:
        super().__init__(what)
        self.what, self.fix, self.exit_code = what, fix, exit_code


class NothingToTry(Exception):
    """A step does not apply here, for the reason in its text. The steps that need it go on without."""


_FIXES = {
    69: "see that the server runs, and that database.url names it",
    77: "check the role that database.url names, and its password",
    78: "check database.url, and that what it names exists",
}
"""By exit code, for the database's errors: those carry the server's own words only."""


def problem(error: IngestorError) -> Problem:
    """An error's own lines: what, why and fix."""
    what, why, fix = parts_of(error)
    code = getattr(error, "exit_code", 69)
    said = f"{what} ({why})" if why else what
    return Problem(said, fix or _FIXES.get(code, "run it again with --debug"), code)


def finding(name: str, seconds: float, found: str | Problem | NothingToTry) -> Finding:
    """The line of a step that ended like this."""
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
