"""What a database error means for us, decided in one place.

Three answers exist: try the same again (the outside is unwell), blame one row (a value is refused), or stop
(waiting cannot cure it). Class 08, 40, 53, 57 and friends are the outside's; class 22 and 23 are a row's; a
missing table or column means that this is not our schema.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError

from ingestor.domain.errors import (
    BadConfiguration,
    DataRefused,
    Fatal,
    IngestorError,
    OutcomeUnknown,
    SchemaMismatch,
    StateMoved,
    Transient,
)

_STATE_MOVED = "HI001"
_SCHEMA = {"42P01", "42703", "42883", "3F000", "42804"}
_PRIVILEGE = "42501"
_DATA_CLASSES = {"22", "23", "54"}
_CREDENTIAL_TEXTS = ("password authentication failed", "authentication failed", "no password supplied")
_CONFIGURATION_TEXTS = ("does not exist", "no pg_hba.conf entry", "certificate")


class DatabaseUnavailable(Transient):
    """No connection. `exit_code` is what a first start should end with; a running daemon keeps trying."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def at_connect(error: psycopg.Error) -> IngestorError:
    """Connection failures carry no SQLSTATE, whatever their cause: only the server's text tells."""
    text = " ".join(str(error).split())
    if any(each in text for each in _CREDENTIAL_TEXTS):
        return DatabaseUnavailable(f"the database refused our credential: {text}", 77)
    if any(each in text for each in _CONFIGURATION_TEXTS):
        return DatabaseUnavailable(f"the database knows nothing of what is configured: {text}", 78)
    return DatabaseUnavailable(f"the database cannot be reached: {text}", 69)


@contextmanager
def in_our_words() -> Iterator[None]:
    """For a look from outside the writer: SQLAlchemy's errors become ours."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None:
            raise at_connect(cause) from None
        raise at_write(cause, broken=False) from None


def at_write(error: BaseException | None, *, broken: bool) -> IngestorError:
    """The class of an error that a statement raised.

    Args:
        error: what psycopg raised, or what Python raised while it encoded a parameter.
        broken: the connection is gone, so whether COMMIT took effect is unknown.
    """
    text = " ".join(str(error).split())
    if broken:
        return OutcomeUnknown(f"the connection was lost: {text}")
    if isinstance(error, UnicodeError | OverflowError):
        return DataRefused(text)
    if not isinstance(error, psycopg.Error):
        return Fatal(f"unexpected {type(error).__name__}: {text}")
    return _by_state(error, text)


def _by_state(error: psycopg.Error, text: str) -> IngestorError:
    state = error.sqlstate or ""
    if state == _STATE_MOVED:
        return StateMoved(text)
    if state[:2] in _DATA_CLASSES or (not state and isinstance(error, psycopg.DataError)):
        return DataRefused(text)
    if state in _SCHEMA:
        return SchemaMismatch(f"the schema is not the one this software writes to: {text}")
    if state == _PRIVILEGE:
        return BadConfiguration(
            f"the database role lacks a privilege\nwhy: {text}\n"
            "fix: let the owner of the schema run deploy/grants.sql; it belongs to each upgrade"
        )
    if state[:2] == "42":
        return Fatal(f"the database does not understand us: {text}")
    return Transient(f"{state or type(error).__name__}: {text}")
