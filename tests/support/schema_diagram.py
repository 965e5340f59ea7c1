"""Draws the two schemas into SCHEMA.md: `python -m tests.support.schema_diagram`.

Names, columns, types and keys are the catalogue's. It has hardly any foreign keys, because the tables can be
partitioned, distributed and pruned: what refers to what is said here, and a test holds that against rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg

import ingestor
from ingestor.app.database import upgrade_database
from tests.support.postgres import fresh_database, libpq_url, postgres_directory, server_under_test

PAGE = Path(ingestor.__file__).with_name("SCHEMA.md")

_STREAM = ("account", "kind", "user_id")
_EVENT = ("account", "session_id", "ordinal", "position")
_ASSET = ("account", "user_id", "asset")
IDENTITY = {
    "account": ("account",),
    "session": ("account", "session_id"),
    "raw_event": ("account", "session_id", "ordinal"),
    "outcome": _EVENT,
    "event": _EVENT,
    "dead_letter": (*_EVENT, "received_at"),
    "stream": _STREAM,
    "watermark": _STREAM,
    "epoch": (*_STREAM, "epoch"),
    "version": (*_STREAM, "valid_from", "epoch", "sequence", "revision"),
    "asset": _ASSET,
    "known_asset": _ASSET,
    "known_pair": ("account", "name"),
}
"""What finds a row of those that others refer to; a table with fewer of these columns needs no more."""

PARENTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "ingest": {
        "session": ("account",),
        "raw_event": ("session",),
        "record": ("raw_event",),
        "outcome": ("raw_event",),
        "event_outcome": ("raw_event",),
        "epoch": ("account",),
        "version": ("epoch", "outcome"),
        "watermark": ("epoch", "version"),
        "known_asset": ("watermark",),
        "balance": ("version", "known_asset"),
        "pair": ("version",),
        "exposure": ("outcome",),
        "exposure_total": ("outcome",),
        "gap": ("account",),
        "confirmation": ("outcome",),
        "request": ("session",),
        "dead_letter": ("raw_event",),
        "discard": ("dead_letter",),
        "signal": ("account",),
        "heartbeat": ("account",),
        "clock_step": ("account",),
    },
    "report": {
        "stream": ("account",),
        "session": ("account",),
        "request": ("session",),
        "event": ("session",),
        "order_executed": ("event",),
        "request_for_quote": ("event",),
        "pair_price": ("event",),
        "order_snapshot": ("event",),
        "trade_snapshot": ("event",),
        "transaction_snapshot": ("event",),
        "withdrawal_snapshot": ("event",),
        "epoch": ("stream",),
        "version": ("epoch", "session"),
        "asset": ("stream",),
        "balance_current": ("asset",),
        "balance_history": ("asset", "version"),
        "exposure_history": ("asset",),
        "exposure_total_history": ("stream",),
        "known_pair": ("account",),
        "pair_current": ("known_pair",),
        "pair_history": ("known_pair", "version"),
        "pair_change": ("known_pair",),
        "gap": ("account",),
        "gap_interval": ("account",),
        "blind_interval": ("stream",),
        "confirmation": ("stream", "session"),
        "freshness": ("account",),
        "sequence_steps": ("stream",),
        "dead_letter": ("session",),
        "dead_letter_summary": ("account",),
        "unaccounted": ("session",),
        "clock_step": ("account",),
        "data_quality": ("account",),
    },
}
"""Of each table or view, those that each of its rows belongs to."""

_COLUMNS = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL),
        coalesce(a.attnum = ANY (k.conkey), false)
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
      AND c.relname <> 'alembic_version'
    ORDER BY c.relname COLLATE "C", a.attnum
"""

Tables = Mapping[str, Mapping[str, tuple[str, bool]]]
"""Of each table and view: its columns with their types, and whether they are part of the primary key."""


def tables(connection: psycopg.Connection, schema: str) -> Tables:
    """As the catalogue has them."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, column, type_, is_key in connection.execute(_COLUMNS, (schema,)):
        found.setdefault(table, {})[column] = (type_, is_key)
    return found


def references(schema: str, found: Tables) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Table, what it refers to, and by which columns. Both have these columns.

    Raises:
        KeyError: the catalogue has no such table.
    """
    for table, parents in PARENTS[schema].items():
        for parent in parents:
            shared = tuple(name for name in IDENTITY[parent] if name in found[table])
            yield table, parent, tuple(name for name in shared if name in found[parent])


def diagram(connection: psycopg.Connection, schema: str) -> str:
    """In Mermaid's language. Of the views for analysts, only the columns by which they are joined."""
    found = tables(connection, schema)
    lines = ["erDiagram"]
    joined: dict[str, set[str]] = {}
    for table, parent, columns in references(schema, found):
        joined.setdefault(table, set()).update(columns)
        joined.setdefault(parent, set()).update(columns)
        by = ", ".join(columns[1:]) or "account"
        key = {name for name, (_, is_key) in found[table].items() if is_key}
        many = "o|" if key and key <= set(columns) else "o{"
        lines.append(f'    {parent} ||--{many} {table} : "{by}"')
    for table, columns_of in found.items():
        shown = columns_of if schema == "ingest" else joined.get(table, columns_of)
        lines.append(f"    {table} {{")
        for name, (type_, is_key) in columns_of.items():
            if name in shown:
                short = type_.replace("timestamp with time zone", "timestamptz").replace(" ", "_")
                lines.append(f"        {short} {name}{' PK' if is_key else ''}")
        lines.append("    }")
    return "\n".join(lines)


def drawn(page: str, connection: psycopg.Connection) -> str:
    """`page` with both diagrams between their markers."""
    for schema in PARENTS:
        begin, end = (f"<!-- drawn from the catalogue: {schema} {edge} -->" for edge in ("begin", "end"))
        before, _, rest = page.partition(begin)
        body = f"{begin}\n```mermaid\n{diagram(connection, schema)}\n```\n{end}"
        page = before + body + rest.partition(end)[2]
    return page


def main() -> None:
    """Migrate a database of its own, and write SCHEMA.md."""
    with (
        postgres_directory() as directory,
        server_under_test(directory) as server,
        fresh_database(server) as url,
    ):
        upgrade_database(url)
        with psycopg.connect(libpq_url(url)) as connection:
            PAGE.write_text(drawn(PAGE.read_text("utf-8"), connection), "utf-8")


if __name__ == "__main__":
    main()
