"""The link supervisor: opens a new connection for each attempt, watches and closes it, until it is stopped.

One thread runs the table in `states`. Each of its waits has a deadline, and ends at `stop`. Calls that can
hang (a name lookup, TCP, TLS) are made in a connector thread; one that does not end in time is abandoned and
counted. Each attempt reports to the supervisor through its own queue, so late reports of an old one have no
effect.
"""

import threading
from datetime import datetime
from random import Random
from typing import NoReturn
from uuid import UUID

import structlog

from ingestor.adapters.hub.address import require_safe, shown
from ingestor.adapters.hub.attempt import Attempt
from ingestor.adapters.hub.causes import ASKED, LinkCause, LinkFailure
from ingestor.adapters.hub.losses import HINTS, Losses
from ingestor.adapters.hub.options import LinkOptions
from ingestor.adapters.hub.retry import Retry
from ingestor.adapters.hub.states import LinkEvent, LinkState, LinkStatus, after
from ingestor.domain.errors import LinkDown
from ingestor.domain.records import SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.requests import ArgumentForm, Command
from ingestor.pipeline.ports import Clock, LinkListener

log = structlog.get_logger()

_JOIN_SECONDS = 1.0
_LONGEST_TURN_SECONDS = 2.0
"""An event of the session ends a turn at once. After a machine was suspended, it takes so long until its dead
link is detected."""
_BEGINS: dict[LinkState, LinkEvent] = {LinkState.IDLE: LinkEvent.START, LinkState.PAUSED: LinkEvent.RESUME}
"""Why an attempt begins; in other states, because the pause before it is over."""
_ENDS: dict[str, LinkEvent] = {LinkCause.STOPPED: LinkEvent.STOP, LinkCause.PAUSED: LinkEvent.PAUSE}
"""What ended an attempt, where it did not fail."""


class HubLink:
    """`ports.Hub`, and the thread behind it. `start` and `stop` once."""

    def __init__(self, options: LinkOptions, listener: LinkListener, clock: Clock, rng: Random) -> None:
        """Raises BadConfiguration for an address to which the key may not be sent."""
        require_safe(options.url)
        self._options = options
        self._timing = options.timing
        self._listener = listener
        self._clock = clock
        self._retry = Retry(options.timing, rng)
        self._losses = Losses()
        self._stop = threading.Event()
        self._paused = threading.Event()
        self._wake = threading.Event()
        """Ends a wait: set to stop, to pause, to resume, or to connect at once."""
        self._lock = threading.Lock()
        self._state = LinkState.IDLE
        self._attempt: Attempt | None = None
        self._generation = 0
        self._attempts = 0
        self._connection_errors: list[str] = []
        self._last_failure: LinkFailure | None = None
        self._next_attempt_at: float | None = None
        self._last_message_at: datetime | None = None
        self._abandoned: list[threading.Thread] = []
        self.failure: BaseException | None = None
        """The error that ended the thread; None if it was stopped."""
        self._thread = threading.Thread(target=self._run, name="link supervisor", daemon=True)
        self.turned_at = clock.monotonic()
        """Monotonic time of the last turn of the supervisor's loop."""

    # --- for other threads ---

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the session and the thread. False if it took longer than `timeout` seconds."""
        self._stop.set()
        self._wake.set()
        with self._lock:
            attempt = self._attempt
        if attempt is not None:
            attempt.events.put(LinkFailure(LinkCause.STOPPED))
        if self._thread.ident is not None:
            self._thread.join(timeout / 2)
            if self._thread.is_alive() and attempt is not None:
                attempt.cut()  # it may be sending a ping that the hub does not receive
            self._thread.join(timeout / 2)
        return not self._thread.is_alive()

    def pause(self, *, paused: bool) -> None:
        """End the session, if there is one, and do not connect; with `paused=False`, connect again at once.

        A repeated call has no effect. It may be called before `start`.
        """
        if paused == self._paused.is_set():
            return
        if not paused:
            self._paused.clear()
            self._wake.set()
            return
        self._paused.set()
        self._wake.set()
        with self._lock:
            attempt = self._attempt
        if attempt is not None:
            attempt.events.put(LinkFailure(LinkCause.PAUSED))

    def reconnect(self) -> None:
        """End the attempt, the session or the pause, and connect at once."""
        with self._lock:
            attempt = self._attempt
        self._wake.set()
        if attempt is not None:
            attempt.events.put(LinkFailure(LinkCause.RECONNECT, "an operator asked for it"))

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread.is_alive()

    @property
    def state(self) -> LinkStatus:
        """The present state."""
        now = self._clock.monotonic()
        with self._lock:
            attempt = self._attempt
            due = self._next_attempt_at if self._state is LinkState.WAITING else None
            live = attempt if self._state is LinkState.UP else None
            return LinkStatus(
                name=self._state.value,
                generation=self._generation,
                session=None if live is None else live.session,
                failure=self._last_failure if live is None else None,
                last_message_at=(attempt and attempt.receiver.last_message_at) or self._last_message_at,
                attempts=self._attempts,
                abandoned_threads=sum(thread.is_alive() for thread in self._abandoned),
                next_attempt_in_seconds=None if due is None else max(0.0, due - now),
                links_lost_last_hour=self._losses.count(now),
            )

    def request(self, session: UUID, command: Command, request_id: str, form: ArgumentForm) -> None:
        """Send one command in this session. Raises LinkDown."""
        with self._lock:
            attempt, state = self._attempt, self._state
        if attempt is None or state is not LinkState.UP or attempt.session != session:
            raise LinkDown("that session is over")
        arguments: list[object] = [request_id] if form is ArgumentForm.POSITIONAL else [[request_id]]
        try:
            attempt.connection.request(command, request_id, arguments)
        except OSError as error:
            attempt.send_failed(error)
            raise LinkDown(str(error)) from None

    # --- the supervisor ---

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._paused.is_set():
                    self._stay_away()
                else:
                    self._live()
            self._enter(LinkEvent.STOP)
        except BaseException as error:  # noqa: BLE001 - kept for the main thread, which ends the process with it
            self.failure = error

    def _live(self) -> None:
        """One generation: connect, watch, tear down, and wait before the next."""
        with self._lock:
            self._generation += 1
            self._attempts += 1
            attempt = self._attempt = Attempt(self._options, self._listener, self._clock)
            self._state = after(self._state, _BEGINS.get(self._state, LinkEvent.DUE))
        # Whoever asked may have looked for an attempt before this one was there.
        if self._stop.is_set():
            attempt.events.put(LinkFailure(LinkCause.STOPPED))
        elif self._paused.is_set():
            attempt.events.put(LinkFailure(LinkCause.PAUSED))
        try:
            failure = self._follow(attempt)
            self._enter(_ENDS.get(failure.cause, LinkEvent.FAILED))
        except BaseException:
            attempt.end(_JOIN_SECONDS, lambda: False)
            raise
        lived = 0.0 if attempt.up_since is None else self._clock.monotonic() - attempt.up_since
        self._tear_down(attempt, failure, lived)
        self._enter(LinkEvent.TORN_DOWN)
        if failure.cause not in ASKED:
            self._wait(attempt, failure, lived)

    def _stay_away(self) -> None:
        """No link, until an operator resumes or the link is stopped."""
        self._enter(LinkEvent.PAUSE)
        with self._lock:
            self._last_failure = None
        log.info("link_paused")
        while self._paused.is_set() and not self._stop.is_set():
            self._turned()
            self._wake.wait(_LONGEST_TURN_SECONDS)
            self._wake.clear()
        if not self._stop.is_set():
            log.info("link_resumed")

    def _follow(self, attempt: Attempt) -> LinkFailure:
        """The whole life of the attempt; gives how it ended. What is no LinkFailure is a bug, and raised."""
        timing = self._timing
        attempt.start()
        try:
            for event, seconds, late in (
                (LinkEvent.NEGOTIATED, timing.negotiate_seconds, LinkCause.TIMEOUT_NEGOTIATE),
                (LinkEvent.UPGRADED, timing.start_seconds, LinkCause.TIMEOUT_UPGRADE),
                (LinkEvent.HANDSHAKE_ANSWERED, timing.handshake_seconds, LinkCause.TIMEOUT_HANDSHAKE),
            ):
                if attempt.next_event(seconds) is None:
                    return LinkFailure(late, f"not within {seconds:g} s")
                self._enter(event)
            self._announce(attempt)
            self._watch(attempt)
        except LinkFailure as failure:
            return failure

    def _announce(self, attempt: Attempt) -> None:
        attempt.connection.handshake_done()
        attempt.up_since = self._clock.monotonic()
        self._retry.opened(attempt.key)
        with self._lock:
            opened = SessionOpened(
                session=attempt.session,
                opened_at=self._clock.now(),
                url=shown(self._options.url),
                attempts=self._attempts,
                connection_errors=tuple(self._connection_errors),
            )
            self._connection_errors.clear()
            self._attempts = 0
        log.info("link_up", session=str(attempt.session), attempts=opened.attempts)
        self._listener.link_up(opened)
        attempt.opened.set()

    def _watch(self, attempt: Attempt) -> NoReturn:
        """Send pings and notice silence until the session is over. Raises LinkFailure, or a bug."""
        timing = self._timing
        next_ping = self._clock.monotonic() + timing.ping_seconds
        was_silent, pause = False, 0.0
        while True:
            self._turned()
            attempt.next_event(pause)
            now = self._clock.monotonic()
            if now >= next_ping:
                next_ping = now + timing.ping_seconds
                attempt.ping()
            seconds = 0.0 if attempt.delivering else now - attempt.received_at
            if seconds > timing.receive_seconds:
                raise LinkFailure(LinkCause.SILENT, f"nothing received for {seconds:.0f} s")
            is_silent = seconds > timing.receive_seconds / 2
            if is_silent and not was_silent:
                # The listener sends a request: a hub without news answers it, a dead one does not.
                self._listener.silent(attempt.session)
            was_silent = is_silent
            until_silent = timing.receive_seconds * (1.0 if is_silent else 0.5) - seconds
            pause = max(0.0, min(_LONGEST_TURN_SECONDS, next_ping - now, until_silent))

    def _tear_down(self, attempt: Attempt, failure: LinkFailure, lived: float) -> None:
        failure = failure.cleaned(attempt.clean)
        clean = failure.cause in ASKED
        if clean and attempt.up_since is not None:
            attempt.send_close()
        abandoned = attempt.end(_JOIN_SECONDS, lambda: not self._stop.is_set())
        with self._lock:
            self._attempt = None
            self._last_message_at = attempt.receiver.last_message_at or self._last_message_at
            self._abandoned = [thread for thread in (*self._abandoned, *abandoned) if thread.is_alive()]
            self._last_failure = None if clean else failure
            if not clean and attempt.up_since is None and failure.cause not in self._connection_errors:
                self._connection_errors.append(failure.cause)
        detail = failure.detail or None
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
            self._note_loss(attempt, failure, lived)
        now = self._clock.now()
        self._listener.link_down(
            SessionClosed(
                session=attempt.session,
                closed_at=now,
                last_message_at=attempt.receiver.last_message_at or now,
                received=attempt.last_delivered_ordinal,
                end=SessionEnd.CLEAN if clean else SessionEnd.LINK_LOST,
                cause=failure.cause,
                detail=detail,
            )
        )

    def _wait(self, attempt: Attempt, failure: LinkFailure, lived: float) -> None:
        """The pause before the next attempt; ends early at `stop`, or once there is a new key."""
        pause = self._retry.pause(failure, attempt.key, lived_seconds=lived, answered=attempt.answered)
        due = self._clock.monotonic() + pause
        with self._lock:
            self._next_attempt_at = due
        watches_key = failure.refuses_key or failure.cause == LinkCause.NO_KEY
        while (left := due - self._clock.monotonic()) > 0:
            self._turned()
            if self._wake.wait(min(left, self._timing.key_check_seconds)):
                break
            if watches_key and attempt.key_has_changed():
                log.info("hub_key_changed")
                break
        self._wake.clear()  # a stop remains recorded in `_stop`

    def _note_loss(self, attempt: Attempt, failure: LinkFailure, lived: float) -> None:
        suspect = self._losses.add(
            self._clock.monotonic(),
            failure.cause,
            lived_seconds=lived,
            pings=attempt.pings,
            ping_seconds=self._timing.ping_seconds,
        )
        if suspect is not None:
            log.warning("link_lost_repeatedly", cause=failure.cause, setting=suspect, hint=HINTS[suspect])

    def _turned(self) -> None:
        self.turned_at = self._clock.monotonic()

    def _enter(self, event: LinkEvent) -> None:
        self._turned()
        with self._lock:
            self._state = after(self._state, event)
