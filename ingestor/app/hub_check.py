"""The hub's part of `ingestor check`: a link like the daemon's, and one request of each command over it."""

import queue
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID, uuid4

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.hub.causes import LinkFailure, advice
from ingestor.adapters.hub.link import HubLink
from ingestor.app.findings import Problem
from ingestor.app.hub import hub_link
from ingestor.config import Settings, resolve_key
from ingestor.domain.binding import is_binding_error
from ingestor.domain.decode import decode
from ingestor.domain.errors import LinkDown
from ingestor.domain.events import BalanceSnapshot, HubError, PairList
from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.domain.requests import ArgumentForm, Command
from ingestor.logs import redact

_SECONDS = 15.0
"""For the link, and again for each answer."""


def try_hub(settings: Settings) -> str:
    """Connect and request everything once; gives what was answered. Raises Problem."""
    listener = _Listener(settings.hub.max_record_bytes)
    link = hub_link(settings, resolve_key(settings).read, listener, DatabaseClock())
    link.start()
    try:
        session = listener.session(lambda: link.state.failure)
        return ", ".join(_request(link, listener, session, command) for command in Command)
    finally:
        link.stop(2.0)


def _request(link: HubLink, listener: "_Listener", session: UUID, command: Command) -> str:
    reasons: list[str] = []
    for form in ArgumentForm:
        request_id = str(uuid4())
        try:
            link.request(session, command, request_id, form)
        except LinkDown as error:
            raise Problem(f"the link broke: {redact(str(error))}", "try again", 69) from error
        match listener.answer(request_id):
            case BalanceSnapshot(assets=assets):
                return f"{command.value} answered with {len(assets)} assets (arguments {form.value})"
            case PairList(pairs=pairs):
                return f"{command.value} answered with {len(pairs)} pairs (arguments {form.value})"
            case HubError(message=message):
                reasons.append(message)
            case str(reason):
                reasons.append(reason)
            case _:
                reasons.append("the answer is not what the command gives")
        if not is_binding_error(reasons[-1]):
            break  # the hub understood the arguments
    own = next((reason for reason in reasons if not is_binding_error(reason)), reasons[0])
    raise Problem(
        f"{command.value} was not answered: {redact(own)}", "check what the key is allowed to do", 76
    )


class _Listener:
    """`ports.LinkListener` for one question at a time."""

    def __init__(self, record_limit: int) -> None:
        self._record_limit = record_limit
        self._heard: queue.SimpleQueue[UUID | Record | tuple[str, str | None]] = queue.SimpleQueue()

    def link_up(self, opened: SessionOpened) -> None:
        self._heard.put(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        for record in records:
            self._heard.put(record)

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        del session  # there is only one
        self._heard.put((invocation_id, error))

    def silent(self, session: UUID) -> None:
        """Something has been requested already."""

    def link_down(self, closed: SessionClosed) -> None:
        self._heard.put(("", f"the link was lost: {closed.cause}"))

    def session(self, failure: Callable[[], LinkFailure | None]) -> UUID:
        """The session. Raises Problem at the deadline, or as soon as an attempt has failed."""
        for heard in self._hear():
            if isinstance(heard, UUID):
                return heard
            if (failed := failure()) is not None:
                code = 77 if failed.refuses_key else 69
                raise Problem(f"no link: {redact(str(failed))}", advice(failed), code)
        raise Problem("no link: no answer", "check the network path", 69)

    def answer(self, request_id: str) -> object:
        """The body of the event that answers, or a text that says why there is none."""
        for heard in self._hear():
            match heard:
                case Record(raw=raw, sha256=bytes()) if request_id.encode() in raw:
                    return f"the answer has {heard.size} bytes, hub.max_record_bytes is {self._record_limit}"
                case Record(raw=raw):
                    for event in decode(raw):
                        if event.client_id == request_id:
                            return event.body
                case (about, str(error)) if about in {request_id, ""}:
                    return error
                case _:
                    pass
        return f"nothing within {_SECONDS:.0f} s"

    def _hear(self) -> Iterator[UUID | Record | tuple[str, str | None] | None]:
        """What comes in until the deadline; None ten times a second while nothing does."""
        clock = DatabaseClock()
        deadline = clock.monotonic() + _SECONDS
        while clock.monotonic() < deadline:
            try:
                yield self._heard.get(timeout=0.1)
            except queue.Empty:
                yield None
