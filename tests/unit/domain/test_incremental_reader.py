"""Records that repeat an earlier one but for some numbers: what is read, what is kept, and for how long."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ingestor.domain.decode import exact_reader
from ingestor.domain.decode.incremental_reader import IncrementalReader
from ingestor.domain.events import BalanceSnapshot, Event
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from tests.support.hub_records import Form, account, asset, envelope, quoted, record

EXPOSED = ',"currentExposure":1430.10,"maxExposure":{}'
TOTALS = ',"deleted":false,"baseCurrency":"EUR","totalCurrentExposure":{},"totalMaxExposure":{}'


def pushed(data: str) -> bytes:
    """As the hub pushes it: as a string, and in answer to nobody."""
    return record(envelope(quoted(data), client=',"clientId":null'))


def pushed_as_value(data: str) -> bytes:
    return record(envelope(data, client=""))


FORMS = pytest.mark.parametrize("form", [pushed, pushed_as_value])


class Reading:
    """A reader, each of whose answers is compared with the exact one."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.reader = IncrementalReader(limits)

    def snapshot(self, raw: bytes) -> BalanceSnapshot:
        events = self.reader.events(raw)
        assert repr(events) == repr(exact_reader.events(raw, self.limits))
        assert isinstance(events[0].body, BalanceSnapshot), events
        return events[0].body

    def repeats(self, raw: bytes) -> bool:
        """Whether `raw` is read by an earlier record."""
        events = self.reader.events(raw)
        assert repr(events) == repr(exact_reader.events(raw, self.limits))
        return any(events is known.events for known in self.reader._known.values())


@pytest.fixture
def reading() -> Reading:
    return Reading()


@FORMS
def test_an_asset_that_has_not_changed_is_the_same_object(reading: Reading, form: Form) -> None:
    reading.snapshot(form(account(asset(), asset('"ETH"', "5"))))
    before = reading.snapshot(form(account(asset(), asset('"ETH"', "6"), sequence="124")))
    after = reading.snapshot(form(account(asset(), asset('"ETH"', "-7.00"), sequence="9" * 18)))

    assert after.sequence == 10**18 - 1
    assert after.assets[0] is before.assets[0]
    assert repr(after.assets[1].available) == "Decimal('-7.00')"
    assert after.assets[1].name is before.assets[1].name


@FORMS
@pytest.mark.parametrize(
    "more", ["", ',"deleted":true', ',"baseCurrency":"EUR"', ',"totalMaxExposure":1', ',"unknown":1']
)
def test_what_is_no_number_stays_as_it_was(reading: Reading, form: Form, more: str) -> None:
    assert [reading.repeats(form(account(asset(), sequence=each, more=more))) for each in "123"] == [
        False,
        True,
        True,
    ]


@FORMS
def test_the_same_record_again_is_the_same_events(reading: Reading, form: Form) -> None:
    raw = form(account(asset()))
    reading.snapshot(raw)
    reading.snapshot(raw)
    assert reading.reader.events(raw) is reading.reader.events(raw)


@FORMS
def test_exposures_and_their_totals_change_too(reading: Reading, form: Form) -> None:
    def raw(exposure: str, current: str, most: str) -> bytes:
        return form(
            account(asset(more=EXPOSED.format(exposure)), asset('"ETH"'), more=TOTALS.format(current, most))
        )

    assert not reading.repeats(raw("1500", "1", "2"))
    for values in (("1500.0", "1", "2"), ("null", "1", "3"), ("1", "-0.50", "null"), ("1", "null", "1e10")):
        assert reading.repeats(raw(*values)) == ("e" not in values[2])
    snapshot = reading.snapshot(raw("7", "8", "9"))
    assert (snapshot.assets[0].max_exposure, snapshot.total_max_exposure) == (Decimal(7), Decimal(9))


def test_exposures_may_come_and_go(reading: Reading) -> None:
    for more in ("", EXPOSED.format("2"), ',"maxExposure":1', ',"currentExposure":null', ""):
        reading.snapshot(pushed(account(asset(more=more))))
    assert reading.repeats(pushed(account(asset(more=EXPOSED.format("3")))))


@FORMS
@pytest.mark.parametrize(
    "after",
    [
        account(asset(), asset('"ETH"'), asset('"USDT"')),
        account(asset()),
        account(),
        account(asset('"ETH"'), asset()),
        account(asset(), asset('"ADA"')),
        account(asset(), asset('"ETH"'), user_id='"another"'),
        account(asset(), asset('"ETH"'), more=',"deleted":true'),
        account(asset(), asset('"ETH"'), more=',"deleted":false,"totalMaxExposure":1'),
        account(asset(), asset('"ETH"'), more=TOTALS.format(1, 2)),
        account(asset(), asset('"ETH"'), sequence="0123"),
        account(asset(), asset('"ETH"'), sequence="-1"),
        account(asset(), asset('"ETH"'), sequence="1.0"),
        account(asset(), asset('"ETH"'), sequence=str(2**63 - 1)),
        account(asset(), asset('"ETH"', "1" * 41)),
        account(asset(), asset('"ETH"', "1e10")),
        account(asset(), asset('"ETH"', "+1")),
        account(asset(), asset('"ETH"', "1.")),
        account(asset(), asset('"ETH"', '"1"')),
        account(asset(), asset('"ETH"', "01")),
        account(asset(), asset('"ETH"', more=',"name":"ETH"')),
        account(asset(), asset(r'"\u0045TH"')),
    ],
)
def test_what_differs_in_more_than_plain_numbers_is_left_to_the_exact_reader(
    reading: Reading, form: Form, after: str
) -> None:
    before = account(asset(), asset('"ETH"'))
    assert not reading.repeats(form(before))
    assert reading.repeats(form(before))
    assert not reading.repeats(form(after))
    reading.snapshot(form(before))


@pytest.mark.parametrize("quote", ['"', '\\"'])
def test_a_record_with_quotes_of_the_other_kind_is_left_to_the_exact_reader(
    reading: Reading, quote: str
) -> None:
    good = pushed(account(asset())) if quote == '"' else pushed_as_value(account(asset()))
    assert not reading.repeats(good)
    assert reading.repeats(good)
    for key in ("assets", "name", "available"):
        other = '\\"' if quote == '"' else '"'
        bad = good.replace(f"{other}{key}{other}".encode(), f"{quote}{key}{quote}".encode())
        assert bad != good
        assert not reading.repeats(bad)


ZERO = account(asset(available="0"), sequence="0")
SHAM = ZERO[1:-1]
"""Looks like the members of an account, wherever it stands."""
NESTED = f',"more":{{{TOTALS.format(1, 2)[1:]}}}'


@pytest.mark.parametrize(
    "raw",
    [
        pushed(account(asset(available="0e0", allocated="0e0"), sequence="-0")).replace(
            b'"topic":"', f'"topic":"{quoted(SHAM)[1:-1].replace(":0", ":5")}'.encode()
        ),
        pushed(ZERO).replace(b'"topic":"', f'"topic":"{quoted(SHAM)[1:-1]}'.encode()),
        pushed(account(asset())).replace(b'"topic":"', f'"topic":"{quoted(SHAM)[1:-1]}'.encode()),
        pushed(account(asset())).replace(b'"type":"message"', b'"type":"sequence"'),
        pushed_as_value(account(asset())).replace(b'"topic"', f'"more":{{{SHAM}}},"topic"'.encode()),
        pushed_as_value(account(asset(), more=NESTED)),
        pushed_as_value(account(asset(), more=NESTED.replace("1", "null").replace("2", "null"))),
        pushed_as_value(account(asset(), more=TOTALS.format(1, 2) + NESTED)),
        pushed(account(asset('"B},{TC"'), asset('"ETH"'))),
        pushed(account(asset('"B:1,C"'))),
        pushed(account(asset(more=',"unknown":1'))),
        pushed(account(asset(more=',"available":1'))),
        pushed(account(asset(), asset())),
        pushed(account()),
        pushed(account(asset('"\u0412"'))),
        pushed(account(asset('"\\u0042TC"'))),
        pushed(account(asset(), sequence="12 ")),
        pushed(account(asset(available='"0.5"'))),
        record(*[envelope(quoted(account(asset())), client="")] * 2),
    ],
)  # fmt: skip
def test_what_is_not_cut_where_it_says_so_is_not_kept(reading: Reading, raw: bytes) -> None:
    for _ in range(2):
        assert not reading.repeats(raw)
        assert not reading.reader._known


@pytest.mark.parametrize("limits", [Limits(digits=39), Limits(exponent=39)])
def test_under_narrower_limits_for_amounts_all_is_left_to_the_exact_reader(limits: Limits) -> None:
    reading = Reading(limits)
    for _ in range(3):
        assert not reading.repeats(pushed(account(asset())))


@pytest.mark.parametrize(
    ("available", "repeats"),
    [
        ("9" * 12 + "." + "9" * 28, True),
        ("-0." + "0" * 28, True),
        ("0." + "0" * 27 + "1e-9", True),
        ("9" * 12 + "E+09", True),
        ("-1E-05", True),
        ("1e-10", False),
        ("1e", False),
        ("9" * 12 + "." + "9" * 29, False),
        ("9" * 13, False),
    ],
)
def test_numbers_are_read_up_to_a_length_that_is_within_the_limits(
    reading: Reading, available: str, repeats: bool
) -> None:
    reading.snapshot(pushed(account(asset())))
    assert reading.repeats(pushed(account(asset(available=available)))) == repeats


def test_an_answer_is_read_by_one_to_the_same_request_only(reading: Reading) -> None:
    def answer(client_id: str, sequence: str) -> bytes:
        data = quoted(account(asset(), sequence=sequence))
        return record(envelope(data, client=f',"clientId":"{client_id}"'))

    assert [reading.repeats(answer(*each)) for each in (("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"))] == [
        False, True, False, True,
    ]  # fmt: skip
    assert reading.reader.events(answer("b", "5"))[0].client_id == "b"


def test_large_records_are_not_kept(reading: Reading) -> None:
    """Invariant I13."""
    large = pushed(account(*(asset(f'"{number}"') for number in range(1_400))))
    assert len(large) > 65_536
    for _ in range(2):
        assert not reading.repeats(large)
    assert not reading.reader._known


def test_a_record_that_grows_above_the_size_limit_is_rejected() -> None:
    """Invariant I13."""
    raw = pushed(account(asset()))
    reading = Reading(Limits(record_bytes=len(raw)))
    assert [reading.repeats(raw) for _ in range(2)] == [False, True]
    assert not reading.repeats(pushed(account(asset(available="0.55"))))


def heads(number: int) -> Iterator[bytes]:
    return (pushed(account(asset(), user_id=f'"{each}"')) for each in range(number))


def test_few_records_are_kept_and_those_are_the_newest(reading: Reading) -> None:
    """Invariant I13."""
    for raw in heads(30):
        assert not reading.repeats(raw)
        reading.reader._credit = 512
    reading.reader._credit = 0
    assert [reading.repeats(raw) for raw in heads(30)] == [False] * 14 + [True] * 16


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the exact reader is asked to read."""
    asked: list[bytes] = []
    exact = exact_reader.events

    def events(raw: bytes, limits: Limits) -> tuple[Event, ...]:
        asked.append(raw)
        return exact(raw, limits)

    monkeypatch.setattr(exact_reader, "events", events)
    return asked


def test_a_stream_that_never_repeats_itself_is_not_read_twice(asked: list[bytes]) -> None:
    reader = IncrementalReader(DEFAULT_LIMITS)
    for raw in heads(1_000):
        reader.events(raw)
    assert len(asked) == 1_000 + 2 * ((512 + 1_000) // 128)

    for _ in range(200):
        reader.events(pushed(account(asset())))
    assert len(asked) <= 1_022 + 130, "it repeats itself again"


def test_two_forms_of_one_account_in_turn_are_not_read_more_often_than_they_come(asked: list[bytes]) -> None:
    reader = IncrementalReader(DEFAULT_LIMITS)
    for number in range(500):
        reader.events(pushed(account(asset(), more=TOTALS.format(1, number) if number % 2 else "")))
    assert len(asked) <= 500 + 8 + 500 // 64 + 1
