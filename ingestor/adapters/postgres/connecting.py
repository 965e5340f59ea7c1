"""Connects to the database, for every command.

A database session has known settings, independent of role, database, cluster, URL and environment: they are
set after connecting and read back. Nothing is sent as startup `options`, which poolers refuse or drop.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.failures import (
    ConnectionFailed,
    TakesNoWrites,
    WrongEncoding,
    refused,
    transaction_pooling,
)
from ingestor.adapters.postgres.login import log_in
from ingestor.domain.errors import BadConfiguration
from ingestor.pipeline.ports import Clock


@dataclass(frozen=True, slots=True)
class DatabaseTiming:
    """`[database]` of the configuration. They nest: lock < statement < transaction < drain."""

    connect_seconds: float = 5.0
    lock_seconds: float = 5.0
    statement_seconds: float = 10.0
    transaction_seconds: float = 15.0


Address = str | Callable[[], str]
"""A URL, or a function that returns it for each connection: the password may be rotated, or a private server
started again."""

_PROBE_SECONDS = 1.0
_PREFERRED = {
    # A host that has vanished: the server ends its database session, and frees the account's lock, within 20
    # s. Both are needed, since keep-alives do not run while an answer is unacknowledged.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "20000",
}
"""Settings of the database session that `options` of the URL may override."""

_SOME_PLATFORMS_ONLY = ("client_connection_check_interval", "2000")
"""After a process was killed, the server notices it during a statement too, not only at its end, and releases
the account's lock. Servers on Windows reject this setting."""

_NOT_IN_URL = {
    "client_encoding": "UTF8 is always used",
    "replication": "an ordinary connection is needed",
}

_OPTION = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")


class Connector:
    """Creates sessions for one owner.

    Args:
        address: a URL (`postgresql+psycopg://…` or `postgresql://…`, one host or several), or its function.
        guard: closes the connection to a server that does not answer after the login.
        reads_only: if no host accepts writes, use one that can be read.
    """

    def __init__(
        self,
        address: Address,
        timing: DatabaseTiming,
        application_name: str,
        guard: DeadlineGuard,
        clock: Clock,
        *,
        reads_only: bool = False,
    ) -> None:
        self._address = address
        self._timing = timing
        self._application_name = application_name
        self._guard = guard
        self._clock = clock
        self._reads_only = reads_only

    def connect(self) -> psycopg.Connection:
        """A new database session, on the first host that accepts writes.

        Raises:
            ConnectionFailed: on every host.
            BadConfiguration: the database is not UTF-8, a pooler shares sessions, or the URL sets a reserved
                option.
        """
        url = self._address if isinstance(self._address, str) else self._address()
        parameters, settings = _parameters(url, self._timing, self._application_name)
        try:
            attempts = conninfo_attempts(parameters)
        except psycopg.Error as error:
            raise refused(str(error)) from None
        failures = list[ConnectionFailed]()
        readable = None
        for attempt in attempts:
            conninfo = make_conninfo("", **attempt)
            try:
                return self._on_host(conninfo, settings)
            except TakesNoWrites as error:
                failures.append(error)
                readable = readable or conninfo
            except ConnectionFailed as error:
                failures.append(error)
        if self._reads_only and readable is not None:
            return self._on_host(readable, settings, needs_writes=False)
        # If waiting may help with one host, its failure is raised, whatever those of the others are.
        raise next((each for each in failures if each.lasting is None), failures[-1])

    def _on_host(
        self, conninfo: str, settings: Mapping[str, str], *, needs_writes: bool = True
    ) -> psycopg.Connection:
        seconds = self._timing.connect_seconds
        connection = log_in(conninfo, seconds, self._clock)
        try:
            with self._guard.watch(connection, seconds):
                pooled = _configure(connection, settings, needs_writes=needs_writes)
            if pooled:
                self._require_session_of_our_own(connection, conninfo)
        except psycopg.Error as error:
            connection.close()
            raise refused(str(error), error.sqlstate) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_session_of_our_own(self, connection: psycopg.Connection, conninfo: str) -> None:
        """Detect a pooler that lends our idle database session to a second client."""
        try:
            other = log_in(conninfo, _PROBE_SECONDS, self._clock)
        except ConnectionFailed:  # no second database session is possible
            return
        with closing(other), suppress(psycopg.Error):  # or it waits until we are gone
            with self._guard.watch(other, _PROBE_SECONDS):
                theirs = backend_pid(other)
            with self._guard.watch(connection, _PROBE_SECONDS):
                if theirs == backend_pid(connection):
                    raise transaction_pooling()


def _parameters(
    url: str, timing: DatabaseTiming, application_name: str
) -> tuple[dict[str, str | int | None], dict[str, str]]:
    """libpq's parameters and the settings of the database session."""
    ours: dict[str, str | int] = {
        "connect_timeout": max(2, round(timing.connect_seconds)),
        "application_name": application_name,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": int(timing.transaction_seconds * 1000),
    }
    try:
        given = conninfo_to_dict(url.replace("postgresql+psycopg:", "postgresql:", 1))
    except psycopg.Error as error:
        raise refused(str(error), connection_attempted=False) from None
    pinned = _pinned(timing)
    named = {name.lower() for name in _OPTION.findall(str(given.get("options") or ""))}
    for name in named & {each.lower() for each in pinned}:
        raise _not_in_url(f"the option {name}", "ingestor sets it itself for its sessions")
    for name, why in _NOT_IN_URL.items():
        if name in given:
            raise _not_in_url(name, why)
    preferred = {name: value for name, value in _PREFERRED.items() if name not in named}
    return {**ours, **given}, {**pinned, **preferred}


def _not_in_url(name: str, why: str) -> BadConfiguration:
    return BadConfiguration(
        f"database.url must not set {name}\nwhy: {why}\nfix: remove it from database.url; deadlines have "
        "settings of their own in [database]"
    )


def _pinned(timing: DatabaseTiming) -> dict[str, str]:
    """Settings that the driver needs to understand the server, and that deadlines need."""
    transaction = str(int(timing.transaction_seconds * 1000))
    return {
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "search_path": "pg_catalog",
        "lock_timeout": str(int(timing.lock_seconds * 1000)),
        "statement_timeout": str(int(timing.statement_seconds * 1000)),
        "idle_in_transaction_session_timeout": transaction,
        "idle_session_timeout": "0",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
    }


_SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"
_READ = "SELECT current_setting(name) FROM unnest(%s::text[]) AS s (name)"
_STATE = """
    SELECT pg_backend_pid(), pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'
"""
_READ_ONLY_SOURCE = "SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'"


def _configure(connection: psycopg.Connection, settings: Mapping[str, str], *, needs_writes: bool) -> bool:
    """Apply the settings, and read them back. True if the connection goes through a pooler."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise WrongEncoding(
            f"the database is encoded in {encoding}\n"
            "why: names of assets can contain any letter, which only UTF8 can store\n"
            "fix: create the database with ENCODING 'UTF8' TEMPLATE template0"
        )
    # First and alone: until then the server's own limit applies, which may be very short.
    connection.execute(f"SET statement_timeout = {settings['statement_timeout']}".encode())
    with suppress(psycopg.errors.InvalidParameterValue):
        connection.execute(_SET, ([_SOME_PLATFORMS_ONLY[0]], [_SOME_PLATFORMS_ONLY[1]]))
    names = list(settings)
    wanted = connection.execute(_SET, (names, list(settings.values()))).fetchall()
    found = connection.execute(_READ, (names,)).fetchall()
    for name, given, kept in zip(names, wanted, found, strict=True):
        if kept != given:
            raise transaction_pooling(f"{name} was set to {given[0]} and reads back as {kept[0]}")
    ((backend, standby, read_only),) = connection.execute(_STATE).fetchall()
    if read_only and not standby:
        read_only = not _writable_again(connection)
    if needs_writes and (standby or read_only):
        raise TakesNoWrites("a standby" if standby else "read-only")
    return bool(backend != connection.info.backend_pid)


def _writable_again(connection: psycopg.Connection) -> bool:
    """Undo read-only as a default of the role or the database. That of the whole server is respected."""
    ((source,),) = connection.execute(_READ_ONLY_SOURCE).fetchall()
    if source not in {"user", "database", "database user"}:
        return False
    connection.execute("SET default_transaction_read_only = off")
    return True


def backend_pid(connection: psycopg.Connection) -> int:
    """The id of the server process of this connection; the one from the login may be a pooler's."""
    ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(pid)
