"""One bad event among a thousand good ones, through the whole path: the good ones apply, the bad one is kept
apart with its reason, the link stays, and not one digit differs.

Invariants I1, I8.
"""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.hub_records import account, asset, envelope
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

GOOD = 1_000
END = b"\x1e"
LONG = "9" * 39 + "." + "1"


def invocation(*envelopes: str) -> bytes:
    return ('{"type":1,"target":"executionEvents","arguments":[' + ",".join(envelopes) + "]}").encode()


def balances(sequence: int, *assets: str, more: str = ',"deleted":false') -> bytes:
    data = account(*assets, sequence=str(sequence), user_id='"content"', more=more)
    return invocation(envelope(json.dumps(data), client=""))


def good(sequence: int) -> bytes:
    """Digits that a float would lose: eighteen behind the point, and trailing zeros."""
    return balances(
        sequence,
        asset('"BTC"', f"{sequence}.123456789012345678"),
        asset('"USDT"', f"0.{sequence:018d}00"),
    )


def bad_data(data: str) -> bytes:
    return invocation(envelope(json.dumps(data), client=""))


# The family and what is wrong: the record, its outcome, and the reason on record.
CASES: dict[str, tuple[bytes, str, str | None]] = {
    "M1 not JSON": (b'{"type":1,"target":', "quarantined", "not_json"),
    "M1 invalid UTF-8": (
        b'{"type":1,"target":"executionEvents","arguments":[{"subject":"\xff\xfe"}]}',
        "quarantined",
        "not_utf8",
    ),
    "M1 a bare array": (b"[1,2,3]", "quarantined", "not_a_hub_message"),
    "M1 data is null": (
        invocation(envelope("null", client="")),
        "quarantined",
        "wrong_type",
    ),
    "M2 NaN": (balances(5, asset(available="NaN")), "quarantined", "bad_number"),
    "M2 too many digits": (balances(5, asset(available="1" * 41)), "quarantined", "bad_number"),
    "M2 too large an exponent": (balances(5, asset(available="1e400000")), "quarantined", "bad_number"),
    "M2 a boolean": (balances(5, asset(available="true")), "quarantined", "bad_number"),
    "M3 too deep": (
        bad_data('{"userId":"content","sequence":5,"assets":[],"x":' + "[" * 64 + "]" * 64 + "}"),
        "quarantined",
        "too_deep",
    ),
    "M3 too many assets": (
        balances(5, *(asset(f'"A{n}"') for n in range(5_001))),
        "quarantined",
        "too_many",
    ),
    "M4 duplicate key": (
        bad_data('{"userId":"content","sequence":5,"sequence":6,"assets":[]}'),
        "quarantined",
        "duplicate_key",
    ),
    "M4 missing field": (bad_data('{"userId":"content","sequence":5}'), "quarantined", "missing_field"),
    "M4 a sequence that is text": (
        bad_data('{"userId":"content","sequence":"5","assets":[]}'),
        "quarantined",
        "bad_sequence",
    ),
    "M5 unknown subject": (
        invocation(envelope('"{}"', subject='"account.moon.landed"', client="")),
        "ignored",
        "unhandled_subject",
    ),
    "M6 NUL in a name": (balances(5, asset('"B\\u0000TC"')), "quarantined", "bad_name"),
    "M6 lone surrogate": (balances(5, asset('"\\ud800"')), "quarantined", "bad_name"),
    "M7 SQL in the name of an unknown user's asset": (
        bad_data('{"userId":"\'); DROP TABLE ingest.outcome; --","sequence":-1,"assets":[]}'),
        "quarantined",
        "bad_sequence",
    ),
    "M8 a forged log line": (
        invocation(envelope('"{}"', subject='"x\\n<3>{\\"event\\":\\"forged\\"}\\u001b[31m"', client="")),
        "ignored",
        "unhandled_subject",
    ),
}


@pytest.fixture
def quiet_hub() -> Iterator[SimulatedHub]:
    with SimulatedHub(HubConfig(seed=5)) as hub:
        yield hub


@pytest.fixture
def ingestor(quiet_hub: SimulatedHub, database: str) -> Iterator[Ingestor]:
    settings = Settings(account="content", hub=Hub(environment=Environment.CUSTOM, url=quiet_hub.url))
    made = Ingestor(settings, database, lambda: quiet_hub.config.api_key)
    made.start(threading.Event(), lambda _: None)
    eventually(lambda: made.daemon_status().outcomes.get("applied", 0) >= 2)
    yield made
    made.stop(10.0)


@pytest.mark.parametrize("name", CASES)
def test_one_bad_event_among_a_thousand(
    name: str,
    quiet_hub: SimulatedHub,
    ingestor: Ingestor,
    sql: Query,
    capfd: pytest.CaptureFixture[str],
) -> None:
    record, outcome, reason = CASES[name]
    before = ingestor.daemon_status().records
    quiet_hub.send_raw(END.join(good(n) for n in range(1, GOOD // 2 + 1)) + END)
    # In the middle of good ones, in the same frame: it must cost itself only.
    quiet_hub.send_raw(good(GOOD // 2 + 1) + END + record + END + good(GOOD // 2 + 2) + END)
    quiet_hub.send_raw(END.join(good(n) for n in range(GOOD // 2 + 3, GOOD + 1)) + END)
    eventually(lambda: ingestor.daemon_status().records >= before + GOOD + 1, within=20)

    assert sql(
        "SELECT count(*) FROM ingest.event_outcome WHERE user_id = 'content' AND outcome = 'applied'"
    ) == [(GOOD,)]
    (bad,) = sql(
        "SELECT o.outcome, o.reason, r.raw FROM ingest.event_outcome AS o "
        "JOIN ingest.record AS r USING (account, session_id, ordinal, received_at) "
        "WHERE o.outcome IN ('quarantined', 'ignored')"
    )
    assert (bad[0], bad[1], bytes(bad[2])) == (outcome, reason, record)
    assert sql("SELECT count(*) FROM ingest.dead_letter") == [(int(outcome == "quarantined"),)]
    rows = sql("SELECT asset, sequence, available FROM ingest.balance WHERE user_id = 'content'")
    assert len(rows) == 2 * GOOD
    altered = [
        row
        for row in rows
        if str(row[2])
        != str(Decimal(f"{row[1]}.123456789012345678" if row[0] == "BTC" else f"0.{row[1]:018d}00"))
    ]
    assert altered == []
    assert sql("SELECT count(*) FROM ingest.session") == [(1,)], "it cost the link"
    said = "".join(capfd.readouterr())
    assert "\x1b[31m" not in said
    assert not any(line.startswith("<3>") for line in said.splitlines())


@pytest.mark.parametrize(
    "amount", ["0.1", "20.0", "1e-9", "-0", LONG, "123456789012345678901234567890", "0.30000000000000004"]
)
def test_an_amount_arrives_with_every_digit(
    amount: str, quiet_hub: SimulatedHub, ingestor: Ingestor, sql: Query
) -> None:
    quiet_hub.send_raw(balances(1, asset('"X"', amount)) + END)
    (stored,) = eventually(lambda: sql("SELECT available FROM ingest.balance WHERE user_id = 'content'"))

    assert stored[0] == Decimal(amount)


NAMES = [
    "BTC'); DROP TABLE ingest.balance;--",
    "%s{}$1\\",
    "\U0001fa99\u202e\u0412\u0422\u0421",  # a coin, right-to-left, and Cyrillic that looks like BTC
    " ",
    "=cmd|'x'!A1",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_data_whatever_it_looks_like(
    name: str, quiet_hub: SimulatedHub, ingestor: Ingestor, sql: Query
) -> None:
    quiet_hub.send_raw(balances(1, asset(json.dumps(name))) + END)
    (stored,) = eventually(lambda: sql("SELECT asset FROM ingest.balance WHERE user_id = 'content'"))

    assert stored == (name,)


def test_every_family_of_bad_content_is_here() -> None:
    assert {name[:2] for name in CASES} == {f"M{n}" for n in range(1, 9)}
