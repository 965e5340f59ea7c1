"""The data dictionary of schema `report`, read from its view `dictionary`, which reads the catalogue's
comments.

`python -m tests.support.dictionary URL` prints the part of `ingestor/DATA.md` that is generated.
"""

import sys

import psycopg

from ingestor.adapters.postgres.reading import rows

_COLUMNS = """
    SELECT view, question, "column", type, unit, comment
    FROM report.dictionary
    ORDER BY view COLLATE "C", place
"""


def dictionary(connection: psycopg.Connection) -> str:
    """Markdown: a section per view, table and function, a row per column."""
    lines: list[str] = []
    view = None
    for row in rows(connection, _COLUMNS):
        if row.view != view:
            view = row.view
            lines += ["", f"### report.{view}", "", row.question, ""]
            lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{row.column}` | {row.type} | {row.unit or ''} | {row.comment} |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as opened:
        sys.stdout.write(dictionary(opened))
