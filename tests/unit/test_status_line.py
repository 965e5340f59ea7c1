"""The line of `systemctl status`: the worst first, plain words, at most 80 characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.adapters.hub.states import LinkState
from ingestor.app.daemon_status import in_short, span, status_line, stuck
from tests.support.daemon_status import daemon_status

SOCKET = (
    "the database cannot be reached\n"
    'why: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory '
    "Is the server running locally and accepting connections on that socket?\n"
    "fix: make sure that the server runs, and that database.url names it"
)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "up · sequence 25609 · commit 0.1 s ago · 0 gaps"),
        (
            {"turns": {"writer": 31.0, "request scheduler": 0.1}},
            "writer stuck for 31 s · up · sequence 25609 · commit 0.1 s ago · 0 gaps",
        ),
        ({"standby": True, "started": False}, "standby: another process writes the account"),
        (
            {"started": False, "link": "idle", "sequence": None, "seconds_since_commit": None},
            "starting · idle · no commit yet · 0 gaps",
        ),
        (
            {"ended_thread": "link", "dropping": 3},
            "link has ended · dropping 3 · up · sequence 25609 · commit 0.1 s ago · 0 gaps",
        ),
        ({"open_gaps": 1}, "up · sequence 25609 · commit 0.1 s ago · 1 gap"),
        (
            {"sequence": None, "seconds_since_commit": None},
            "up · no snapshot yet · no commit yet · 0 gaps",
        ),
        (
            {"links_lost_last_hour": 14},
            "up · sequence 25609 · commit 0.1 s ago · 0 gaps · 14 links lost in 1 h",
        ),
        (
            {"links_lost_last_hour": 1},
            "up · sequence 25609 · commit 0.1 s ago · 0 gaps · 1 link lost in 1 h",
        ),
        ({"dropped": 7}, "up · sequence 25609 · commit 0.1 s ago · 0 gaps · 7 dropped"),
        ({"link": "paused", "open_gaps": 1}, "paused by an operator · commit 0.1 s ago · 1 gap"),
        ({"link": "negotiating", "seconds_since_commit": 34.2}, "negotiating · commit 34 s ago · 0 gaps"),
        (
            {"link": "waiting", "connection_error": "reset", "next_attempt_in_seconds": 12.3},
            "no link (reset) · next try in 12 s · commit 0.1 s ago · 0 gaps",
        ),
        (
            {
                "link": "waiting",
                "connection_error": "http_401",
                "key_refused": True,
                "next_attempt_in_seconds": 240.0,
                "seconds_since_commit": None,
            },
            "key refused by the hub (401) · next try in 4 min · no commit yet · 0 gaps",
        ),
        (
            {
                "dropping": 2155,
                "dropped": 3000,
                "retrying": SOCKET,
                "seconds_retrying": 600.0,
                "inbox_records": 10_000,
            },
            "dropping 2155 · database away 10 min (no socket) · 10000/10000 waiting · up",
        ),
        (
            {"retrying": "53100: could not extend file", "seconds_retrying": 3.0, "inbox_records": 12},
            "no commit for 3.0 s (53100: could not extend file) · 12/10000 waiting · up",
        ),
    ],
)
def test_the_worst_comes_first(changed: dict[str, object], line: str) -> None:
    assert status_line(daemon_status(**changed)) == line
    assert len(line) <= 80


SECONDS = st.floats(0, 1e9)
COUNTS = st.integers(0, 10**12)
TEXT = st.text(min_size=1, max_size=200)
CHANGES = {
    "standby": st.booleans(),
    "started": st.booleans(),
    "ended_thread": st.none() | st.sampled_from(["hub key", "database deadline"]),
    "turns": st.fixed_dictionaries(
        dict.fromkeys(("writer", "request scheduler", "link supervisor", "database deadline"), SECONDS)
    ),
    "dropping": COUNTS,
    "dropped": COUNTS,
    "retrying": st.none() | TEXT | TEXT.map(lambda text: f"53100: {text}"),
    "seconds_retrying": SECONDS,
    "inbox_records": COUNTS,
    "link": st.sampled_from([each.value for each in LinkState]),
    "connection_error": st.none() | st.text(max_size=200),
    "key_refused": st.booleans(),
    "next_attempt_in_seconds": st.none() | SECONDS,
    "sequence": st.none() | st.integers(0, 2**63),
    "seconds_since_commit": st.none() | SECONDS,
    "open_gaps": COUNTS,
    "links_lost_last_hour": COUNTS,
}
WORST = (
    ("standby", lambda now: now.standby),
    ("starting", lambda now: not now.started),
    ("{ended} has ended", lambda now: now.ended_thread is not None),
    ("{stuck} stuck for ", lambda now: stuck(now.turns)),
    ("dropping {dropping}", lambda now: now.dropping),
    ("", lambda now: True),
)
"""How the line begins, the worst first, and when."""


@given(st.fixed_dictionaries(CHANGES))
def test_whatever_happens_it_has_80_characters_at_most_and_begins_with_the_worst(
    changed: dict[str, object],
) -> None:
    now = daemon_status(**changed)
    line = status_line(now)
    begins = next(words for words, holds in WORST if holds(now))
    named = {"ended": now.ended_thread, "stuck": next(iter(stuck(now.turns)), None), "dropping": now.dropping}
    assert 0 < len(line) <= 80
    assert line.startswith(begins.format(**named))


def test_a_long_reason_is_cut_and_what_does_not_fit_is_left_out() -> None:
    line = status_line(
        daemon_status(
            dropping=10**9,
            retrying="XX000: " + "long " * 100,
            seconds_retrying=1e7,
            inbox_records=10**6,
            inbox_max_records=10**6,
            connection_error="x" * 100,
        )
    )
    assert line == "dropping 1000000000 · no commit for 116 days (XX000: long long long long…) · up"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.2, "0.0 s"),
        (0.13, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (172_800, "2 days"),
    ],
)
def test_a_length_of_time_is_short(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_reason_is_told_in_short() -> None:
    assert in_short(SOCKET) == "no socket"
    assert in_short("the connection was lost: server closed the connection") == "connection lost"
    assert in_short("") == ""
