"""The screen of `ingestor top`: everything is there, within 80 columns, without colour."""

from datetime import datetime, timedelta

import pytest

from ingestor.app.activity import Activity, activity
from ingestor.app.daemon_status import DaemonStatus
from ingestor.cli.screen import WIDTH, bars, screen
from ingestor.domain.gaps import Gap, GapKind
from ingestor.domain.streams import Kind
from ingestor.pipeline.recent import BOUNDS_MS, Recently
from ingestor.pipeline.state import State
from tests.support.daemon_status import daemon_status
from tests.support.feed import Feed
from tests.support.items import SESSION, at, balances

NOTHING = State()


def recently(*latency: int, bars: tuple[int, ...] = ()) -> Recently:
    return Recently(
        18.1, [*[0] * (60 - len(bars)), *bars], [*latency, *[0] * (len(BOUNDS_MS) + 1 - len(latency))]
    )


def drawn(
    seen: DaemonStatus, state: State = NOTHING, last: Recently | None = None, now: datetime | None = None
) -> list[str]:
    value: Activity = activity("main", seen, state, last or recently(), now or at(3_600))
    return screen(value).plain.split("\n")


def gap(cause: str, minute: int) -> Gap:
    opened = at(60 * minute)
    return Gap(GapKind.DISCONNECTED, SESSION, 1, 0, opened, opened, None, cause, frozenset(Kind), arrival=0)


def test_a_daemon_that_is_well() -> None:
    shown = drawn(daemon_status(outcomes={"applied": 7}), last=recently(0, 40, 1, bars=(4, 8)))

    assert shown[0].startswith("ingestor ")
    assert shown[0].endswith(" UTC")
    assert "ready     yes" in shown
    assert "link      up" in shown
    assert "outcomes  applied 7" in shown
    assert f"records   {' ' * 58}▄█▏" in shown
    assert f"latency   ≤ 2 ms    {'█' * 40} 40" in shown
    assert [line.split() for line in shown if "≤ 5 ms" in line] == [["≤", "5", "ms", "█", "1"]]
    assert "gaps      none open" in shown
    assert "requests  none open" in shown


def test_what_is_wrong_is_said_in_words() -> None:
    feed = Feed()
    feed.apply(feed.opened(), feed.requested("1"))
    state = State(gaps=tuple(gap(f"cause{n}", n) for n in range(8)), requests=feed.state.requests)
    seen = daemon_status(
        link="waiting", connection_error="reset", open_gaps=8, dropped=3, inbox_records=5_000, outcomes={}
    )

    shown = drawn(seen, state, now=feed.now + timedelta(hours=1))

    assert "ready     no" in shown
    assert "          link: waiting, reset" in shown
    assert "latency   no commit in the last ten minutes" in shown
    assert "inbox     [##########          ] 5000 of 10000 records waiting   3 dropped" in shown
    newest = next(line for line in shown if line.startswith("gaps "))
    assert newest.startswith("gaps      disconnected, cause7, open for 53 min, still missing")
    assert "          and 3 more" in shown
    assert "requests  GetBalances, schedule, sent 60 min ago" in shown


def test_streams_are_told_with_their_age() -> None:
    feed = Feed()
    feed.apply(feed.opened(), feed.received(balances(5)))

    well = drawn(daemon_status(), feed.state, now=feed.now + timedelta(seconds=4))
    late = drawn(daemon_status(), feed.state, now=feed.now + timedelta(minutes=4))

    assert "streams   balances  sequence 5, epoch 1, confirmed 4.0 s ago" in well
    assert "streams   balances  sequence 5, epoch 1, confirmed 4 min ago, overdue" in late


@pytest.mark.parametrize("number", [0, 10**15])
def test_no_line_is_longer_than_a_narrow_terminal(number: int) -> None:
    outcomes = dict.fromkeys(("applied", "conflict", "duplicate", "ignored", "pending", "stale"), number)
    counts = {"records": number, "open_gaps": number, "dropped": number, "inbox_records": number}
    seen = daemon_status(outcomes=outcomes, link="x" * 90, **counts)

    shown = drawn(seen, State(gaps=(gap("a" * 100, 1),)), recently(number, bars=(number,)))

    assert max(map(len, shown)) <= WIDTH


def test_a_sparkline_shows_the_smallest_count_and_no_count_differently() -> None:
    assert bars([0, 1, 500, 1_000]) == " ▁▄█"
    assert bars([]) == ""
