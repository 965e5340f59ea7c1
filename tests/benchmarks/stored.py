"""Databases that hold a long history already, made fast: rows as the daemon would have written them.

They are loaded by a server whose settings are for loading (no WAL for a table emptied in the same
transaction, no fsync), which is then stopped, synced to disk, and started again with stock settings.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from tests.benchmarks.server import MIGRATED, Server
from tests.support.postgres import create_database

LOADING = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "autovacuum": "off",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "512MB",
}

_SESSION = "'00000000-0000-7000-8000-000000000001'::uuid"
_USER = "'00000000-0000-4000-8000-000000000001'"
_AT = "timestamptz '2026-01-01 00:00Z' + i * interval '10 ms'"
_DATA = (
    '[{\\"name\\":\\"BTC\\",\\"available\\":%s.12345678,\\"allocated\\":17.00000000},'
    '{\\"name\\":\\"ETH\\",\\"available\\":5%s.12345678,\\"allocated\\":3.00000000},'
    '{\\"name\\":\\"USDT\\",\\"available\\":81%s.12345678,\\"allocated\\":9.00000000}]'
)
_RAW = (
    '{"type":1,"target":"executionEvents","arguments":[{"channel":"executionEvents","topic":"Account",'
    '"subject":"account.balances.snapshot","type":"message","clientId":null,"data":"{\\"userId\\":'
    '\\"00000000-0000-4000-8000-000000000001\\",\\"sequence\\":'
)
_SMALL = f"""
    INSERT INTO ingest.account VALUES ('main', 'custom', '2026-01-01');
    INSERT INTO ingest.session (account, session_id, opened_at, url, attempts, connection_errors,
        software_version, closed_at, last_message_at, received, ending, cause,
        committed_ordinal, committed_records, dropped_records)
    VALUES ('main', {_SESSION}, '2026-01-01', 'http://127.0.0.1/', 1, '{{}}', '0', '2026-02-01',
        '2026-02-01', {{events}}, 'clean', 'stopped', {{events}}, {{events}}, 0);
    INSERT INTO ingest.epoch (account, kind, user_id, epoch, opened_at, cause, first_sequence,
        first_evidence_session_id, first_evidence_ordinal, last_evidence_session_id, last_evidence_ordinal,
        evidence, stale_snapshots)
    VALUES ('main', 'balances', {_USER}, 1, '2026-01-01', 'first_seen', 1, {_SESSION}, 1, {_SESSION}, 1,
        1, 0);
    INSERT INTO ingest.watermark (account, kind, user_id, epoch, sequence, revision, content, session_id,
        ordinal, position, valid_from, confirmed_until, deleted)
    SELECT 'main', 'balances', {_USER}, 1, i, 0, sha256(''), {_SESSION}, i, 0, {_AT}, {_AT}, false
    FROM (SELECT {{events}}::bigint AS i) AS newest;
"""
_LARGE = {
    "raw_event": f"""
        INSERT INTO ingest.raw_event (account, session_id, ordinal, received_at, size, raw)
        SELECT 'main', {_SESSION}, i, {_AT}, 530,
            convert_to('{_RAW}' || i || ',\\"assets\\":{_DATA.replace("%s", "' || i || '")}'
                || ',\\"deleted\\":false}}"}}]}}', 'UTF8')
        FROM generate_series(1, {{events}}::bigint) AS i""",
    "outcome": f"""
        INSERT INTO ingest.outcome (account, session_id, ordinal, position, received_at, outcome, subject,
            kind, user_id, epoch, sequence, revision, valid_from, deleted, origin, passed_over,
            previous_confirmed_until)
        SELECT 'main', {_SESSION}, i, 0, {_AT}, 'applied', 'account.balances.snapshot', 'balances',
            {_USER}, 1, i, 0, {_AT}, false, 'pushed', 0, {_AT}
        FROM generate_series(1, {{events}}::bigint) AS i""",
    "balance": f"""
        INSERT INTO ingest.balance (account, user_id, asset, valid_from, epoch, sequence, revision,
            available, allocated, reported)
        SELECT 'main', {_USER}, (ARRAY['BTC', 'ETH', 'USDT'])[1 + (i + n) % 3], {_AT}, 1, i, 0,
            (i % 1000000)::numeric + 0.12345678, 17, true
        FROM generate_series(1, {{events}}::bigint) AS i, generate_series(0, 1) AS n""",
}


@contextmanager
def stored(
    directory: Path, sizes: tuple[int, ...], upgrade: list[str], home: dict[str, str]
) -> Iterator[Server]:
    """A server with stock settings and databases `stored_<size>`, each with so many events."""
    with EmbeddedPostgres(directory, settings=LOADING) as postgres:
        server = Server(postgres)
        server.migrate(upgrade, home)
        for size in sizes:
            name = name_of(size)
            create_database(postgres, name, template=MIGRATED)
            _fill(server.dsn(name), size)
    os.sync()
    with EmbeddedPostgres(directory) as postgres:
        server = Server(postgres)
        server.settings()
        yield server


def name_of(size: int) -> str:
    """The database with so many events."""
    return f"stored_{size}"


def _fill(dsn: str, events: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(_SMALL.replace("{events}", str(events)).encode())
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(_load, dsn, table, events) for table in _LARGE]:
            done.result()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")
        # Else autovacuum takes the load for news and works through it while we measure.
        connection.execute("SELECT pg_stat_reset()")


def _load(dsn: str, table: str, events: int) -> None:
    """Without its key, which is built afterwards: sorted, and in a fraction of the time."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype = 'p'",
            [f"ingest.{table}"],
        ).fetchone()
        assert row is not None
        name, key = row
        connection.execute(f"TRUNCATE ingest.{table}".encode())
        connection.execute(f"ALTER TABLE ingest.{table} DROP CONSTRAINT {name}".encode())
        connection.execute(_LARGE[table].replace("{events}", str(events)).encode())
        connection.execute(f"ALTER TABLE ingest.{table} ADD CONSTRAINT {name} {key}".encode())
