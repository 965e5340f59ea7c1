"""What several losses in a row say about our settings."""

from ingestor.adapters.hub.losses import HINTS, PING_INTERVAL, RECEIVE_DEADLINE, Losses
from ingestor.config import Hub


def add(losses: Losses, cause: str, *, now: float = 0.0, lived: float = 9.0, pings: int = 0) -> str | None:
    return losses.add(now, cause, lived_seconds=lived, pings=pings, ping_seconds=10.0)


def test_the_third_silent_loss_in_a_row_names_the_deadline() -> None:
    losses = Losses()
    named = [add(losses, "silent", lived=35, pings=3) for _ in range(6)]
    assert named == [None, None, RECEIVE_DEADLINE] * 2


def test_a_hub_that_drops_silent_clients_names_the_ping_interval() -> None:
    losses = Losses()
    assert [add(losses, cause) for cause in ("eof", "reset", "closed_by_hub")][-1] == PING_INTERVAL
    watched_from_the_first_ping_on = [add(losses, "closed_by_hub", lived=18, pings=1) for _ in range(3)]
    assert watched_from_the_first_ping_on[-1] == PING_INTERVAL


def test_losses_of_another_kind_between_them_begin_anew() -> None:
    losses = Losses()
    causes = ["silent", "silent", "eof", "silent", "silent"]
    assert [add(losses, cause) for cause in causes] == [None] * 5


def test_sessions_in_which_we_pinged_twice_or_that_ended_at_once_name_nothing() -> None:
    losses = Losses()
    assert [add(losses, "eof", lived=28, pings=2) for _ in range(4)] == [None] * 4
    assert [add(losses, "eof", lived=0.1) for _ in range(4)] == [None] * 4
    assert [add(losses, "eof", lived=10.1, pings=1) for _ in range(4)] == [None] * 4


def test_losses_count_for_an_hour() -> None:
    losses = Losses()
    for now in (0.0, 10.0, 3000.0):
        add(losses, "eof", now=now)
    assert [losses.count(now) for now in (3000.0, 3605.0, 6601.0)] == [3, 2, 0]


def test_what_is_named_is_a_setting_and_has_a_hint() -> None:
    assert set(HINTS) == {RECEIVE_DEADLINE, PING_INTERVAL}
    assert all(name.removeprefix("hub.") in Hub.__dataclass_fields__ for name in HINTS)
