"""Pairs and their limits at any moment: golden rows over the frozen story."""

import pytest

from tests.support.rows import Query

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
