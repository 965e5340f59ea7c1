"""Balances and pairs, field by field: exact, or rejected with a reason, in both forms of `data`."""

from decimal import Decimal

import pytest

from ingestor.domain.decode import decode
from ingestor.domain.events import Asset, BalanceSnapshot, Pair, PairList, Reason, Undecodable
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from tests.support.hub_records import (
    PAIRS,
    USER_ID,
    Form,
    account,
    as_value,
    asset,
    in_string,
    listing,
    pair,
    quoted,
)

CYRILLIC_BTC = "\u0412\u0422\u0421"
Body = BalanceSnapshot | PairList | Undecodable


def read(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Body:
    (event,) = decode(raw, limits)
    assert isinstance(event.body, Body)
    return event.body


def balances(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> BalanceSnapshot:
    body = read(raw, limits)
    assert isinstance(body, BalanceSnapshot), body
    return body


def exactly(value: Decimal | None) -> tuple[object, ...] | None:
    """Equality of decimals forgets trailing zeros and the sign of zero; this does not."""
    return None if value is None else value.as_tuple()


@pytest.mark.parametrize("form", [in_string, as_value])
def test_the_plain_snapshot_of_the_guide_is_read(form: Form) -> None:
    data = account(asset(), asset('"ETH"', "5", "0"), asset('"USDT"', "1000.00", "250"))
    assert balances(form(data)) == BalanceSnapshot(
        USER_ID,
        123,
        (
            Asset("BTC", Decimal("0.5"), Decimal(0)),
            Asset("ETH", Decimal(5), Decimal(0)),
            Asset("USDT", Decimal(1000), Decimal(250)),
        ),
    )


@pytest.mark.parametrize("form", [in_string, as_value])
def test_the_snapshot_of_the_reference_with_its_exposure_is_read(form: Form) -> None:
    exposed = asset(more=',"currentExposure":1430.10,"maxExposure":1500')
    more = ',"baseCurrency":"EUR","totalCurrentExposure":1430.10,"totalMaxExposure":1500,"deleted":true'
    assert balances(form(account(exposed, more=more))) == BalanceSnapshot(
        USER_ID,
        123,
        (Asset("BTC", Decimal("0.5"), Decimal(0), Decimal("1430.10"), Decimal(1500)),),
        deleted=True,
        base_currency="EUR",
        total_current_exposure=Decimal("1430.10"),
        total_max_exposure=Decimal(1500),
    )


@pytest.mark.parametrize("more", ["", ',"deleted":null,"baseCurrency":null', ',"baseCurrency":""',
                                  ',"totalCurrentExposure":null,"totalMaxExposure":null',
                                  ',"new":{"deep":[true,null,-1e999999]},"newer":NaN'])  # fmt: skip
@pytest.mark.parametrize("form", [in_string, as_value])
def test_optional_fields_may_be_absent_or_null_and_unknown_ones_there(form: Form, more: str) -> None:
    held = asset(more=',"currentExposure":null,"locked":"?"')
    assert balances(form(account(held, more=more))) == BalanceSnapshot(
        USER_ID, 123, (Asset("BTC", Decimal("0.5"), Decimal(0)),)
    )


@pytest.mark.parametrize("form", [in_string, as_value])
def test_an_empty_base_currency_names_none(form: Form) -> None:
    assert balances(form(account(more=',"baseCurrency":""'))).base_currency is None


@pytest.mark.parametrize("form", [in_string, as_value])
def test_an_account_without_assets_is_an_account(form: Form) -> None:
    assert balances(form(account())).assets == ()


@pytest.mark.parametrize("form", [in_string, as_value])
def test_null_for_the_assets_of_an_empty_account_is_an_empty_list(form: Form) -> None:
    found = balances(form('{"userId":"u","sequence":1,"assets":null,"deleted":false}'))
    assert found == BalanceSnapshot("u", 1, ())


@pytest.mark.parametrize(
    "amount",
    [
        "0", "-0", "-0.00", "20.0", "1200000.0", "0.1", "0.30000000000000004", "268.4407", "1e0", "5E-1",
        "1E+5", "-12.50", "0.123456789012345678", "1e40", "1e-40", "0.0e-3", f"0.{'0' * 39}1", "9" * 40,
        f"{'9' * 20}.{'9' * 20}", f"0.{'9' * 40}", f"0.{'0' * 30}{'7' * 10}", f"1{'0' * 39}",
        f"0.{'0' * 39}{'7' * 40}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [in_string, as_value])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_amount_keeps_every_digit_it_came_with(form: Form, amount: str, as_text: bool) -> None:
    """Invariant I8."""
    text = quoted(amount) if as_text else amount
    (held,) = balances(form(account(asset('"BTC"', text, text, f',"maxExposure":{text}')))).assets
    expected = Decimal(amount).as_tuple()
    assert exactly(held.available) == exactly(held.allocated) == exactly(held.max_exposure) == expected


NOT_AMOUNTS = [
    "NaN", "Infinity", "-Infinity", '"NaN"', '"sNaN"', '"Infinity"', '"-inf"', "1e400", "1e400000", "-1e-400",
    "1e41", "1e-41", "0e-41", f"0.{'0' * 40}1", f"0.{'0' * 41}", "1" * 41, f"1{'0' * 40}", "1" * 5_000,
    f"0.{'1' * 41}", f"1e{'9' * 30}", "1e0000001", "true", "false", '""', '" 1"', '"1 "', '"+1"', '"1_000"',
    '"1,5"', '"0x10"', '"01"', '".5"', '"5."', '"١٢"', '"1\\u0000"', "[]", "[1]", "{}", '"one"', '"--1"',
]  # fmt: skip


@pytest.mark.parametrize("amount", NOT_AMOUNTS)
@pytest.mark.parametrize("form", [in_string, as_value])
def test_what_is_not_an_exact_amount_is_rejected_by_asset_and_field(form: Form, amount: str) -> None:
    held = [
        asset('"ETH"', available=amount),
        asset('"ETH"', allocated=amount),
        asset('"ETH"', more=f',"currentExposure":{amount}'),
        asset('"ETH"', more=f',"maxExposure":{amount}'),
    ]
    fields = ["available", "allocated", "currentExposure", "maxExposure"]
    for text, field in zip(held, fields, strict=True):
        body = read(form(account(asset(), text)))
        assert isinstance(body, Undecodable), body
        assert (body.reason, body.detail.startswith(f"assets[1] ETH {field} ")) == (Reason.BAD_NUMBER, True)
    for field in ("totalCurrentExposure", "totalMaxExposure"):
        body = read(form(account(more=f',"{field}":{amount}')))
        assert isinstance(body, Undecodable), body
        assert (body.reason, body.detail.startswith(field)) == (Reason.BAD_NUMBER, True)


@pytest.mark.parametrize(("digits", "exponent"), [(9, 3), (4, 9)])
@pytest.mark.parametrize("amount", ["12345", "12345.0", "12345e0", '"12345"'])
def test_digits_and_exponent_have_a_limit_each(amount: str, digits: int, exponent: int) -> None:
    """Invariant I13."""
    raw = in_string(account(asset(available=amount), user_id='"u"'))
    body = read(raw, Limits(digits=digits, exponent=exponent))
    assert isinstance(body, Undecodable), body
    assert body.reason is Reason.BAD_NUMBER
    assert isinstance(read(raw, Limits(digits=9, exponent=9)), BalanceSnapshot)


@pytest.mark.parametrize("amount", ["01", "+1", ".5", "5.", "-", "0x10", "1e", "nan", "'1'"])
def test_a_number_that_json_does_not_have_is_not_json(amount: str) -> None:
    body = read(in_string(account(asset(available=amount))))
    assert isinstance(body, Undecodable)
    assert body.reason is Reason.NOT_JSON


@pytest.mark.parametrize("form", [in_string, as_value])
@pytest.mark.parametrize("sequence", ["0", "1", "6618", "9223372036854775807", "-0"])
def test_a_sequence_is_any_bigint_that_is_not_negative(form: Form, sequence: str) -> None:
    found = balances(form(account(sequence=sequence))).sequence
    assert (type(found), found) == (int, int(sequence))


@pytest.mark.parametrize("form", [in_string, as_value])
@pytest.mark.parametrize("sequence", ["-1", "9223372036854775808", "1" * 5_000, "1.5", "5.0", "1e3", '"5"',
                                      "true", "false", "null", "[]", "{}", "NaN"])  # fmt: skip
def test_any_other_sequence_is_rejected(form: Form, sequence: str) -> None:
    body = read(form(account(sequence=sequence)))
    assert isinstance(body, Undecodable)
    assert body.reason is Reason.BAD_SEQUENCE


def without(field: str, text: str) -> str:
    assert field in text
    return text.replace(field, field[:-1] + '_"')


ACCOUNT = account(asset())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("null", Reason.WRONG_TYPE),
        ("7", Reason.WRONG_TYPE),
        ("true", Reason.WRONG_TYPE),
        ("NaN", Reason.WRONG_TYPE),
        ("[]", Reason.WRONG_TYPE),
        ("[1]", Reason.WRONG_TYPE),
        (f"[{ACCOUNT},{ACCOUNT}]", Reason.WRONG_TYPE),
        (f"[[{ACCOUNT}]]", Reason.WRONG_TYPE),
        ("{}", Reason.MISSING_FIELD),
        (without('"userId"', ACCOUNT), Reason.MISSING_FIELD),
        (without('"assets"', ACCOUNT), Reason.MISSING_FIELD),
        (without('"name"', ACCOUNT), Reason.MISSING_FIELD),
        (without('"available"', ACCOUNT), Reason.MISSING_FIELD),
        (without('"allocated"', ACCOUNT), Reason.MISSING_FIELD),
        (without('"sequence"', ACCOUNT), Reason.BAD_SEQUENCE),
        (ACCOUNT.replace("userId", "UserId"), Reason.MISSING_FIELD),
        (ACCOUNT.replace("sequence", "Sequence"), Reason.BAD_SEQUENCE),
        (account(user_id="null"), Reason.WRONG_TYPE),
        (account(user_id="7"), Reason.WRONG_TYPE),
        (account(user_id='""'), Reason.BAD_NAME),
        (account(user_id=r'"\u0000"'), Reason.BAD_NAME),
        (account(user_id=f'"{"x" * 129}"'), Reason.BAD_NAME),
        (account(user_id=f'"{"é" * 65}"'), Reason.BAD_NAME),
        (account("1"), Reason.WRONG_TYPE),
        (account("null"), Reason.WRONG_TYPE),
        (account("[]"), Reason.WRONG_TYPE),
        (account(asset('"BTC"', "null")), Reason.BAD_NUMBER),
        ('{"userId":"u","sequence":1,"assets":{}}', Reason.WRONG_TYPE),
        ('{"userId":"u","sequence":1,"assets":""}', Reason.WRONG_TYPE),
        (account(more=',"deleted":0'), Reason.WRONG_TYPE),
        (account(more=',"deleted":"false"'), Reason.WRONG_TYPE),
        (account(more=',"baseCurrency":7'), Reason.WRONG_TYPE),
        (account(more=f',"baseCurrency":"{"x" * 65}"'), Reason.BAD_NAME),
        (account(asset(), asset()), Reason.DUPLICATE_NAME),
        (account(asset(), asset(r'"\u0042TC"')), Reason.DUPLICATE_NAME),
        (account(asset(), asset('"ETH"'), asset("\"BTC\"", "7")), Reason.DUPLICATE_NAME),
        (account(asset("7")), Reason.WRONG_TYPE),
        (account(asset('""')), Reason.BAD_NAME),
        (account(asset(r'"B\u0000C"')), Reason.BAD_NAME),
        (account(asset(r'"\ud800"')), Reason.BAD_NAME),
        (account(asset(r'"\udc00\ud800"')), Reason.BAD_NAME),
        (account(asset(f'"{"x" * 65}"')), Reason.BAD_NAME),
        (account(asset(f'"{"€" * 22}"')), Reason.BAD_NAME),
        (account(asset(f'"{"x" * 1_000_000}"')), Reason.BAD_NAME),
        (account(more=',"x":' + "[" * 32 + "]" * 32), Reason.TOO_DEEP),
        (account(more=',"x":' + "[" * 10_000 + "]" * 10_000), Reason.TOO_DEEP),
        (account(*(asset(f'"A{n}"') for n in range(5_001))), Reason.TOO_MANY),
        (account(sequence='1,"sequence":2'), Reason.DUPLICATE_KEY),
        (account(sequence='null,"sequence":2'), Reason.DUPLICATE_KEY),
        (account(asset(available='1,"available":1')), Reason.DUPLICATE_KEY),
        (account(asset(more=',"maxExposure":null,"maxExposure":1')), Reason.DUPLICATE_KEY),
        (account(asset(more=r',"na\u006de":"BTC"')), Reason.DUPLICATE_KEY),
        (account(more=',"deleted":false,"deleted":false'), Reason.DUPLICATE_KEY),
        (account(more=',"baseCurrency":null,"baseCurrency":"EUR"'), Reason.DUPLICATE_KEY),
        (account(more=',"x":[{"y":1,"y":1}]'), Reason.DUPLICATE_KEY),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [in_string, as_value])
def test_balances_that_say_it_wrong_are_rejected(form: Form, data: str, reason: Reason) -> None:
    body = read(form(data), Limits(record_bytes=4_000_000))
    assert isinstance(body, Undecodable), body
    assert body.reason is reason
    assert len(body.detail) <= 300


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", Reason.NOT_JSON),
        ('""', Reason.NOT_JSON),
        ("insufficient funds", Reason.NOT_JSON),
        (quoted("insufficient funds"), Reason.NOT_JSON),
        (ACCOUNT[:-1], Reason.NOT_JSON),
        (ACCOUNT + "]", Reason.NOT_JSON),
        ("\ufeff" + ACCOUNT, Reason.NOT_JSON),
        (account(asset('"B\nTC"')), Reason.NOT_JSON),
        (quoted(quoted(ACCOUNT)), Reason.WRONG_TYPE),
    ],
)
def test_a_string_that_does_not_hold_an_account_is_rejected(data: str, reason: Reason) -> None:
    body = read(in_string(data))
    assert isinstance(body, Undecodable), body
    assert body.reason is reason


@pytest.mark.parametrize(
    "name",
    [
        CYRILLIC_BTC,
        "BTC\u200b", "\u202eCTB", "é", "e\u0301", "😀", "中" * 21, " ", " BTC ", "B:T\"C", "a\\b",
        "BTC'); DROP TABLE balance;--", "%s", "{}", "${x}", "$1", "=cmd|' /C calc'!A0", "null", "deleted",
        "7e3", "\x01\x1b[2J", "line\nfeed", "\x7f", "x" * 64, "\\u0000", "9" * 50, '"', ":",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [in_string, as_value])
def test_a_name_is_data_and_kept_to_the_letter(form: Form, name: str) -> None:
    """Invariant I8."""
    text = quoted(name).replace("\x7f", r"\u007f")
    found = balances(form(account(asset(), asset(text), user_id=text, more=f',"baseCurrency":{text}')))
    assert (found.user_id, found.base_currency) == (name, name)
    assert [held.name for held in found.assets] == ["BTC", name]


def test_names_that_differ_only_in_their_look_are_two_names() -> None:
    names = ["BTC", CYRILLIC_BTC, "é", "e\u0301"]
    found = balances(in_string(account(*(asset(quoted(name)) for name in names))))
    assert [held.name for held in found.assets] == names


def test_as_many_assets_as_the_limit_are_read() -> None:
    """Invariant I13."""
    data = account(*(asset(f'"A{n}"') for n in range(5_000)))
    assert len(balances(in_string(data)).assets) == 5_000


@pytest.mark.parametrize("form", [in_string, as_value])
def test_pairs_are_read_with_and_without_quote_sizes(form: Form) -> None:
    listed = [
        pair(more=',"minQuoteSize":100,"maxQuoteSize":1000000.0'),
        pair('"BTC-USD"', '"minSize":null,"maxSize":0'),
        pair('"ETH/EUR"', '"minSize":"0.0010","maxSize":1e2', ',"minQuoteSize":null,"enabled":true'),
    ]
    body = read(form(listing(*listed), PAIRS))
    assert isinstance(body, PairList)
    assert body.pairs == (
        Pair("BTCUSDT", "BTC", "USDT", Decimal("0.0001"), Decimal(5), Decimal(100), Decimal(1000000)),
        Pair("BTC-USD", "BTC", "USDT", None, Decimal(0)),
        Pair("ETH/EUR", "BTC", "USDT", Decimal("0.0010"), Decimal("1E+2")),
    )
    assert exactly(body.pairs[2].min_size) == exactly(Decimal("0.0010"))


@pytest.mark.parametrize("data", ["[]", '"[]"', '" [ ] "', quoted(quoted("[]")), "null", '"null"'])
@pytest.mark.parametrize("subject", [PAIRS, "Execution.Pairs", "EXECUTION.PAIRS"])
def test_an_empty_list_of_pairs_is_an_answer(data: str, subject: str) -> None:
    assert read(as_value(data, subject)) == PairList(())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{}", Reason.WRONG_TYPE),
        ("7", Reason.WRONG_TYPE),
        ("", Reason.NOT_JSON),
        ("[null]", Reason.WRONG_TYPE),
        ("[[]]", Reason.WRONG_TYPE),
        ("[{}]", Reason.MISSING_FIELD),
        (listing(without('"asset"', pair())), Reason.MISSING_FIELD),
        (listing(without('"currency"', pair())), Reason.MISSING_FIELD),
        (listing(without('"minSize"', pair())), Reason.MISSING_FIELD),
        (listing(without('"maxSize"', pair())), Reason.MISSING_FIELD),
        (listing(pair('""')), Reason.BAD_NAME),
        (listing(pair("7")), Reason.WRONG_TYPE),
        (listing(pair().replace('"USDT"', '""')), Reason.BAD_NAME),
        (listing(pair().replace('"BTC"', "null")), Reason.WRONG_TYPE),
        (listing(pair(), pair()), Reason.DUPLICATE_NAME),
        (listing(pair(more=',"asset":"BTC"')), Reason.DUPLICATE_KEY),
        (listing(pair(sizes='"minSize":NaN,"maxSize":5')), Reason.BAD_NUMBER),
        (listing(pair(more=',"minQuoteSize":true')), Reason.BAD_NUMBER),
        (listing(pair(more=',"maxQuoteSize":1e41')), Reason.BAD_NUMBER),
    ],
)
def test_pairs_that_say_it_wrong_are_rejected(data: str, reason: Reason) -> None:
    body = read(in_string(data, PAIRS))
    assert isinstance(body, Undecodable), body
    assert body.reason is reason


def test_more_pairs_than_the_limit_are_rejected_and_as_many_are_read() -> None:
    """Invariant I13."""
    raw = in_string(listing(pair('"A"'), pair('"B"')), PAIRS)
    assert isinstance(read(raw, Limits(pairs=2)), PairList)
    body = read(raw, Limits(pairs=1))
    assert isinstance(body, Undecodable)
    assert body.reason is Reason.TOO_MANY
