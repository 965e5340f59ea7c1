"""The data dictionary of schema `report`, read from the catalogue's own comments.

`python -m ingestor.adapters.postgres.dictionary URL` prints the part of `ingestor/DATA.md` that is generated.
"""

import sys

import psycopg

from ingestor.adapters.postgres.reading import rows

_COLUMNS = """
    SELECT c.relname AS view, obj_description(c.oid, 'pg_class') AS about,
           a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
           col_description(c.oid, a.attnum) AS meaning
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = 'report' AND c.relkind = 'v'
    ORDER BY c.relname, a.attnum
"""


def dictionary(connection: psycopg.Connection) -> str:
    """Markdown: a section per view, a row per column."""
    lines: list[str] = []
    view = None
    for row in rows(connection, _COLUMNS):
        if row.view != view:
            view = row.view
            lines += ["", f"### report.{view}", "", row.about or "", ""]
            lines += ["| column | type | meaning |", "|---|---|---|"]
        lines.append(f"| `{row.column}` | {row.type} | {row.meaning or ''} |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as opened:
        sys.stdout.write(dictionary(opened))
