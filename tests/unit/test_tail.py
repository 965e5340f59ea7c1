"""What a reader of `ingestor tail` gets: what it asked for, in parts, masked."""

import pytest

from ingestor.app import tail as module
from ingestor.app.tail import TailPart, TailQuery, part
from ingestor.logs import register_secret
from tests.support.feed import USER
from tests.support.items import balances, envelope, invocation, pairs
from tests.support.tailing import Watched

SECRET = "a-canary-that-must-not-be-seen"


@pytest.fixture
def here() -> Watched:
    """Balances 1, a repeat of them, pairs, an unknown subject and garbage, committed while it is watched."""
    made = Watched()
    made.seen(None)
    made.receive(1, 1)
    made.commit(made.feed.received(pairs(["BTCUSDT"])))
    made.commit(made.feed.received(invocation(envelope("news", {"headline": SECRET}))))
    made.commit(made.feed.received(b"garbage"))
    return made


def asked(here: Watched, **filters: object) -> TailPart:
    query = TailQuery(**{"cursor": "p:0", **filters}).encoded()  # type: ignore[arg-type]
    return part(here.tail, "p", query)


def test_everything_is_shown_with_what_became_of_it(here: Watched) -> None:
    got = asked(here)

    assert [(each.number, each.outcome, each.stream, each.sequence) for each in got.events] == [
        (1, "applied", "balances", 1),
        (2, "duplicate", "balances", 1),
        (3, "applied", "pairs", 1),
        (4, "ignored", None, None),
        (5, "quarantined", None, None),
    ]
    assert (got.cursor, got.missed, got.more) == ("p:5", 0, False)
    assert {each.record for each in got.events} == {None}


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"streams": ["balances"]}, [1, 2]),
        ({"streams": ["balances", "pairs"]}, [1, 2, 3]),
        ({"outcomes": ["duplicate", "quarantined"]}, [2, 5]),
        ({"subjects": ["Execution.Pairs"]}, [3]),
        ({"streams": ["balances"], "outcomes": ["applied"]}, [1]),
        ({"subjects": ["nothing"]}, []),
    ],
)
def test_filters(here: Watched, filters: dict[str, object], numbers: list[int]) -> None:
    got = asked(here, **filters)
    assert [each.number for each in got.events] == numbers
    assert got.cursor == "p:5"


def test_many_events_come_in_parts(here: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """I13."""
    monkeypatch.setattr(module, "_MOST_EVENTS", 2)
    first = asked(here)
    second = asked(here, cursor=first.cursor)
    third = asked(here, cursor=second.cursor)

    parts = [[each.number for each in got.events] for got in (first, second, third)]
    assert parts == [[1, 2], [3, 4], [5]]
    assert [first.more, second.more, third.more] == [True, True, False]


@pytest.mark.parametrize("cursor", ["", "another:2", "p:x", "garbage"])
def test_a_cursor_that_is_none_of_ours_begins_now(here: Watched, cursor: str) -> None:
    got = asked(here, cursor=cursor)
    assert (got.events, got.cursor, got.missed) == ([], "p:5", 0)


def test_a_record_is_shown_on_request_and_masked(here: Watched) -> None:
    """I18."""
    register_secret(SECRET)
    texts = {each.number: each.record or "" for each in asked(here, with_record=True).events}

    assert "account.balances.snapshot" in texts[1]
    assert USER not in "".join(texts.values())
    assert SECRET not in "".join(texts.values())
    assert "headline" in texts[4]
    assert texts[5] == "garbage"


def test_a_long_record_is_shown_by_its_head(here: Watched) -> None:
    here.commit(here.feed.received(balances(2, assets={f"A{n}": n for n in range(200)})))
    (event,) = asked(here, cursor="p:5", with_record=True).events
    assert event.size > 2_000
    assert len(event.record or "") <= 500
