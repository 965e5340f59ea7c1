"""The line of `systemctl status`: the worst first, plain words, at most 80 characters."""

import pytest

from ingestor.app.picture import in_short, span, status_line
from tests.support.pictures import picture

SOCKET = (
    "the database cannot be reached\n"
    'why: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory '
    "Is the server running locally and accepting connections on that socket?\n"
    "fix: see that the server runs, and that database.url names it"
)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "up · sequence 25609 · commit 0.1 s ago · 0 gaps"),
        ({"open_gaps": 1}, "up · sequence 25609 · commit 0.1 s ago · 1 gap"),
        (
            {"sequence": None, "seconds_since_commit": None},
            "up · no snapshot yet · no commit yet · 0 gaps",
        ),
        (
            {"links_lost_last_hour": 14},
            "up · sequence 25609 · commit 0.1 s ago · 0 gaps · 14 links lost in 1 h",
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
    assert status_line(picture(**changed)) == line
    assert len(line) <= 80


def test_it_is_never_longer_than_80_characters() -> None:
    line = status_line(
        picture(
            dropping=10**9,
            retrying="XX000: " + "long " * 100,
            seconds_retrying=1e7,
            inbox_records=10**6,
            inbox_max_records=10**6,
            connection_error="x" * 100,
        )
    )
    assert line.startswith("dropping 1000000000 · no commit for 116 days (XX000: long")
    assert len(line) <= 80


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
