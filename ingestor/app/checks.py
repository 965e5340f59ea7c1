"""`ingestor check`: the whole path tried once, each step with its time and, where it fails, the fix.

Nothing is written. The hub gets real requests over a link like the daemon's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.timekeeping import OFFSET_SECONDS, Timekeeping
from ingestor.app.database import NOT_MADE_YET, database_beside, looking_at, made, schema_at
from ingestor.app.findings import Problem
from ingestor.app.hub_check import try_hub
from ingestor.app.status import offset
from ingestor.config import Loaded, WrongSettings, database_target, resolve_key
from ingestor.domain.errors import BadConfiguration, IngestorError
from ingestor.logs import register_secret

_clock = DatabaseClock()


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    what: str
    fix: str | None
    """What to do; None if there is nothing to."""
    exit_code: int
    """What a check that stops here should exit with; 0 if all is well."""
    seconds: float


def check(load: Callable[[], Loaded], *, config_only: bool = False) -> Iterator[Finding]:
    """The findings, in the order of the path, as they come. A failed step does not hide the next one, but for
    settings that cannot be used: each of those is a finding, and there is nothing to go on with."""
    began = _clock.monotonic()
    try:
        loaded = load()
    except BadConfiguration as error:
        yield from [_finding("configuration", began, problem) for problem in _wrong_settings(error)]
        return
    steps = {"configuration": _configuration, "key": _key}
    if not config_only:
        steps |= {"hub": lambda loaded: try_hub(loaded.settings), "database": _database, "schema": _schema}
    for name, step in steps.items():
        began = _clock.monotonic()
        try:
            found: str | Problem = step(loaded)
        except Problem as problem:
            found = problem
        except IngestorError as error:
            found = _problem(error)
        yield _finding(name, began, found)


def _finding(name: str, began: float, found: str | Problem) -> Finding:
    seconds = _clock.monotonic() - began
    if isinstance(found, str):
        return Finding(name, True, found, None, 0, seconds)
    return Finding(name, found.exit_code == 0, found.what, found.fix, found.exit_code, seconds)


def _wrong_settings(error: BadConfiguration) -> list[Problem]:
    if not isinstance(error, WrongSettings):
        return [_problem(error)]
    return [
        Problem(f"{each.key}: {each.what} (set by {each.origin})", each.fix, 78) for each in error.problems
    ]


_FIXES = {
    69: "see that the server runs, and that database.url names it",
    77: "check the role that database.url names, and its password",
    78: "check database.url, and that what it names exists",
}
"""By exit code, for the database's errors: those carry the server's own words only."""


def _problem(error: IngestorError) -> Problem:
    """An error's own lines: what, why and fix."""
    what, *rest = str(error).splitlines()
    lines = dict(line.strip().split(": ", 1) for line in rest if ": " in line)
    code = getattr(error, "exit_code", 69)
    why = f" ({lines['why']})" if "why" in lines else ""
    return Problem(what + why, lines.get("fix") or _FIXES.get(code, "run it again with --debug"), code)


def _configuration(loaded: Loaded) -> str:
    target = database_target(loaded.settings)
    origin = loaded.file or "no file"
    settings = loaded.settings
    return f"account {settings.account}, hub {settings.hub.address}, {target.describe()} ({origin})"


def _key(loaded: Loaded) -> str:
    source = resolve_key(loaded.settings)
    register_secret(source.read())
    return f"read from {source.describe()}"


def _database(loaded: Loaded) -> str:
    target = database_target(loaded.settings)
    if not made(target):
        raise Problem(f"{target.describe()}: not made yet", NOT_MADE_YET, 0)
    with database_beside(loaded.settings) as url, looking_at(url) as connection:
        clock = DatabaseClock()
        Timekeeping(loaded.settings.account, clock).read(connection)
    seconds = clock.offset_seconds or 0.0
    reached = f"reached, {target.describe()}; this host's clock is {offset(seconds)} the database's"
    if abs(seconds) >= OFFSET_SECONDS:
        raise Problem(reached, "see to the time service of both hosts; what is stored has database time", 0)
    return reached


def _schema(loaded: Loaded) -> str:
    if not made(database_target(loaded.settings)):
        raise Problem("not made yet, like its database", NOT_MADE_YET, 0)
    with database_beside(loaded.settings) as url:
        state = schema_at(url)
    if state.fits:
        return f"at {state.found}, as this software needs it"
    if state.newer:
        raise Problem(f"at {state.found}, newer than this software", "install the newer software", 78)
    raise Problem(f"at {state.found or 'none'}, needs {state.wanted}", "run `ingestor db upgrade`", 78)
