"""The questions of DATA.md have the results that stand there, and each view and function has a question."""

import re

import psycopg

from tests.support.guide import DATA, answered, ask_on, questions
from tests.support.postgres import libpq_url
from tests.support.rows import Query

ELSEWHERE = {
    "account", "allowed_field", "as_number", "as_time", "asset", "bucket", "clock_step", "contract_version",
    "dead_letter", "dead_letter_summary", "decoded_event", "exposure_history", "gap_interval", "known_pair",
    "local_moment", "maintenance_window", "order_snapshot", "pair_current", "pair_history", "pair_price",
    "request_for_quote", "session", "size", "stream", "stream_as_of", "trade_snapshot",
    "transaction_snapshot", "unaccounted", "withdrawal_snapshot",
}  # fmt: skip
"""In the dictionary only: lists without a caveat, and what others are made of."""


def test_the_results_are_current(database: str, story: Query) -> None:
    """Renew them by the command that stands in the marker."""
    text = questions(DATA.read_text())
    assert text.count("```sql") >= 25
    assert text.count("```sql") == text.count("```text")
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        assert answered(text, ask_on(connection)) == text


def test_every_view_and_function_has_a_question_or_is_a_plain_list(sql: Query) -> None:
    asked = set(re.findall(r"report\.(\w+)", questions(DATA.read_text())))
    made = {
        name
        for (name,) in sql(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'report'::regnamespace "
            "AND relkind IN ('v', 'r') "
            "UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'report'::regnamespace"
        )
    }
    assert asked - made == set()
    assert made - asked == ELSEWHERE


def test_no_question_takes_more_than_five_lines() -> None:
    blocks = re.findall(r"```sql\n(.*?)```", questions(DATA.read_text()), re.DOTALL)
    assert [block for block in blocks if len(block.splitlines()) > 5] == []
