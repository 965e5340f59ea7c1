"""Queries of `ingestor check` about a database and our role in it."""

from dataclasses import dataclass
from itertools import chain

import psycopg

from ingestor.adapters.postgres.account_lock import lock_key
from ingestor.adapters.postgres.reading import read, rows, value
from ingestor.adapters.postgres.roles import GRANTS, READER, ROLES, WRITER


@dataclass(frozen=True, slots=True)
class Server:
    """The server and our database session with it."""

    version: str
    encoding: str
    user: str
    superuser: bool
    tls: str | None
    """For example `TLSv1.3`; None without TLS."""
    pooled: bool
    """The connection goes through a pooler."""
    database_bytes: int
    data_directory: str | None
    """None if our role may not see it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has ended."""

    request_id: str
    outcome: str
    error: str | None
    seconds_ago: float


_SERVER = """
    SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
        current_user::text AS user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
        (SELECT s.version FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid() AND s.ssl) AS tls,
        pg_backend_pid() <> $1::int8 AS pooled, pg_database_size(current_database()) AS database_bytes,
        (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
"""

_NEWEST = """
    SELECT request_id::text, outcome, error,
        extract(epoch FROM clock_timestamp() - ended_at)::float8 AS seconds_ago
    FROM report.request WHERE account = $1 AND command = 'GetPairs' AND ended_at IS NOT NULL
    ORDER BY requested_at DESC LIMIT 1
"""

_OUTCOME = """
    SELECT outcome, (SELECT count(*) FROM report.pair_current AS p WHERE p.account = r.account) AS pairs
    FROM report.request AS r WHERE account = $1 AND request_id = $2
"""

_MISSING = """
    WITH needed (privilege, schema, name) AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    )
    SELECT format('USAGE on schema %s', nspname) AS missing FROM pg_namespace
    WHERE nspname IN (SELECT schema FROM needed) AND NOT has_schema_privilege(oid, 'USAGE')
    UNION
    SELECT format('%s on %s.%s', n.privilege, n.schema, c.relname)
    FROM needed AS n
    JOIN pg_namespace AS s ON s.nspname = n.schema
    JOIN pg_class AS c ON c.relnamespace = s.oid AND n.name IN (c.relname, '*')
    WHERE c.relkind IN ('r', 'p', 'v') AND NOT has_table_privilege(c.oid, n.privilege)
    UNION
    SELECT 'EXECUTE on pg_try_advisory_lock'
    WHERE NOT has_function_privilege('pg_try_advisory_lock(int8)', 'EXECUTE')
    ORDER BY 1
"""


def server(connection: psycopg.Connection) -> Server:
    """Raises psycopg.Error."""
    return read(connection, Server, _SERVER, connection.info.backend_pid)[0]


def missing_privileges(connection: psycopg.Connection) -> list[str]:
    """The privileges that the daemon needs and our role lacks. Raises psycopg.Error."""
    needed = [
        (privilege, grant.schema, name)
        for grant in GRANTS
        if WRITER in grant.roles
        for privilege in grant.privileges
        for name in grant.names
    ]
    return [row.missing for row in rows(connection, _MISSING, *map(list, zip(*needed, strict=True)))]


def missing_roles(connection: psycopg.Connection) -> list[str]:
    """The roles of `ingestor db roles` that the server does not have. Raises psycopg.Error."""
    found = rows(connection, "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])", list(ROLES))
    return [role for role in ROLES if role not in chain.from_iterable(found)]


def lock_account(connection: psycopg.Connection, account: str) -> bool:
    """Take the account's lock for this transaction; False if a daemon has it. Raises psycopg.Error."""
    return bool(value(connection, "SELECT pg_try_advisory_xact_lock($1::int8)", lock_key(account)))


def become_reader(connection: psycopg.Connection) -> str:
    """Become the group of analysts for the rest of this transaction, if it exists and we are a member.
    Returns the name of the role that reads. Raises psycopg.Error."""
    may = "SELECT 1 FROM pg_roles WHERE rolname = $1 AND pg_has_role(current_user, oid, 'MEMBER')"
    if value(connection, may, READER):
        connection.execute(f'SET LOCAL ROLE "{READER}"'.encode())
    return str(value(connection, "SELECT current_user::text"))


def commit_nothing(connection: psycopg.Connection) -> None:
    """Commit no row, which the server must make durable like any commit. Raises psycopg.Error."""
    connection.execute("SELECT pg_logical_emit_message(true, 'ingestor check', '')")


def newest_pairs_request(connection: psycopg.Connection, account: str) -> Request | None:
    """The last request for pairs that has ended, from the analysts' view. Raises psycopg.Error."""
    found = read(connection, Request, _NEWEST, account)
    return found[0] if found else None


def outcome_of(connection: psycopg.Connection, account: str, request_id: str) -> tuple[str | None, int]:
    """How a request has ended, and how many pairs the account has, from the analysts' views. Raises
    psycopg.Error."""
    found = rows(connection, _OUTCOME, account, request_id)
    return (found[0].outcome, found[0].pairs) if found else (None, 0)
