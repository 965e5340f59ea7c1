"""`ingestor check`: the whole path tried once, each step with its time and, where it fails, the fix.

Nothing is written. The hub is asked a real GetPairs over a link like the daemon's.
"""

import queue
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.hub.link import HubLink, LinkLimits
from ingestor.app.database import NOT_MADE_YET, database_beside, made, schema_at
from ingestor.app.wiring import kept_secret, link_timing
from ingestor.config import Loaded, WrongSettings, database_target, resolve_key
from ingestor.domain.commands import ArgumentForm, Command
from ingestor.domain.decode import decode
from ingestor.domain.errors import BadConfiguration, IngestorError, LinkDown
from ingestor.domain.events import HubError, PairList
from ingestor.domain.records import Record, SessionClosed, SessionOpened

_HUB_SECONDS = 15.0
_clock = SystemClock()


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


class _Problem(Exception):
    """`exit_code` 0: it will pass by itself."""

    def __init__(self, what: str, fix: str, exit_code: int) -> None:
        super().__init__(what)
        self.what, self.fix, self.exit_code = what, fix, exit_code


def check(load: Callable[[], Loaded], *, config_only: bool = False) -> Iterator[Finding]:
    """The findings, in the order of the path, as they come. A failed step does not hide the next one, but for
    settings that cannot be used: each of those is a finding, and there is nothing to go on with."""
    began = _clock.monotonic()
    try:
        loaded = load()
    except BadConfiguration as error:
        seconds = _clock.monotonic() - began
        for problem in _wrong_settings(error):
            yield _failed("configuration", problem, seconds)
        return
    steps: list[tuple[str, Callable[[Loaded], str]]] = [
        ("configuration", _configuration),
        ("key", _key),
    ]
    if not config_only:
        steps += [("hub", _hub), ("database", _database), ("schema", _schema)]
    for name, step in steps:
        yield _tried(name, step, loaded)


def _tried(name: str, step: Callable[[Loaded], str], loaded: Loaded) -> Finding:
    began = _clock.monotonic()
    try:
        what = step(loaded)
    except _Problem as problem:
        return _failed(name, problem, _clock.monotonic() - began)
    except IngestorError as error:
        return _failed(name, _problem(error), _clock.monotonic() - began)
    return Finding(name, True, what, None, 0, _clock.monotonic() - began)


def _failed(name: str, problem: _Problem, seconds: float) -> Finding:
    return Finding(name, problem.exit_code == 0, problem.what, problem.fix, problem.exit_code, seconds)


def _wrong_settings(error: BadConfiguration) -> list[_Problem]:
    if not isinstance(error, WrongSettings):
        return [_problem(error)]
    return [
        _Problem(f"{each.key}: {each.what} (set by {each.origin})", each.fix, 78) for each in error.problems
    ]


_FIXES = {
    69: "see that the server runs, and that database.url names it",
    77: "check the role that database.url names, and its password",
    78: "check database.url, and that what it names exists",
}
"""By exit code, for the database's errors: those carry the server's own words only."""


def _problem(error: IngestorError) -> _Problem:
    """An error's own lines: what, why and fix."""
    what, *rest = str(error).splitlines()
    lines = dict(line.strip().split(": ", 1) for line in rest if ": " in line)
    code = getattr(error, "exit_code", 69)
    why = f" ({lines['why']})" if "why" in lines else ""
    return _Problem(what + why, lines.get("fix") or _FIXES.get(code, "run it again with --debug"), code)


def _configuration(loaded: Loaded) -> str:
    target = database_target(loaded.settings)
    origin = loaded.file or "no file"
    settings = loaded.settings
    return f"account {settings.account}, hub {settings.hub.address}, {target.describe()} ({origin})"


def _key(loaded: Loaded) -> str:
    source = resolve_key(loaded.settings)
    kept_secret(source.read())
    return f"read from {source.describe()}"


def _hub(loaded: Loaded) -> str:
    settings = loaded.settings
    listener = _Once()
    key = resolve_key(settings)
    link = HubLink(
        url=settings.hub.address,
        key=lambda: kept_secret(key.read()),
        listener=listener,
        clock=_clock,
        timing=link_timing(settings),
        limits=LinkLimits(settings.hub.max_message_bytes, settings.hub.max_record_bytes),
        chance=random.SystemRandom(),
        negotiation=settings.hub.negotiate.value,
        ca_file=settings.hub.ca_file,
    )
    link.start()
    try:
        return _ask_for_pairs(link, listener)
    finally:
        link.stop(2.0)


def _ask_for_pairs(link: HubLink, listener: "_Once") -> str:
    deadline = _clock.monotonic() + _HUB_SECONDS
    session = listener.up(deadline, lambda: link.state.obstacle)
    if session is None:
        obstacle = link.state.obstacle or "no answer"
        raise _Problem(f"no link: {obstacle}", _fix_for(obstacle), 77 if obstacle in _KEY_CAUSES else 69)
    answer: int | str = "not asked"
    for form in ArgumentForm:
        command_id = str(uuid4())
        try:
            link.ask(session, Command.GET_PAIRS, command_id, form)
        except LinkDown as error:
            raise _Problem(f"the link broke: {error}", "try again", 69) from error
        answer = listener.answer(command_id, deadline)
        if isinstance(answer, int):
            return f"GetPairs answered with {answer} pairs (arguments {form.value})"
    raise _Problem(f"GetPairs was not answered: {answer}", "check what the key is allowed to do", 76)


_KEY_CAUSES = {"http_401", "http_403"}


def _fix_for(obstacle: str) -> str:
    fixes = {
        "http_401": "the hub refuses the key: check that it belongs to hub.environment and has not expired",
        "http_403": "the key may not open this hub: check its permissions and your KYC state",
        "http_404": "there is no hub at this address: check hub.url or hub.environment",
        "dns": "the name of the host is unknown: check hub.url and this machine's DNS",
        "tls": "the certificate is not trusted: check the clock, hub.url and hub.ca_file",
        "no_key": "see the line `key`",
    }
    return fixes.get(obstacle, "check the network path; the hub has maintenance on Wednesday mornings, UTC")


def _database(loaded: Loaded) -> str:
    target = database_target(loaded.settings)
    if not made(target):
        raise _Problem(f"{target.describe()}: not made yet", NOT_MADE_YET, 0)
    with database_beside(loaded.settings) as url:
        schema_at(url)
    return f"reached, {target.describe()}"


def _schema(loaded: Loaded) -> str:
    if not made(database_target(loaded.settings)):
        raise _Problem("not made yet, like its database", NOT_MADE_YET, 0)
    with database_beside(loaded.settings) as url:
        state = schema_at(url)
    if state.fits:
        return f"at {state.found}, as this software needs it"
    if state.newer:
        raise _Problem(f"at {state.found}, newer than this software", "install the newer software", 78)
    raise _Problem(f"at {state.found or 'none'}, needs {state.wanted}", "run `ingestor db upgrade`", 78)


class _Once:
    """`ports.LinkListener` for one question."""

    def __init__(self) -> None:
        self._ups: queue.SimpleQueue[UUID] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[Record | tuple[str, str | None]] = queue.SimpleQueue()

    def link_up(self, opened: SessionOpened) -> None:
        self._ups.put(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        for record in records:
            self._heard.put(record)

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        del session  # there is only one
        self._heard.put((invocation_id, error))

    def link_down(self, closed: SessionClosed) -> None:
        self._heard.put(("", f"the link was lost: {closed.cause}"))

    def up(self, deadline: float, obstacle: Callable[[], str | None]) -> UUID | None:
        """The session; None at the deadline, or as soon as an attempt has failed for a lasting reason."""
        while _clock.monotonic() < deadline:
            try:
                return self._ups.get(timeout=0.1)
            except queue.Empty:
                if obstacle() is not None:
                    return None
        return None

    def answer(self, command_id: str, deadline: float) -> int | str:
        """How many pairs, or why not."""
        while (left := deadline - _clock.monotonic()) > 0:
            try:
                heard = self._heard.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(heard, tuple):
                if heard[1] is not None and heard[0] in {command_id, ""}:
                    return heard[1]
                continue
            for event in decode(heard.raw):
                if event.client_id == command_id:
                    return _said(event.body)
        return f"nothing within {_HUB_SECONDS:.0f} s"


def _said(body: object) -> int | str:
    match body:
        case PairList():
            return len(body.pairs)
        case HubError():
            return body.message
        case _:
            return "something that is not a pair list"
