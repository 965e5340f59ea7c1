"""Pairs and their limits at any moment: golden rows over the frozen story."""

from datetime import timedelta

import pytest

from tests.support.rows import Query, account
from tests.support.story import Versions, open_session, pair

AS_OF = (
    "SELECT name, max_size, listed, certainty FROM report.pair_as_of(%s) WHERE account = 'main' ORDER BY name"
)


@pytest.mark.parametrize(
    ("moment", "btc", "eth"),
    [
        ("03 08:00", (None, None, "before_first"), (None, None, "before_first")),
        ("03 09:30", (100, True, "confirmed"), (50, True, "confirmed")),
        ("03 09:57", (100, True, "last_known"), (50, True, "last_known")),
        ("03 10:00", (200, True, "confirmed"), (50, True, "confirmed")),
        ("03 11:00", (200, True, "confirmed"), (50, False, "confirmed")),
        # The list is the same after the outage.
        ("03 12:00:05", (200, True, "confirmed"), (50, False, "confirmed")),
        ("31 12:30", (200, True, "in_gap"), (50, False, "in_gap")),
    ],
)
def test_the_limits_of_a_moment(
    moment: str, btc: tuple[object, ...], eth: tuple[object, ...], story: Query
) -> None:
    assert story(AS_OF, f"2025-03-{moment}+00") == [("BTCEUR", *btc), ("ETHEUR", *eth)]


def test_the_history_of_a_pair(story: Query) -> None:
    assert story(
        "SELECT name, to_char(valid_from, 'HH24:MI'), to_char(valid_to, 'HH24:MI'), max_size, listed "
        "FROM report.pair_history ORDER BY 1, 2"
    ) == [
        ("BTCEUR", "09:00", "10:00", 100, True),
        ("BTCEUR", "10:00", None, 200, True),
        ("ETHEUR", "09:00", "11:00", 50, True),
        ("ETHEUR", "11:00", None, 50, False),
    ]


def test_each_change_of_a_limit_is_dated(story: Query) -> None:
    assert story(
        "SELECT name, to_char(previous_confirmed_until, 'HH24:MI'), to_char(changed_at, 'HH24:MI'), "
        "field, before, after FROM report.pair_change WHERE NOT is_first ORDER BY changed_at"
    ) == [
        ("BTCEUR", "09:55", "10:00", "max_size", "100", "200"),
        ("ETHEUR", "10:55", "11:00", "listed", "true", "false"),
    ]


def test_only_what_is_listed_is_current(story: Query) -> None:
    assert story("SELECT name, max_size, certainty FROM report.pair_current") == [("BTCEUR", 200, "in_gap")]


def test_a_pushed_list_does_not_date_its_change(sql: Query) -> None:
    """Lists have no number of the hub's, so one between two others may have been missed."""
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    open_session(sql, "main", "A", "2025-03-03 08:59:59+00")
    version = Versions(sql, "main", "", kind="pairs")
    version("03 09:00:00", "A", 1, 1, "answered")
    pair(sql, "03 09:00:00", 1, "BTCEUR", "100")
    version("03 10:00:00", "A", 1, 2, before="03 09:55:00")
    pair(sql, "03 10:00:00", 2, "BTCEUR", "200")
    version.stand("03 11:00:00")

    for moment, row in (
        ("09:55", (100, "confirmed")),
        ("09:57", (100, "last_known")),
        ("10:00", (200, "confirmed")),
    ):
        assert sql(AS_OF, f"2025-03-03 {moment}+00") == [("BTCEUR", row[0], True, row[1])]
    for until in ("10:00", "11:00"):
        assert sql(
            "SELECT cause, duration FROM report.coverage('2025-03-03 09:00+00', %s) "
            "WHERE cause <> 'known' ORDER BY cause",
            f"2025-03-03 {until}+00",
        ) == [("unconfirmed", timedelta(minutes=5))]
    assert sql(
        "SELECT cause, duration FROM report.coverage('2025-03-03 09:50+00', '2025-03-03 09:58+00') ORDER BY 1"
    ) == [("known", timedelta(minutes=5)), ("unconfirmed", timedelta(minutes=3))]
