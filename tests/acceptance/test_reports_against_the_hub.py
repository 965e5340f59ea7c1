"""What the reports call confirmed was so at the hub: checked at random moments of a run with faults.

Invariant I2, as analysts see it. The truth is the hub's own list of its changes, sent or not. Stamps are
those of receipt, so a state may be that of the hub as long before as the slowest push took.
"""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from ingestor.simulator.account import Snapshot
from tests.acceptance.conftest import Query
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SECONDS = 30
MOMENTS = 200
FAULTS: tuple[tuple[Fault, dict[str, float]], ...] = (
    (Fault.DROP, {}),
    (Fault.DROP, {"count": 3}),
    (Fault.DUPLICATE, {}),
    (Fault.GARBAGE, {}),
    (Fault.RST, {}),
    (Fault.FIN, {}),
    (Fault.COMMAND_SILENCE, {"seconds": 2}),
    (Fault.COMMAND_SUBJECT_ERROR, {}),
    (Fault.RESTART, {"seconds": 1}),
    (Fault.NEGOTIATE_STATUS, {"seconds": 1}),
)

State = tuple[datetime, dict[str, tuple[Decimal, Decimal]]]


def held(snapshot: Snapshot) -> dict[str, tuple[Decimal, Decimal]]:
    """What the account held, free and allocated."""
    return {name: (each.available, each.allocated) for name, each in snapshot.holdings.items()}


def trouble(hub: SimulatedHub, random: Random) -> list[State]:
    """Changes and faults for a while; gives each state of the account with the time at which it began."""
    states = [(datetime.now(UTC), held(hub.account.read()))]
    began = last_fault = time.monotonic()
    while time.monotonic() < began + SECONDS:
        before = datetime.now(UTC)
        snapshot = hub.account.reset_sequence() if random.random() < 0.02 else hub.account.change()
        states.append((before, held(snapshot)))
        if time.monotonic() > last_fault + 1.5:
            last_fault = time.monotonic()
            fault, parameters = random.choice(FAULTS)
            hub.inject(fault, **parameters)
        time.sleep(random.choice((0.05, 0.3, 1.0)))  # the pace of the changes, not a wait for anything
    hub.clear_faults()
    return states


def held_at(states: list[State], at: datetime, lag: timedelta) -> list[Mapping[str, tuple[Decimal, Decimal]]]:
    """What the account held at some time between so long before and the moment."""
    began_before = [number for number, (began, _) in enumerate(states) if began <= at - lag]
    first = began_before[-1] if began_before else 0
    return [state for began, state in states[first:] if began <= at]


def test_what_is_called_confirmed_was_so(database: str, sql: Query) -> None:
    random = Random(20261126)
    with SimulatedHub(HubConfig(seed=7)) as hub:
        settings = Settings(
            account="main",
            hub=Hub(environment=Environment.CUSTOM, url=hub.url, backoff_cap_seconds=1),
            snapshots=Snapshots(balances_interval_seconds=3, reply_deadline_seconds=1, retry_cap_seconds=1),
        )
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=30)
            states = trouble(hub, random)
            last = hub.account.read().sequence
            eventually(
                lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances' AND sequence = %s", last),
                within=60,
            )
        finally:
            ingestor.stop(10.0)

    lag = slowest_push(sql, states)
    span = states[-1][0] - states[0][0]
    moments = [states[0][0] + random.random() * span for _ in range(10 * MOMENTS)]
    said: dict[datetime, tuple[str, dict[str, tuple[Decimal, Decimal]]]] = {}
    for at, asset, available, allocated, certainty in sql(
        "SELECT as_of, asset, available, allocated, certainty FROM report.balance_at_each(%s) "
        "WHERE certainty <> 'before_first'",
        moments,
    ):
        said.setdefault(at, (certainty, {}))[1][asset] = (available, allocated)
    right = {at: state in held_at(states, at, lag) for at, (_, state) in said.items()}
    confirmed = [at for at, (certainty, _) in said.items() if certainty == "confirmed"]
    print(
        f"\n{len(states)} states, {len(confirmed)} of {len(said)} moments confirmed, pushes took up to {lag}"
    )

    assert lag < timedelta(seconds=1)
    assert [at for at in confirmed if not right[at]] == []
    assert len(confirmed) >= MOMENTS
    # There was something to be wrong about.
    assert [at for at in said if not right[at]]


def slowest_push(sql: Query, states: list[State]) -> timedelta:
    """The longest time from a state's beginning to its receipt, of those pushed and applied."""
    began = {tuple(sorted(state.items())): at for at, state in states}
    taken = [timedelta(0)]
    for (valid_from,) in sql(
        "SELECT valid_from FROM ingest.version WHERE kind = 'balances' AND origin = 'pushed'"
    ):
        received = {
            asset: (available, allocated)
            for asset, available, allocated in sql(
                "SELECT asset, available, allocated FROM report.balance_as_of(%s)", valid_from
            )
        }
        at = began.get(tuple(sorted(received.items())))
        if at is not None and at <= valid_from:
            taken.append(valid_from - at)
    return max(taken) + timedelta(milliseconds=20)
