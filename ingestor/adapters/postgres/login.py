"""Logs in within a deadline, and finds out why a login failed.

The failure is classified by the SQLSTATE of the server's answer, or by how far the connection came; never by
the text, which is in the server's language. libpq gives the SQLSTATE only in verbose messages, which psycopg
cannot request, so the connection is opened step by step here.
"""

import ctypes
import os
import pwd
import re
import selectors
import sys
from functools import cache

import psycopg
from psycopg.pq import ConnStatus, PGconn, Ping, PollingStatus
from psycopg.pq.abc import PGconn as LibpqConnection

from ingestor.adapters.postgres.failures import ConnectionFailed, refused
from ingestor.pipeline.ports import Clock

_VERBOSE, _ORDINARY = 2, 1
_SQLSTATE = re.compile(r":  ([0-9A-Z]{5}): ")


@cache
def _libpq() -> ctypes.CDLL | None:
    """libpq, found through psycopg's compiled module, which is linked with it. None if psycopg runs without
    that
    module: then only how far the connection came decides."""
    try:
        library = ctypes.CDLL(sys.modules[PGconn.__module__].__file__)
        library.PQsetErrorVerbosity.argtypes = (ctypes.c_void_p, ctypes.c_int)
    except (OSError, AttributeError):
        return None
    return library


def log_in(conninfo: str, seconds: float, clock: Clock) -> psycopg.Connection:
    """Connect to one host and log in; the connection is in autocommit.

    Raises:
        ConnectionFailed: with the error with which a first start ends.
    """
    deadline = clock.monotonic() + seconds
    pgconn = PGconn.connect_start(conninfo.encode())
    _set_verbosity(pgconn, _VERBOSE)
    status, polled = ConnStatus(pgconn.status), PollingStatus.WRITING
    while status != ConnStatus.BAD and polled not in {PollingStatus.OK, PollingStatus.FAILED}:
        if not _ready(pgconn, polled, deadline - clock.monotonic()):
            pgconn.finish()
            raise refused(f"no answer within {seconds:g} s")
        status = ConnStatus(pgconn.status)
        polled = PollingStatus(pgconn.connect_poll())
    if polled != PollingStatus.OK:
        raise _failed(pgconn, conninfo, status)
    _set_verbosity(pgconn, _ORDINARY)
    pgconn.nonblocking = 1
    connection = psycopg.Connection(pgconn)
    connection.autocommit = True
    return connection


def _set_verbosity(pgconn: LibpqConnection, verbosity: int) -> None:
    library = _libpq()
    if library is not None:
        library.PQsetErrorVerbosity(getattr(pgconn, "pgconn_ptr"), verbosity)  # noqa: B009 - not in the protocol


def _ready(pgconn: LibpqConnection, direction: PollingStatus, seconds: float) -> bool:
    event = selectors.EVENT_READ if direction == PollingStatus.READING else selectors.EVENT_WRITE
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, event)
        return bool(selector.select(max(seconds, 0.0)))


def _failed(pgconn: LibpqConnection, conninfo: str, status: ConnStatus) -> ConnectionFailed:
    text = pgconn.get_error_message().partition("\nLOCATION:")[0]
    found = _SQLSTATE.search(text)
    needs_password = pgconn.needs_password
    pgconn.finish()
    return refused(
        _SQLSTATE.sub(":  ", text),
        found[1] if found else None,
        needs_password=needs_password,
        tls=status == ConnStatus.SSL_STARTUP,
        nameless=_is_nameless(),
        connection_attempted=status != ConnStatus.BAD or PGconn.ping(conninfo.encode()) != Ping.NO_ATTEMPT,
    )


def _is_nameless() -> bool:
    """Whether this process's user has no name, which libpq would use as role."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return True
    return False
