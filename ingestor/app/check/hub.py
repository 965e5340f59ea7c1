"""The hub's part of `ingestor check`: from the name of its host to an answer to each command.

The session is a second one, beside the daemon's, if that runs; it only requests balances and pairs.
"""

import queue
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.hub.address import require_safe
from ingestor.adapters.hub.causes import LinkFailure, advice, cause_of
from ingestor.adapters.hub.link import HubLink
from ingestor.adapters.hub.negotiate import negotiate, without
from ingestor.adapters.hub.options import tls_context
from ingestor.adapters.hub.tcp import SocketConnection
from ingestor.app.check.findings import NothingToTry, Problem
from ingestor.app.check.steps import Step
from ingestor.app.hub import hub_link
from ingestor.app.status import offset
from ingestor.config import Negotiate, Settings, resolve_key
from ingestor.domain.binding import is_binding_error
from ingestor.domain.decode import decode
from ingestor.domain.errors import LinkDown
from ingestor.domain.events import BalanceSnapshot, HubError, PairList
from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.domain.requests import ArgumentForm, Command, RequestCause, RequestSent
from ingestor.domain.scrub import scrub
from ingestor.logs import redact, register_secret

_NETWORK_SECONDS = 2.5
"""Limit of one exchange: TCP and TLS, negotiate, or the upgrade."""
_SESSION_SECONDS = 4.0
_ANSWER_SECONDS = 3.0
"""Limit of one command, tried with both forms of arguments if needed."""
_SPARE_SECONDS = 1.0
"""A step ends by itself, with the cause; if it does not, it is abandoned this much later."""
_CLOCK_SECONDS = 2.0
"""Offset from which on a note is given. The hub's date has whole seconds only."""
_CERTIFICATE_DAYS = 14
_LONGEST_TEXT = 10_000

HubItem = SessionOpened | RequestSent | Record
"""The items of a session, in order."""


class HubCheck:
    """The steps, each of which continues from the one before. Call `close` in any case."""

    def __init__(self, settings: Settings, clock: DatabaseClock) -> None:
        hub = settings.hub
        self._settings = replace(
            settings,
            hub=replace(
                hub,
                negotiate_deadline_seconds=min(hub.negotiate_deadline_seconds, _NETWORK_SECONDS),
                start_deadline_seconds=min(hub.start_deadline_seconds, _NETWORK_SECONDS),
                handshake_deadline_seconds=min(hub.handshake_deadline_seconds, _NETWORK_SECONDS),
            ),
        )
        self._clock = clock
        self._parts = urlsplit(hub.address)
        self._listener = _Listener(hub.max_record_bytes)
        self._link: HubLink | None = None
        self._session: UUID | None = None
        self._offset: tuple[float, float] | None = None

    def steps(self) -> list[Step]:
        """In the order of the path."""
        spare = _SPARE_SECONDS
        return [
            Step("key", self.key, 1.0, if_it_hangs="check the file system of the key's file"),
            Step("dns", self.dns, 3.0, if_it_hangs="no name server answers: see /etc/resolv.conf"),
            Step("connection", self.connection, _NETWORK_SECONDS + spare, ("dns",)),
            Step("negotiate", self.negotiate, _NETWORK_SECONDS + spare, ("key", "connection")),
            Step("hub-clock", self.hub_clock, spare, ("negotiate",)),
            Step("handshake", self.handshake, _SESSION_SECONDS + spare, ("negotiate",)),
            Step("balances", partial(self.request, Command.GET_BALANCES), 4.0, ("handshake",)),
            Step("pairs", partial(self.request, Command.GET_PAIRS), 4.0, ("handshake",)),
        ]

    @property
    def items(self) -> Sequence[HubItem]:
        """The items of the session so far."""
        return self._listener.items

    def close(self) -> str:
        """End the session."""
        if self._link is not None:
            self._link.stop(_SPARE_SECONDS)
        return "closed"

    # --- the steps ---

    def key(self) -> str:
        source = resolve_key(self._settings)
        register_secret(source.read())
        return f"read from {source.where}"

    def dns(self) -> str:
        require_safe(self._settings.hub.address)
        host = self._parts.hostname or ""
        try:
            found = socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _problem(LinkFailure(cause_of(error), f"{host}: {error.strerror or error}")) from error
        addresses = dict.fromkeys(str(address[0]) for *_, address in found)
        return f"{host} is {', '.join(addresses)}"

    def connection(self) -> str:
        connection = SocketConnection(self._settings.hub.address, self._tls())
        try:
            with closing(connection):
                opened = connection.open(_NETWORK_SECONDS)
                reached = f"{opened.getpeername()[0]} port {self._port}"
                if not isinstance(opened, ssl.SSLSocket):
                    return f"{reached} reached, without TLS on loopback"
                version, certificate = opened.version(), opened.getpeercert() or {}
        except OSError as error:
            raise _problem(LinkFailure(cause_of(error), f"port {self._port}: {error}")) from error
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        said = f"{reached} reached, {version}, certificate valid until {ends:%Y-%m-%d}"
        if (ends - self._clock.wall()).days < _CERTIFICATE_DAYS:
            raise Problem(said, "the hub's certificate ends soon: ask Hercle if it is not renewed", 0)
        return said

    def negotiate(self) -> str:
        hub = self._settings.hub
        if hub.negotiate is Negotiate.NEVER:
            raise NothingToTry("hub.negotiate is never")
        key, tls = register_secret(resolve_key(self._settings).read()), self._tls()
        sent = self._clock.wall()
        try:
            target = negotiate(
                hub.address, key, hub.negotiate_deadline_seconds, lambda url: SocketConnection(url, tls)
            )
        except LinkFailure as failure:
            if failure.cause == "http_404" and hub.negotiate is Negotiate.AUTO:
                return "the hub has no negotiate page; the link connects without one"
            raise _problem(failure.cleaned(lambda text: scrub(without(key, text[:_LONGEST_TEXT])))) from None
        self._offset = _offset_between(sent, self._clock.wall(), target.date)
        moved = "" if target.hub_url == hub.address else f" at {urlsplit(target.hub_url).hostname}"
        return f"the hub offers WebSockets{moved}"

    def hub_clock(self) -> str:
        if self._offset is None:
            raise NothingToTry("the hub's answer has no date")
        least, most = self._offset
        said = f"this host's clock is {offset((least + most) / 2)} the hub's, ± {(most - least) / 2:.1f} s"
        if least > _CLOCK_SECONDS or most < -_CLOCK_SECONDS:
            raise Problem(said, "check the time service of this host", 0)
        return said

    def handshake(self) -> str:
        key = resolve_key(self._settings).read
        self._link = link = hub_link(self._settings, key, self._listener, self._clock)
        link.start()
        self._session = self._listener.session(lambda: link.state.failure)
        return "accepted: a session is open"

    def request(self, command: Command) -> str:
        """Raises Problem."""
        link, session = self._link, self._session
        assert link is not None  # noqa: S101 - after `handshake`
        assert session is not None  # noqa: S101 - the same
        reasons: list[str] = []
        deadline = self._clock.monotonic() + _ANSWER_SECONDS
        for attempt, form in enumerate(ArgumentForm, 1):
            request_id, now = str(uuid4()), self._clock.now()
            sent = RequestSent(request_id, command, RequestCause.OPERATOR, session, now, attempt, form)
            self._listener.items.append(sent)
            try:
                link.request(session, command, request_id, form)
            except LinkDown as error:
                raise Problem(f"the link was lost: {redact(str(error))}", "try again", 69) from error
            match self._listener.answer(request_id, deadline):
                case BalanceSnapshot(assets=assets):
                    return f"{command.value} answered with {len(assets)} assets (arguments {form.value})"
                case PairList(pairs=pairs):
                    return f"{command.value} answered with {len(pairs)} pairs (arguments {form.value})"
                case HubError(message=message):
                    reasons.append(message)
                case str(reason):
                    reasons.append(reason)
                case _:
                    reasons.append("the answer is not one to this command")
            if not is_binding_error(reasons[-1]):
                break  # the hub understood the arguments
        own = next((reason for reason in reasons if not is_binding_error(reason)), reasons[0])
        raise Problem(
            f"{command.value} was not answered: {redact(own)}", "check what the key is allowed to do", 76
        )

    @property
    def _port(self) -> int:
        return self._parts.port or (443 if self._parts.scheme in {"https", "wss"} else 80)

    def _tls(self) -> ssl.SSLContext:
        file = self._settings.hub.ca_file
        try:
            return tls_context(file)
        except OSError as error:
            fix = "set hub.ca_file to a PEM file of certificate authorities that the daemon's user can read"
            raise Problem(f"hub.ca_file {file} cannot be used: {error}", fix, 78) from error


def _problem(failure: LinkFailure) -> Problem:
    return Problem(f"no link: {redact(str(failure))}", advice(failure), 77 if failure.refuses_key else 69)


def _offset_between(sent: datetime, received: datetime, date: str | None) -> tuple[float, float] | None:
    """Minimum and maximum by which this host's clock is ahead of the hub's, in seconds; None without a date.
    The hub wrote the HTTP date between the two moments, rounded down to a whole second."""
    try:
        hub = parsedate_to_datetime(date or "").replace(tzinfo=UTC)  # an HTTP date is GMT
    except ValueError:
        return None
    return (sent - hub).total_seconds() - 1.0, (received - hub).total_seconds()


class _Listener:
    """`ports.LinkListener` for one request at a time."""

    def __init__(self, record_limit: int) -> None:
        self._record_limit = record_limit
        self.items: list[HubItem] = []
        """The items of the session; a request is added before it is sent."""
        self._arrived: queue.SimpleQueue[UUID | Record | tuple[str, str | None]] = queue.SimpleQueue()

    def link_up(self, opened: SessionOpened) -> None:
        self.items.append(opened)
        self._arrived.put(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        for record in records:
            self.items.append(record)
            self._arrived.put(record)

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        del session  # there is only one
        self._arrived.put((invocation_id, error))

    def silent(self, session: UUID) -> None:
        """Ignored, because a request is always open."""

    def link_down(self, closed: SessionClosed) -> None:
        self._arrived.put(("", f"the link was lost: {closed.cause}"))

    def session(self, failure: Callable[[], LinkFailure | None]) -> UUID:
        """The session. Raises Problem at the deadline, or as soon as an attempt has failed."""
        for arrived in self._arrivals(DatabaseClock().monotonic() + _SESSION_SECONDS):
            if isinstance(arrived, UUID):
                return arrived
            if (failed := failure()) is not None:
                raise _problem(failed)
        raise Problem("no link: no answer", "check the network path", 69)

    def answer(self, request_id: str, deadline: float) -> object:
        """The body of the event that answers, or a text with the reason why there is none."""
        for arrived in self._arrivals(deadline):
            match arrived:
                case Record(raw=raw, sha256=bytes()) if request_id.encode() in raw:
                    return (
                        f"the answer has {arrived.size} bytes, hub.max_record_bytes is {self._record_limit}"
                    )
                case Record(raw=raw):
                    for event in decode(raw):
                        if event.client_id == request_id:
                            return event.body
                case (about, str(error)) if about in {request_id, ""}:
                    return error
                case _:
                    pass
        return f"nothing within {_ANSWER_SECONDS:.0f} s"

    def _arrivals(self, deadline: float) -> Iterator[UUID | Record | tuple[str, str | None] | None]:
        """Yields what arrives until the deadline; None ten times a second while nothing does."""
        clock = DatabaseClock()
        while clock.monotonic() < deadline:
            try:
                yield self._arrived.get(timeout=0.1)
            except queue.Empty:
                yield None
