"""`ingestor check`: tries the whole path once; each step has its duration and, if it fails, the fix.

Hub and database are tried at the same time, each step with a deadline. The hub gets real requests over a link
like the daemon's. Nothing of it remains in the database: see `stored`.
"""

from collections.abc import Callable, Iterator

from ingestor.adapters.clock import DatabaseClock
from ingestor.app.check.database import DatabaseCheck
from ingestor.app.check.findings import Finding, NothingToTry, Problem, finding, problem
from ingestor.app.check.hub import HubCheck
from ingestor.app.check.steps import Chain, Step
from ingestor.app.check.stored import StoredCheck
from ingestor.app.check.unit import unit
from ingestor.config import Loaded, WrongSettings, database_target
from ingestor.domain.errors import BadConfiguration

MOST_SECONDS = 15.0
"""Limit for the whole command, start of the program included."""
_PATH_SECONDS = 8.5
"""Limit for the paths to hub and database, which are tried at the same time."""
_UNIT_SECONDS = 2.0
_STORED_SECONDS = 2.0
"""For the daemon's commit, in addition to the time that the paths did not use."""
_SPARE_SECONDS = 0.5


def check(
    load: Callable[[], Loaded], *, config_only: bool = False, clock: DatabaseClock | None = None
) -> Iterator[Finding]:
    """The findings, in the order of the path, as they arise. Only steps that need a failed one are skipped.
    Each unusable setting is a finding, and then nothing else is tried.

    Args:
        load: gives the settings.
        config_only: try settings and key only.
        clock: of this host.
    """
    clock = clock or DatabaseClock()
    began = clock.monotonic()
    try:
        loaded = load()
    except BadConfiguration as error:
        for each in _wrong_settings(error):
            yield finding("configuration", clock.monotonic() - began, each)
        return
    passed, settings = set[str](), loaded.settings
    hub, database = HubCheck(settings, clock), DatabaseCheck(settings, clock)
    until = began + _PATH_SECONDS
    configuration = Step("configuration", lambda: _configuration(loaded), 1.0)
    first = [configuration, *hub.steps()[:1]] if config_only else [configuration]
    yield from Chain(first, passed, until, clock).findings()
    if config_only:
        return
    paths = [Chain(each.steps(), passed, until, clock) for each in (hub, database)]
    for path in paths:
        yield from path.findings()
    last = until + _UNIT_SECONDS + _STORED_SECONDS
    seconds = last - clock.monotonic() - _UNIT_SECONDS

    def stored() -> str:
        if database.database_session is None:
            raise NothingToTry("there is no database yet")
        return StoredCheck(settings, database.database_session, hub.items, clock).run(
            seconds - _SPARE_SECONDS
        )

    steps = [
        Step("unit", lambda: unit(settings.account, _UNIT_SECONDS - _SPARE_SECONDS), _UNIT_SECONDS),
        Step("stored", stored, seconds, ("pairs", "schema", "roles")),
    ]
    yield from (end := Chain(steps, passed, last, clock)).findings()
    ends = [Step("hub", hub.close, 2 * _SPARE_SECONDS)]
    if not any(chain.left for chain in (*paths, end)):  # otherwise an abandoned step may still use it
        ends.append(Step("database", database.close, MOST_SECONDS))
    # What has not ended then ends with the process.
    for _ in Chain(ends, passed, last + 2 * _SPARE_SECONDS, clock).findings():
        pass


def _wrong_settings(error: BadConfiguration) -> list[Problem]:
    if not isinstance(error, WrongSettings):
        return [problem(error)]
    return [
        Problem(f"{each.key}: {each.what} (set by {each.origin})", each.fix, 78) for each in error.problems
    ]


def _configuration(loaded: Loaded) -> str:
    target = database_target(loaded.settings)
    origin = loaded.file or "no file"
    settings = loaded.settings
    return f"account {settings.account}, hub {settings.hub.address}, {target.describe()} ({origin})"
