"""`python -m tests.support.guide` writes the results into the questions of DATA.md.

They are those of the frozen story: a reader sees what a question answers, and a test that it still does.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

import ingestor
from ingestor.app.database import upgrade_database
from tests.support.postgres import fresh_database, libpq_url, postgres_directory, server_under_test
from tests.support.story import tell

DATA = Path(ingestor.__file__).parent / "DATA.md"
_BLOCK = re.compile(r"(```sql\n(?P<statement>.*?)```\n\n```text\n)(?P<result>.*?)(?=```)", re.DOTALL)

Ask = Callable[[str], psycopg.Cursor[Any]]


def questions(text: str) -> str:
    """The part of DATA.md that has them."""
    return text.partition("<!-- queries")[2].partition("## Words")[0]


def answered(text: str, ask: Ask) -> str:
    """The questions with the results that they have now."""
    return _BLOCK.sub(lambda block: block[1] + table(ask(block["statement"])), text)


def table(cursor: psycopg.Cursor[Any]) -> str:
    """Rows under their column names, in columns; an empty cell is null."""
    assert cursor.description is not None
    head = [column.name for column in cursor.description]
    rows = [["" if value is None else str(value) for value in row] for row in cursor.fetchall()]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
    return "\n".join([*lines, *([] if rows else ["(no rows)"])]) + "\n"


def main() -> None:
    """Tell the story in a database of its own, ask, and write DATA.md."""
    with (
        postgres_directory() as directory,
        server_under_test(directory) as server,
        fresh_database(server) as url,
    ):
        upgrade_database(url)
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:

            def write(statement: str, *values: object) -> list[tuple[Any, ...]]:
                connection.execute(statement.encode(), values)
                return []

            tell(write)
            connection.execute("SET timezone = 'UTC'")
            text = DATA.read_text()
            DATA.write_text(text.replace(questions(text), answered(questions(text), ask_on(connection))))


def ask_on(connection: psycopg.Connection[Any]) -> Ask:
    """Runs a statement on this connection."""
    return lambda statement: connection.execute(statement.encode())


if __name__ == "__main__":
    main()
