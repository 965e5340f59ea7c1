"""`decode` answers for all bytes, keeps every digit, and its two ways of reading are one (I8)."""

import json
from decimal import Decimal
from itertools import islice
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestor.domain.content import balance_content, pairs_content
from ingestor.domain.decode import decode, exact_reader
from ingestor.domain.decode.incremental_reader import IncrementalReader
from ingestor.domain.events import Asset, BalanceSnapshot, Event, Pair, PairList, Undecodable
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from tests.properties.fuzz_decode import compared
from tests.support.hub_records import (
    CLIENT_ID,
    PAIRS,
    Form,
    account,
    as_value,
    asset,
    envelope,
    in_string,
    quoted,
    record,
    returned,
)

FORMS = st.sampled_from([in_string, as_value])
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=16)
"""At most 64 bytes."""


@st.composite
def amounts(draw: st.DrawFn) -> str:
    """An amount within the limits, in any spelling that JSON has for it."""
    digits = draw(st.text("0123456789", min_size=1, max_size=40))
    whole = digits[: draw(st.integers(0, len(digits)))].lstrip("0") or "0"
    fraction = digits[len(whole) :]
    text = draw(st.sampled_from(["", "-"])) + whole + (f".{fraction}" if fraction else "")
    exponent = draw(st.just("") | st.integers(-5, 5).map(lambda power: f"e{power:+}"))
    return text + exponent if abs(Decimal(text + exponent).adjusted()) <= 40 else text


def optional(values: st.SearchStrategy[str], key: str) -> st.SearchStrategy[str]:
    """A member, or null, or nothing; starts with a comma."""
    return st.just("") | st.just(f',"{key}":null') | values.map(f',"{key}":{{}}'.format)


AMOUNTS = amounts() | amounts().map(quoted)
ASSETS = st.builds(
    lambda *parts: asset(parts[0], parts[1], parts[2], "".join(parts[3:])),
    NAMES.map(quoted),
    AMOUNTS,
    AMOUNTS,
    optional(AMOUNTS, "currentExposure"),
    optional(AMOUNTS, "maxExposure"),
)
ACCOUNTS = st.builds(
    lambda assets, sequence, user_id, *more: account(
        *assets, sequence=str(sequence), user_id=user_id, more="".join(more)
    ),
    st.lists(ASSETS, max_size=6),
    st.integers(-1, 2**63),
    (NAMES | st.uuids().map(str)).map(quoted),
    optional(st.sampled_from(["true", "false"]), "deleted"),
    optional(NAMES.map(quoted), "baseCurrency"),
    optional(AMOUNTS, "totalCurrentExposure"),
    optional(AMOUNTS, "totalMaxExposure"),
    optional(NAMES.map(quoted), "unknown"),
)
RECORDS = st.builds(
    lambda form, data, client: form(data).replace(f',"clientId":"{CLIENT_ID}"'.encode(), client),
    FORMS,
    ACCOUNTS,
    st.sampled_from([b"", b',"clientId":null', f',"clientId":"{CLIENT_ID}"'.encode()]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def to_the_digit(events: tuple[Event, ...]) -> str:
    """Equality of decimals forgets trailing zeros and the sign of zero; their `repr` does not."""
    return repr(events)


def hold_the_law(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, after: bytes = b"") -> tuple[Event, ...]:
    """At least one event, numbered from 0; a short quiet detail; the same after another record, or itself."""
    events = decode(raw, limits)
    assert [event.position for event in events] == list(range(max(1, len(events))))
    for event in events:
        if isinstance(event.body, Undecodable):
            assert len(event.body.detail) <= 300
            assert event.body.detail.isprintable()
    reader = IncrementalReader(limits)
    for each in (after, raw, raw):
        assert to_the_digit(reader.events(each)) == to_the_digit(exact_reader.events(each, limits))
    return events


@given(st.binary(max_size=2_000))
def test_any_bytes_are_events(raw: bytes) -> None:
    hold_the_law(raw)


@given(JSON)
def test_any_json_is_events(value: object) -> None:
    text = json.dumps(value)
    hold_the_law(text.encode())
    hold_the_law(record(text, f"[{text}]"))
    hold_the_law(record(envelope(text), envelope(quoted(text)), envelope(text, quoted(PAIRS))))
    hold_the_law(
        record(
            envelope(text, '"preChecksError"'),
            envelope("0", text),
            envelope("0", client=f',"clientId":{text}'),
        )
    )
    hold_the_law(
        as_value(account(asset(text, text, text), sequence=text, user_id=text, more=f',"deleted":{text}'))
    )


@given(JSON, st.sampled_from([2, 3]))
def test_any_result_of_a_hub_method_is_events(value: object, kind: int) -> None:
    text = json.dumps(value)
    for each in (text, quoted(text), f"[{text}]", envelope(text), f"[{envelope(quoted(text))},{text}]"):
        hold_the_law(returned(each, kind=kind, invocation_id=text))


@given(ACCOUNTS, FORMS, st.sampled_from([2, 3]))
def test_what_is_returned_says_the_same_as_what_is_pushed(data: str, form: Form, kind: int) -> None:
    (pushed,) = hold_the_law(form(data))
    for value in (data, quoted(data), f"[{data}]", envelope(data), f"[{envelope(quoted(data))}]"):
        (event,) = hold_the_law(returned(value, kind=kind))
        assert to_the_digit((event,)) == to_the_digit((pushed,))


@given(RECORDS, st.data())
@settings(max_examples=200)
def test_good_records_with_bytes_changed_dropped_or_doubled_are_events(
    raw: bytes, data: st.DataObject
) -> None:
    good = raw
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 60)))
        piece = data.draw(
            st.sampled_from(
                [b"", raw[start:end] * 2, b"0", b"e", b":", b'"', b"\\", b"\\u003a", b"null,", b"-0,"]
            )
            | st.binary(max_size=3)
        )
        raw = raw[:start] + piece + raw[end:]
    hold_the_law(raw, after=good)


LIMITS = st.builds(
    Limits,
    digits=st.integers(0, 9),
    exponent=st.integers(0, 9),
    assets=st.integers(0, 2),
    name_bytes=st.integers(1, 5),
    user_id_bytes=st.integers(1, 40),
    client_id_chars=st.integers(30, 40),
)


@given(RECORDS, LIMITS)
def test_the_two_readings_agree_under_any_limits(raw: bytes, limits: Limits) -> None:
    hold_the_law(raw, limits)


@given(RECORDS)
@example(in_string(account(asset())))
@example(as_value(account(asset())))
def test_the_two_readings_agree_on_generated_accounts(raw: bytes) -> None:
    hold_the_law(raw)


OPTIONAL = st.none() | amounts()
HELD = st.tuples(NAMES, amounts(), amounts(), OPTIONAL, OPTIONAL)


def spelled(value: str | None, key: str) -> str:
    return "" if value is None else f',"{key}":{value}'


@given(FORMS, st.lists(HELD, max_size=6, unique_by=lambda held: held[0]), st.integers(0, 2**63 - 1), NAMES)
def test_a_valid_snapshot_comes_back_with_every_digit(
    form: Form, held: list[tuple[str, str, str, str | None, str | None]], sequence: int, user_id: str
) -> None:
    assets = [
        asset(quoted(name), free, used, spelled(now, "currentExposure") + spelled(most, "maxExposure"))
        for name, free, used, now, most in held
    ]
    raw = form(account(*assets, sequence=str(sequence), user_id=quoted(user_id)))
    (event,) = hold_the_law(raw)
    assert isinstance(event.body, BalanceSnapshot), event.body
    assert (event.body.user_id, event.body.sequence) == (user_id, sequence)
    expected = [(name, *(None if text is None else Decimal(text) for text in texts)) for name, *texts in held]
    found = [
        (each.name, each.available, each.allocated, each.current_exposure, each.max_exposure)
        for each in event.body.assets
    ]
    assert repr(found) == repr(expected)


def test_thousands_of_damaged_records_are_read_alike_and_many_by_what_differs() -> None:
    """Without the latter, the incremental reader could be gone and all the laws above would still hold."""
    repeats = sum(islice(compared(seed=1), 20_000))
    assert repeats > 2_000


AMOUNT = st.decimals(
    allow_nan=False, allow_infinity=False, places=None, min_value=-(10**39), max_value=10**39
)
SIZE = st.none() | AMOUNT


def same_value(value: Decimal, zeros: int) -> Decimal:
    """The same number with more zeros behind it, built without a decimal context."""
    sign, digits, power = value.as_tuple()
    assert isinstance(power, int)
    return Decimal((sign, digits + (0,) * zeros, power - zeros))


@given(
    st.lists(st.builds(Asset, NAMES, AMOUNT, AMOUNT), max_size=6, unique_by=lambda held: held.name),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.integers(0, 45),
    SIZE,
)
def test_content_is_blind_to_order_trailing_zeros_and_exposure(
    assets: list[Asset], deleted: bool, rng: Random, zeros: int, exposure: Decimal | None
) -> None:
    snapshot = BalanceSnapshot("u", 1, tuple(assets), deleted)
    other = [
        Asset(each.name, same_value(each.available, zeros), same_value(each.allocated, 1), exposure, exposure)
        for each in assets
    ]
    rng.shuffle(other)
    restated = BalanceSnapshot("u", 2, tuple(other), deleted, "EUR", exposure, exposure)
    assert balance_content(restated) == balance_content(snapshot)
    assert len(balance_content(snapshot)) == 32


SNAPSHOTS = st.builds(
    BalanceSnapshot,
    st.just("u"),
    st.just(1),
    st.lists(
        st.builds(
            Asset,
            st.text("AB10-.", max_size=3),
            AMOUNT | st.sampled_from(list(map(Decimal, range(12)))),
            AMOUNT,
        ),
        max_size=3,
        unique_by=lambda held: held.name,
    ).map(tuple),
    st.booleans(),
)


def governed(snapshot: BalanceSnapshot) -> object:
    return snapshot.deleted, {(each.name, each.available, each.allocated) for each in snapshot.assets}


@given(SNAPSHOTS, SNAPSHOTS)
def test_content_is_equal_exactly_when_the_governed_part_is(
    one: BalanceSnapshot, two: BalanceSnapshot
) -> None:
    assert (balance_content(one) == balance_content(two)) == (governed(one) == governed(two))


def a_little_more(value: Decimal) -> Decimal:
    """Different in a digit far behind the 28 that the decimal context would keep."""
    sign, digits, power = value.as_tuple()
    assert isinstance(power, int)
    return Decimal((sign, (*digits, *(0,) * 40, 1), power - 41))


@given(SNAPSHOTS.filter(lambda one: one.assets), st.data())
def test_content_changes_with_any_governed_amount_by_however_little(
    snapshot: BalanceSnapshot, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(snapshot.assets) - 1))
    held = snapshot.assets[at]
    for changed in (
        Asset(held.name, a_little_more(held.available), held.allocated),
        Asset(held.name, held.available, a_little_more(held.allocated)),
    ):
        other = BalanceSnapshot(
            "u", 1, (*snapshot.assets[:at], changed, *snapshot.assets[at + 1 :]), snapshot.deleted
        )
        assert balance_content(other) != balance_content(snapshot)


PAIR = st.builds(Pair, NAMES, NAMES, NAMES, SIZE, SIZE, SIZE, SIZE)


@given(st.lists(PAIR, max_size=4), st.randoms(use_true_random=False), st.integers(0, 45))
def test_content_of_pairs_is_blind_to_order_and_trailing_zeros(
    pairs: list[Pair], rng: Random, zeros: int
) -> None:
    def restate(size: Decimal | None) -> Decimal | None:
        return None if size is None else same_value(size, zeros)

    other = [
        Pair(each.name, each.asset, each.currency, restate(each.min_size), restate(each.max_size),
             restate(each.min_quote_size), restate(each.max_quote_size))
        for each in pairs
    ]  # fmt: skip
    rng.shuffle(other)
    assert pairs_content(PairList(tuple(other))) == pairs_content(PairList(tuple(pairs)))


SIZES = st.sampled_from([None, *map(Decimal, ("0", "-0", "1", "1.0", "10", "0.1"))])
FEW = st.lists(
    st.builds(Pair, *[st.text("AB1", max_size=2)] * 3, *[SIZES] * 4),
    max_size=2,
    unique_by=lambda one: one.name,
)


@given(FEW, FEW)
def test_content_of_pairs_is_equal_exactly_when_the_pairs_are(one: list[Pair], two: list[Pair]) -> None:
    assert (pairs_content(PairList(tuple(one))) == pairs_content(PairList(tuple(two)))) == (
        set(one) == set(two)
    )


@given(PAIR, st.data())
def test_content_of_pairs_changes_with_any_size(pair: Pair, data: st.DataObject) -> None:
    sizes = [pair.min_size, pair.max_size, pair.min_quote_size, pair.max_quote_size]
    at = data.draw(st.integers(0, 3))
    size = sizes[at]
    for other in [Decimal(7), Decimal(0)] if size is None else [a_little_more(size), None]:
        sizes[at] = other
        changed = Pair(pair.name, pair.asset, pair.currency, *sizes)
        assert pairs_content(PairList((changed,))) != pairs_content(PairList((pair,)))
