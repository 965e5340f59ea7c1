"""The link supervisor: one fresh connection per attempt, watched, torn down, and tried again for ever.

One thread runs the table in `states`. It never waits without a deadline, nor without hearing `stop`. What can
hang beyond that (a name lookup, TCP, TLS) happens in a connector thread, left behind if it must be, and
counted. What an attempt says reaches the supervisor through that attempt's own queue, so late words of an old
one are heard by nobody.
"""

import queue
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from ingestor.adapters.hub.attempt import Attempt, LinkLimits, LinkTiming, Way
from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.states import LinkEvent, LinkState, after
from ingestor.domain.backoff import full_jitter
from ingestor.domain.commands import ArgumentForm, Command
from ingestor.domain.errors import BadConfiguration, LinkDown
from ingestor.domain.records import SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.scrub import scrub
from ingestor.pipeline.ports import Clock, LinkListener

__all__ = ["HubLink", "LinkLimits", "LinkStatus", "LinkTiming"]

log = structlog.get_logger()

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_JOIN_SECONDS = 1.0
_TICK_SECONDS = 0.25
_REASON_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A look at the link, consistent in itself."""

    name: str
    generation: int
    session: UUID | None
    obstacle: str | None
    """Why the last attempt failed, while there is no link."""
    last_heard_at: datetime | None
    attempts: int
    """Since the last session."""
    abandoned_threads: int


class HubLink:
    """`ports.Hub`, and the thread behind it. `start` and `stop` once."""

    def __init__(  # noqa: PLR0913 - a way to the hub, and who is to hear of it
        self,
        url: str,
        key: Callable[[], str],
        listener: LinkListener,
        clock: Clock,
        timing: LinkTiming,
        limits: LinkLimits,
        chance: Random,
        *,
        negotiation: str = "auto",
        ca_file: Path | None = None,
    ) -> None:
        _require_safe(url)
        self._way = Way(url, key, negotiation, _tls(ca_file), timing, limits)
        self._timing = timing
        self._listener = listener
        self._clock = clock
        self._chance = chance
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state = LinkState.IDLE
        self._attempt: Attempt | None = None
        self._generation = 0
        self._attempts = 0
        self._failures = 0
        self._obstacles: list[str] = []
        self._last_heard_at: datetime | None = None
        self._abandoned: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="link supervisor", daemon=True)

    # --- for everybody ---

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the session and the thread. False if it took longer than `timeout` seconds."""
        self._stop.set()
        with self._lock:
            attempt = self._attempt
        if attempt is not None:
            attempt.events.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout / 2)
            if self._thread.is_alive() and attempt is not None:
                attempt.cut()  # it may be in the middle of a ping that the hub does not take
            self._thread.join(timeout / 2)
        return not self._thread.is_alive()

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if it was not asked to."""
        return self._failure

    @property
    def state(self) -> LinkStatus:
        """How things stand."""
        with self._lock:
            attempt = self._attempt
            up = self._state is LinkState.UP and attempt is not None
            return LinkStatus(
                name=self._state.value,
                generation=self._generation,
                session=attempt.session if up and attempt is not None else None,
                obstacle=self._obstacles[-1] if self._obstacles and not up else None,
                last_heard_at=self._last_heard_at
                if attempt is None
                else attempt.heard_at or self._last_heard_at,
                attempts=self._attempts,
                abandoned_threads=sum(thread.is_alive() for thread in self._abandoned),
            )

    def ask(self, session: UUID, command: Command, command_id: str, form: ArgumentForm) -> None:
        """Send one command in this session. Raises LinkDown."""
        with self._lock:
            attempt, state = self._attempt, self._state
        if attempt is None or state is not LinkState.UP or attempt.session != session:
            raise LinkDown("that session is over")
        arguments: list[object] = [command_id] if form is ArgumentForm.POSITIONAL else [[command_id]]
        try:
            attempt.connection().ask(command, command_id, arguments)
        except OSError as error:
            attempt.events.put(LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]))
            raise LinkDown(str(error)) from None

    # --- the supervisor ---

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._live()
            self._enter(LinkEvent.STOP)
        except BaseException as error:  # noqa: BLE001 - kept for the main thread, which ends the process with it
            self._failure = error

    def _live(self) -> None:
        """One generation: connect, watch, tear down, and wait before the next."""
        with self._lock:
            self._generation += 1
            self._attempts += 1
            attempt = self._attempt = Attempt(self._way, self._listener, self._clock)
            self._state = after(
                self._state, LinkEvent.START if self._state is LinkState.IDLE else LinkEvent.DUE
            )
        if self._stop.is_set():
            attempt.events.put(None)  # `stop` may have looked before this attempt was there
        try:
            attempt.start()
            self._follow(attempt)
            failure = LinkFailure(LinkCause.STOPPED)
            self._enter(LinkEvent.STOP)
        except LinkFailure as raised:
            failure = raised
            self._enter(LinkEvent.FAILED)
        except BaseException:
            attempt.end(_JOIN_SECONDS, lambda: False)
            raise
        self._tear_down(attempt, failure)
        self._enter(LinkEvent.TORN_DOWN)
        if not self._stop.is_set():
            self._stop.wait(self._pause(attempt, failure))

    def _follow(self, attempt: Attempt) -> None:
        """Returns when asked to stop; raises LinkFailure when the attempt is over."""
        timing = self._timing
        for event, seconds, cause in (
            (LinkEvent.NEGOTIATED, timing.negotiate_seconds + 1.0, LinkCause.TIMEOUT_NEGOTIATE),
            (LinkEvent.UPGRADED, timing.start_seconds, LinkCause.TIMEOUT_UPGRADE),
            (LinkEvent.HANDSHAKEN, timing.handshake_seconds, LinkCause.TIMEOUT_HANDSHAKE),
        ):
            if not self._await(attempt, event, seconds, cause):
                return
            self._enter(event)
        self._announce(attempt)
        self._watch(attempt)

    def _await(self, attempt: Attempt, event: LinkEvent, seconds: float, late: LinkCause) -> bool:
        try:
            said = attempt.events.get(timeout=seconds)
        except queue.Empty:
            raise LinkFailure(late, f"not within {seconds:g} s") from None
        if said is None:
            return False
        if isinstance(said, BaseException):
            raise said
        if said is not event:
            raise LinkFailure(LinkCause.BAD_FRAME, f"{said} came before {event}")
        return True

    def _announce(self, attempt: Attempt) -> None:
        attempt.connection().handshaken()
        attempt.up_since = self._clock.monotonic()
        opened = SessionOpened(
            session=attempt.session,
            opened_at=self._clock.now(),
            url=_without_secrets(self._way.url),
            attempts=self._attempts,
            obstacles=tuple(self._obstacles),
        )
        with self._lock:
            self._obstacles.clear()
            self._attempts = 0
        log.info("link_up", session=str(attempt.session), attempts=opened.attempts)
        self._listener.link_up(opened)
        attempt.announced()

    def _watch(self, attempt: Attempt) -> None:
        timing, clock = self._timing, self._clock
        next_ping = clock.monotonic() + timing.ping_seconds
        while True:
            tick = min(_TICK_SECONDS, timing.receive_seconds / 4, timing.ping_seconds / 2)
            try:
                said = attempt.events.get(timeout=tick)
            except queue.Empty:
                said = LinkEvent.HANDSHAKEN
            if said is None:
                return
            if isinstance(said, BaseException):
                raise self._reason(attempt, said)
            now = clock.monotonic()
            if not attempt.delivering and now - attempt.heard > timing.receive_seconds:
                raise LinkFailure(LinkCause.SILENT, f"nothing heard for {now - attempt.heard:.0f} s")
            if now >= next_ping:
                next_ping = now + timing.ping_seconds
                try:
                    attempt.connection().ping()
                except OSError as error:
                    failure = LinkFailure(LinkCause.SEND_FAILED, str(error)[:200])
                    raise self._reason(attempt, failure) from None

    def _reason(self, attempt: Attempt, end: BaseException) -> BaseException:
        """Why the hub takes nothing any more: the receive thread may be about to say it."""
        if not (isinstance(end, LinkFailure) and end.cause == LinkCause.SEND_FAILED):
            return end
        try:
            said = attempt.events.get(timeout=_REASON_SECONDS)
        except queue.Empty:
            return end
        return said if isinstance(said, BaseException) else end

    def _tear_down(self, attempt: Attempt, failure: LinkFailure) -> None:
        clean = failure.cause == LinkCause.STOPPED
        if clean and attempt.up_since is not None:
            attempt.say_goodbye()
        abandoned = attempt.end(_JOIN_SECONDS, lambda: not self._stop.is_set())
        with self._lock:
            self._attempt = None
            self._last_heard_at = attempt.heard_at or self._last_heard_at
            self._abandoned = [thread for thread in (*self._abandoned, *abandoned) if thread.is_alive()]
            if not clean and attempt.up_since is None and failure.cause not in self._obstacles:
                self._obstacles.append(failure.cause)
        detail = scrub(attempt.without_key(failure.detail)) or None
        if attempt.up_since is None:
            if not clean:
                log.warning(
                    "link_attempt_failed", cause=failure.cause, detail=detail, attempts=self._attempts
                )
            return
        if clean:
            log.info("link_closed")
        else:
            log.warning("link_lost", cause=failure.cause, detail=detail)
        now = self._clock.now()
        self._listener.link_down(
            SessionClosed(
                session=attempt.session,
                closed_at=now,
                last_heard_at=attempt.heard_at or now,
                received=attempt.told,
                end=SessionEnd.CLEAN if clean else SessionEnd.LINK_LOST,
                cause=failure.cause,
                detail=detail,
            )
        )

    def _pause(self, attempt: Attempt, failure: LinkFailure) -> float:
        """Seconds before the next attempt."""
        timing = self._timing
        lived = 0.0 if attempt.up_since is None else self._clock.monotonic() - attempt.up_since
        self._failures = 1 if lived >= timing.healthy_seconds else self._failures + 1
        chance = self._chance.random()
        if failure.refuses_key:
            return timing.refused_seconds * (0.5 + chance / 2)
        pause = full_jitter(
            self._failures,
            chance,
            base_seconds=timing.backoff_base_seconds,
            cap_seconds=timing.backoff_cap_seconds,
        )
        return pause + (failure.retry_after_seconds or 0.0)

    def _enter(self, event: LinkEvent) -> None:
        with self._lock:
            self._state = after(self._state, event)


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in {"https", "wss"}:
        return
    if parts.scheme in {"http", "ws"} and (parts.hostname or "") in _LOOPBACK:
        return
    raise BadConfiguration(
        f"hub.url {_without_secrets(url)!r} is refused\n"
        "why: the key would travel unencrypted; plain http and ws are for loopback only\n"
        "fix: use https or wss"
    )


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
