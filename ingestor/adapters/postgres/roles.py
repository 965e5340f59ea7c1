"""The roles of a database and their privileges, as data, and the SQL that creates and grants them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

OWNER = "ingestor_owner"
MIGRATOR = "ingestor-migrator"
WRITER = "ingestor"
PRUNER = "ingestor-pruner"
READER = "ingestor_analyst"
AUDITOR = "ingestor_auditor"
OPERATOR = "ingestor_operator"

ROLES = {
    OWNER: "NOLOGIN",
    MIGRATOR: "LOGIN",
    WRITER: "LOGIN",
    PRUNER: "LOGIN",
    READER: "NOLOGIN",
    AUDITOR: "NOLOGIN",
    OPERATOR: "NOLOGIN",
}
"""How each missing role is created. Roles belong to the whole server. Those that log in have the names of the
units' users; people are members of the groups of readers, auditors and operators."""

ALL = "*"


class Grant(NamedTuple):
    """Privileges of some roles on tables and views of a schema."""

    privileges: tuple[str, ...]
    schema: str
    names: tuple[str, ...]
    """`ALL`: every existing one, and those that the owner creates later."""
    roles: tuple[str, ...]


APPENDED = (
    *("account", "raw_event", "outcome", "balance", "exposure", "exposure_total", "pair"),
    *("epoch", "clock_step", "discard"),
)
CHANGED = ("session", "watermark", "gap", "confirmation", "request", "dead_letter", "heartbeat")
PRUNED = ("raw_event", "outcome", "request", "balance", "exposure", "exposure_total", "pair")

GRANTS = (
    Grant(("SELECT",), "ingest", (ALL,), (WRITER, PRUNER, AUDITOR)),
    Grant(("SELECT",), "report", (ALL,), (WRITER, READER, AUDITOR)),
    Grant(("INSERT",), "ingest", APPENDED, (WRITER,)),
    Grant(("INSERT", "UPDATE"), "ingest", CHANGED, (WRITER,)),
    Grant(("DELETE",), "ingest", PRUNED, (PRUNER,)),
    Grant(("SELECT",), "ingest", ("account", "alembic_version", "signal"), (OPERATOR,)),
    Grant(("INSERT",), "ingest", ("signal",), (WRITER, OPERATOR)),  # `pause` and `resume`
)
"""All privileges: nothing else is granted. The owner may do everything, and the migrator is the owner."""

LOCKERS = (OWNER, MIGRATOR, WRITER)
"""Who may take advisory locks: the daemon holds one for its account, an upgrade one for itself."""

LIMITS = {
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "temp_file_limit": "1GB",
    "jit": "off",
}
"""Of readers and auditors. Compiling their queries (`jit`) would take longer than running them."""

SETTINGS = {
    READER: LIMITS,
    AUDITOR: LIMITS,
    WRITER: {"log_min_error_statement": "panic"},
}
"""Settings of the sessions of these roles. `log_min_error_statement`: otherwise the server would log the
whole statement, of some kilobytes, for each batch that fails: several a second while its disk is full."""


def roles_sql() -> str:
    """One transaction, which can be run again at any time; then the roles have exactly these privileges.

    Tables are granted where there are some: run it before the first upgrade for the roles, and after each one
    for the tables. Without a superuser's rights, what only a superuser may limit or close gives a warning.
    """
    return _SQL.format(
        logins=", ".join(f"('{name}', '{login}')" for name, login in ROLES.items()),
        owner=OWNER,
        migrator=MIGRATOR,
        writer=WRITER,
        settings=", ".join(
            f"('{role}', '{name}', '{value}')"
            for role, settings in SETTINGS.items()
            for name, value in settings.items()
        ),
        pruner=PRUNER,
        lockers=_named(LOCKERS),
        reader=READER,
        everybody=_named(role for role in ROLES if role not in {OWNER, MIGRATOR}),
        usage="\n    ".join(_usage()),
        grants="\n    ".join(_grant(each) for each in GRANTS),
        later="\n    ".join(_grant(each, later=True) for each in GRANTS if each.names == (ALL,)),
    )


def _named(roles: Iterable[str]) -> str:
    return ", ".join(f'"{role}"' for role in roles)


def _grant(grant: Grant, *, later: bool = False) -> str:
    privileges, schema = ", ".join(grant.privileges), grant.schema
    if later:
        before = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA {schema} GRANT {privileges} ON TABLES"
    elif grant.names == (ALL,):
        before = f"GRANT {privileges} ON ALL TABLES IN SCHEMA {schema}"
    else:
        before = f"GRANT {privileges} ON {', '.join(f'{schema}.{name}' for name in grant.names)}"
    return f"{before} TO {_named(grant.roles)};"


def _usage() -> Iterator[str]:
    for schema in ("ingest", "report"):
        roles = dict.fromkeys(role for grant in GRANTS if grant.schema == schema for role in grant.roles)
        yield f"GRANT USAGE ON SCHEMA {schema} TO {_named(roles)};"


_SQL = """\
-- The roles of the ingestor's database. Run it as a superuser, in that database.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL lock_timeout = '5s';

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT * FROM (VALUES {logins}) AS r (name, login)
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name)
    LOOP
        EXECUTE format('CREATE ROLE %I %s', found.name, found.login);
    END LOOP;

    -- Whatever the migrator makes belongs to the owner, whom nobody can log in as.
    GRANT {owner} TO "{migrator}";
    EXECUTE format('ALTER ROLE "{migrator}" IN DATABASE %I SET role = {owner}', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO {owner}', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;

    -- For `ingestor check`, which reads what is stored as an analyst does.
    GRANT {reader} TO "{writer}";

    -- A role's settings do not pass to its members, so each member has them too, but for the daemon.
    FOR found IN
        SELECT DISTINCT m.rolname AS name, s.setting, s.value
        FROM (VALUES {settings}) AS s (role, setting, value)
        JOIN pg_roles AS r ON r.rolname = s.role
        JOIN pg_roles AS m ON pg_has_role(m.oid, r.oid, 'MEMBER') AND NOT m.rolsuper
        WHERE m.rolname <> '{writer}' OR s.role = '{writer}'
    LOOP
        BEGIN
            EXECUTE format(
                'ALTER ROLE %I IN DATABASE %I SET %s = %L',
                found.name, current_database(), found.setting, found.value
            );
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING '% of % is not set: only a superuser may', found.setting, found.name;
        END;
    END LOOP;

    -- The key of an account's lock is no secret: whoever takes it keeps the daemon from starting.
    FOR found IN
        SELECT oid::regprocedure::text AS name, proname LIKE 'pg_%' AS locks FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND proname ~ '^(pg_(try_)?advisory_|lo_|loread$|lowrite$)'
    LOOP
        BEGIN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', found.name);
            IF found.locks THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {lockers}', found.name);
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
        IF has_function_privilege('{reader}', found.name, 'EXECUTE') THEN
            RAISE WARNING 'readers may call %: only a superuser may revoke that', found.name;
        END IF;
    END LOOP;

    IF to_regclass('ingest.alembic_version') IS NULL THEN
        RAISE WARNING 'there are no tables yet: run this again after ingestor db upgrade';
        RETURN;
    END IF;

    FOR found IN
        SELECT 'SCHEMA ' || nspname AS what FROM pg_namespace
        WHERE nspname IN ('ingest', 'report') AND nspowner <> '{owner}'::regrole
        UNION ALL
        SELECT CASE relkind WHEN 'v' THEN 'VIEW ' ELSE 'TABLE ' END || oid::regclass FROM pg_class
        WHERE relnamespace IN ('ingest'::regnamespace, 'report'::regnamespace) AND relkind IN ('r', 'p', 'v')
          AND relowner <> '{owner}'::regrole
        UNION ALL
        SELECT 'FUNCTION ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace IN ('ingest'::regnamespace, 'report'::regnamespace)
          AND proowner <> '{owner}'::regrole
    LOOP
        EXECUTE format('ALTER %s OWNER TO {owner}', found.what);
    END LOOP;

    REVOKE ALL ON ALL TABLES IN SCHEMA ingest, report FROM PUBLIC, {everybody};
    REVOKE ALL ON SCHEMA ingest, report FROM PUBLIC, {everybody};
    {usage}
    GRANT EXECUTE ON FUNCTION ingest.require(boolean, text) TO "{writer}";
    GRANT EXECUTE ON FUNCTION ingest.add_months, ingest.begin_history, ingest.empty_month TO "{pruner}";
    {grants}
    -- What an upgrade makes anew can be read at once.
    {later}
END
$$;

COMMIT;
"""
