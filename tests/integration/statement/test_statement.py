"""A statement of any period over the frozen story: each part has what lies in it, and nothing else."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from ingestor.app import statement as statements
from ingestor.config import load
from tests.integration.statement.story import ROME, cells
from tests.integration.statement.test_charts import LINE, paths
from tests.support.rows import Query
from tests.support.story import tell


@pytest.fixture
def story(sql: Query) -> Query:
    tell(sql)
    return sql


def written(database: str, account: str, since: str, until: str, *assets: str) -> str:
    """Given in UTC; the page has the times of Rome, in winter an hour later."""
    settings = load(environ={"INGESTOR_ACCOUNT": account, "INGESTOR_DATABASE__URL": database}).settings
    begin, end = (datetime.fromisoformat(f"{at}+00:00").astimezone(ROME) for at in (since, until))
    return statements.statement(settings, begin, end, ROME, assets)


def table(html: str, *head: str) -> list[list[str]]:
    """The rows below this head, up to the next one."""
    rows = cells(html)
    begin = next(place for place, row in enumerate(rows, 1) if row[: len(head)] == list(head))
    heads = {"Balances", "Observed", "Kind", "From", "Command"}
    end = next((place for place in range(begin, len(rows)) if rows[place][0] in heads), len(rows))
    return rows[begin:end]


def test_the_changes_of_a_period_and_no_others(story: Query, database: str) -> None:
    """The first change of an asset counts from the opening balance."""
    html = written(database, "main", "2025-03-03 10:30", "2025-03-03 14:00:01")

    assert table(html, "Observed", "Asset") == [
        ["2025-03-03 12:00:00", "EUR", "-100", "900", "last known"],
        ["2025-03-03 15:00:00", "BTC", "86.5", "99", "confirmed"],
    ]
    assert table(html, "Observed", "Pair") == [["2025-03-03 12:00:00", "ETHEUR", "listed", "true", "false"]]


def test_what_changed_at_the_moment_between_two_periods_is_a_movement_of_the_first(
    story: Query, database: str
) -> None:
    """As the closing balance of the one and the opening balance of the other have it."""
    first, second = (
        table(written(database, "main", *period, "BTC"), "Observed", "Asset")
        for period in (("2025-03-30 12:00", "2025-03-30 22:00"), ("2025-03-30 22:00", "2025-03-31 10:00"))
    )

    assert [row[:4] for row in first] == [["2025-03-31 00:00:00", "BTC", "1", "9"]]
    assert second == [["No balance changed."]]


def test_a_change_has_all_its_digits(story: Query, database: str) -> None:
    story(
        "UPDATE ingest.balance SET available = 98765432.1234567890123456789012345678 "
        "WHERE account = 'main' AND asset = 'BTC' AND sequence = 101"
    )
    html = written(database, "main", "2025-03-03 09:30", "2025-03-03 10:30", "BTC")

    (row,) = [row for row in cells(html) if row[0] == "BTC" and len(row) == 9]
    assert [cell.replace(" ", "") for cell in row[1:5:2]] == ["10", "98765422.6234567890123456789012345678"]


def test_the_largest_movements_are_shown(
    story: Query, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_LARGEST", 1)
    html = written(database, "main", "2025-03-03 09:30", "2025-03-04 00:00")

    assert [row[:3] for row in table(html, "Observed", "Asset")] == [["2025-03-03 16:30:00", "EUR", "-900"]]


def test_what_a_pair_began_with_is_no_change(story: Query, database: str) -> None:
    html = written(database, "main", "2025-03-03 00:00", "2025-03-04 00:00")

    assert [row[1:3] for row in table(html, "Observed", "Pair")] == [
        ["BTCEUR", "max size"],
        ["ETHEUR", "listed"],
    ]


def test_a_period_that_has_not_ended_is_told_up_to_now(story: Query, database: str) -> None:
    today = datetime.now(UTC).date()
    html = written(database, "main", f"{today} 00:00", f"{today + timedelta(days=2)} 00:00")
    found = re.search(r"to (\S+ \S+), Europe/Rome · custom ·\s+as known at (\S+ \S+)</p>", html)

    assert found is not None
    assert found[1] == found[2]


def test_the_gaps_that_reach_into_a_period(story: Query, database: str) -> None:
    def gaps(since: str, until: str) -> list[list[str]]:
        return [row[:3] for row in table(written(database, "main", since, until), "Kind")]

    assert gaps("2025-03-03 12:00:10", "2025-03-03 13:04") == [
        ["disconnected", "eof", "1"],
        ["disconnected", "reset", "1"],
    ]
    assert gaps("2025-03-06 00:00", "2025-03-07 00:00") == [["None."]]
    assert gaps("2025-04-02 00:00", "2025-04-03 00:00") == [["disconnected", "stopped", "1"]]


def test_coverage_is_that_of_the_present_user(story: Query, database: str) -> None:
    html = written(database, "polled", "2025-03-03 23:00", "2025-03-04 23:00")

    assert table(html, "Balances") == [
        ["known", "22.9 h", "95.41 %"],
        ["before first", "65.0 min", "4.51 %"],
        ["unconfirmed", "60.0 s", "0.06 %"],
    ]


def test_the_answers_of_the_hub_to_this_account(story: Query, database: str) -> None:
    html = written(database, "polled", "2025-03-03 23:00", "2025-03-04 23:00")
    assert table(html, "Command") == [["GetBalances", "4", "1", "1000 ms", "1000 ms"]]
    html = written(database, "main", "2025-03-03 23:00", "2025-03-04 23:00")
    assert table(html, "Command")[0] == ["Nothing was requested."]


def test_the_chart_of_an_asset_has_its_totals(story: Query, database: str) -> None:
    """7, from the 30th on 8, and 9 from its end on."""
    (line,) = paths(written(database, "main", "2025-03-29 23:00", "2025-03-31 10:00", "BTC"), LINE)
    seven, eight, nine = dict.fromkeys(y for _, y in line)

    assert seven > eight > nine, "upwards"
    assert seven - eight == pytest.approx(eight - nine)
