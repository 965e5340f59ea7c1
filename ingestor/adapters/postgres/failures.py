"""Classifies errors of the database, by SQLSTATE.

There are three reactions: try again (the server has a problem), quarantine one row (a value is rejected), or
stop (waiting cannot help). Classes like 08, 40, 53 and 57 are problems of the server, classes 22 and 23
faults of a row; a missing table or column means that the schema is not ours. If an error can be either, the
attempt to write a heartbeat decides.
"""

import psycopg

from ingestor.domain.errors import (
    BadConfiguration,
    CredentialRefused,
    DeadlineCut,
    Fatal,
    IngestorError,
    OutcomeUnknown,
    RowRejected,
    SchemaMismatch,
    TooSlow,
    Transient,
    WatermarkConflict,
)

_WATERMARK_CONFLICT = "HI001"
_SCHEMA = {"42P01", "42703", "42883", "3F000", "42804"}
_PRIVILEGE = "42501"
_STATEMENT_TIMEOUT = "57014"
_NOT_SUPPORTED = "0A000"
_INTERNAL = "XX000"
"""Citus gives only this when a worker rejects rows of a COPY. A half may be accepted, and a few rows are sent
without COPY."""
PREPARED = {"26000", "42P05"}
"""A prepared statement is missing or exists already: a pooler has given us another database session."""
_ROW_CLASSES = {"22", "23"}
_EITHER_CLASSES = {"54", "P0", "38", "39"}
"""Limits of the server (for example no transaction ids left), and errors raised by functions of others."""
_SESSION_IS_FINE = {"55P03", _STATEMENT_TIMEOUT, "40001", "40P01"}
"""Lock and statement timeout, serialization failure, deadlock: a new database session would not help."""


class ConnectionFailed(Transient):
    """No database session. `lasting`: the error with which a first start ends; None if waiting may help."""

    def __init__(self, text: str, lasting: Fatal | None = None) -> None:
        super().__init__(text)
        self.lasting = lasting


class TakesNoWrites(ConnectionFailed):
    """A host that answers, but can only be read."""

    def __init__(self, what: str) -> None:
        super().__init__(
            _lines(
                "the database accepts no writes",
                f"this host is {what}",
                "name the primary in database.url, and turn its default_transaction_read_only off",
            )
        )


def refused(
    text: str,
    sqlstate: str | None = None,
    *,
    needs_password: bool = False,
    tls: bool = False,
    nameless: bool = False,
    connection_attempted: bool = True,
) -> ConnectionFailed:
    """The error for a connection that failed.

    Args:
        text: of libpq or of the server, in any language; never parsed.
        sqlstate: the server's; None if it gave none.
        needs_password: the server asked for a password and we had none.
        tls: it ended during the TLS handshake.
        nameless: our system user has no name, so libpq knows a role only if database.url names one.
        connection_attempted: False if libpq refused the parameters themselves.
    """
    text = " ".join(text.split())
    state = sqlstate or ""
    if state[:2] == "28" or needs_password:
        what = "the database refused our role or its password"
        fix = "check the role in database.url and its password, and the server's pg_hba.conf"
        return ConnectionFailed(f"{what}: {text}", CredentialRefused(_lines(what, text, fix)))
    if state in {"3D000", _PRIVILEGE, _NOT_SUPPORTED} or state[:2] == "22" or not connection_attempted:
        what = "the database cannot be used with this database.url"
        fix = "check database.url, that the database exists, and that the role may CONNECT to it"
        if nameless and not connection_attempted:
            fix = (
                "install libnss-systemd, through which a unit's dynamic user has a name, or name the role in "
                "database.url (postgresql://ROLE@…)"
            )
        return ConnectionFailed(f"{what}: {text}", BadConfiguration(_lines(what, text, fix)))
    if tls:
        return ConnectionFailed(
            _lines(
                "the TLS handshake with the database failed",
                text,
                "check the server's certificate (name, dates, authority) against sslmode and sslrootcert in "
                "database.url, and that the server has ssl = on",
            )
        )
    return ConnectionFailed(
        _lines(
            "the database cannot be reached" if not state else "the database accepts no connection now",
            f"{state}: {text}" if state else text,
            "make sure that the server runs, and that database.url names it",
        )
    )


def _lines(what: str, why: str, fix: str) -> str:
    return f"{what}\nwhy: {why}\nfix: {fix}"


class SharedSession(BadConfiguration):
    """A pooler lends our database session to others."""


class WrongEncoding(BadConfiguration):
    """The database is not encoded in UTF-8."""


def transaction_pooling(
    detail: str = "another client was given our database session while we were idle",
) -> Fatal:
    """The error for a pooler that shares sessions: the account's lock and the session's settings would be
    lost."""
    return SharedSession(
        _lines(
            "the connection goes through a pooler that shares sessions between clients",
            detail,
            "set the pooler to session pooling for this database (pgbouncer: pool_mode = session), or "
            "connect directly",
        )
    )


def ends_database_session(sqlstate: str | None, error: IngestorError) -> bool:
    """Whether to open a new database session, perhaps on another host."""
    return isinstance(error, Transient) and sqlstate not in _SESSION_IS_FINE


def blames_row_or_server(error: BaseException | None) -> bool:
    """Whether another write must decide if the server or a row is at fault.

    `context` is set for errors raised inside a function. Ours raise only `_WATERMARK_CONFLICT`, so it is that
    of somebody's trigger.
    """
    if not isinstance(error, psycopg.Error) or error.sqlstate == _WATERMARK_CONFLICT:
        return False
    state = error.sqlstate or ""
    return state[:2] in _EITHER_CLASSES or (state[:2] == "42" and error.diag.context is not None)


def at_write(
    error: BaseException | None, *, broken: bool, cut: bool = False, repeats: int = 1
) -> IngestorError:
    """The class of an error that a statement raised.

    Args:
        error: what psycopg raised, or what Python raised while it encoded a parameter.
        broken: the connection is lost, so it is unknown whether COMMIT took effect.
        cut: by our own deadline guard.
        repeats: how many times in a row this SQLSTATE has occurred.
    """
    text = " ".join(str(error).split())
    if cut:
        return DeadlineCut(f"the connection was cut at the transaction's deadline: {text}")
    if broken:
        return OutcomeUnknown(f"the connection was lost: {text}")
    if isinstance(error, UnicodeError | OverflowError):
        return RowRejected(text)
    if not isinstance(error, psycopg.Error):
        return Fatal(f"unexpected {type(error).__name__}: {text}")
    return _by_state(error, text, repeats)


def _by_state(error: psycopg.Error, text: str, repeats: int) -> IngestorError:  # noqa: PLR0911 - a table
    state = error.sqlstate or ""
    if state == _WATERMARK_CONFLICT:
        return WatermarkConflict(text)
    if state[:2] in _ROW_CLASSES or (not state and isinstance(error, psycopg.DataError)):
        return RowRejected(text)
    if blames_row_or_server(error):
        return Transient(f"{state}: {text}")
    if state in _SCHEMA:
        return SchemaMismatch(f"the schema is not the one this software writes to: {text}")
    if state == _PRIVILEGE:
        return BadConfiguration(
            _lines(
                "the database role lacks a privilege",
                text,
                "let a superuser run the output of `ingestor db roles`, which is needed after each upgrade",
            )
        )
    if state in {_STATEMENT_TIMEOUT, _INTERNAL}:
        return TooSlow(f"{state}: {text}")
    if state == _NOT_SUPPORTED and repeats > 1:  # once only: an upgrade has made a cached plan stale
        return BadConfiguration(
            _lines("this database lacks a needed feature", text, "use PostgreSQL 15 or newer")
        )
    if state[:2] == "42" and state not in PREPARED:
        return Fatal(f"the database rejects a statement of ours: {text}")
    return Transient(f"{state or type(error).__name__}: {text}")
