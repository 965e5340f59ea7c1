"""Which bytes are a record of ours, how many events stand in it, and what is said of the rest."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from ingestor.domain.decode import Decoder, decode
from ingestor.domain.events import BalanceSnapshot, Event, HubError, PairList, Reason, Undecodable, Unhandled
from ingestor.domain.limits import Limits
from ingestor.domain.records import Record
from tests.support.hub_records import (
    BALANCES,
    CLIENT_ID,
    PAIRS,
    Form,
    account,
    as_value,
    asset,
    envelope,
    in_string,
    listing,
    pair,
    quoted,
    record,
    returned,
)

GOOD = in_string(account(asset()))
ENVELOPE = envelope(account(asset()))
TWICE_WITH_AN_ESCAPED_COLON = (
    envelope(quoted(account(asset())))
    .replace('"topic":', '"topic":"","topic":')
    .replace(r"\"userId\":", r"\"userId\"\u003a")
)
"""Written to cheat whoever only counts colons."""


def only(events: tuple[Event, ...]) -> Event:
    (event,) = events
    return event


def rejected(raw: bytes, **limits: int) -> Undecodable:
    body = only(decode(raw, Limits(**limits))).body
    assert isinstance(body, Undecodable), body
    return body


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b" ", Reason.NOT_JSON),
        (b"hello", Reason.NOT_JSON),
        (b"\xef\xbb\xbf" + GOOD, Reason.NOT_JSON),
        (GOOD[:-1], Reason.NOT_JSON),
        (GOOD + b"\x1e", Reason.NOT_JSON),
        (GOOD + b"\0", Reason.NOT_JSON),
        (GOOD.replace(b"BTC", b"B\nC"), Reason.NOT_JSON),
        (GOOD.replace(b"BTC", b"B\xffC"), Reason.NOT_UTF8),
        (GOOD.replace(b"BTC", b"\xed\xa0\x80"), Reason.NOT_UTF8),
        (b"\xff\xfe{\0}\0", Reason.NOT_UTF8),
        (b"null", Reason.NOT_A_HUB_MESSAGE),
        (b"[]", Reason.NOT_A_HUB_MESSAGE),
        (b"5", Reason.NOT_A_HUB_MESSAGE),
        (b"NaN", Reason.NOT_A_HUB_MESSAGE),
        (b'"text"', Reason.NOT_A_HUB_MESSAGE),
        (b"{}", Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":"1","target":"executionEvents","arguments":[{}]}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":true,"target":"executionEvents","arguments":[{}]}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1.0,"target":"executionEvents","arguments":[{}]}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1,"arguments":[{}]}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1,"target":["executionEvents"],"arguments":[{}]}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1,"target":"executionEvents"}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1,"target":"executionEvents","arguments":null}', Reason.NOT_A_HUB_MESSAGE),
        (b'{"type":1,"target":"executionEvents","arguments":{}}', Reason.NOT_A_HUB_MESSAGE),
        (record(), Reason.NOT_A_HUB_MESSAGE),
        (GOOD.replace(b'"type":1,', b'"type":1,"type":1,', 1), Reason.DUPLICATE_KEY),
        (record("[" * 30 + "]" * 30, ENVELOPE), Reason.NOT_AN_ENVELOPE),
        (record("[" * 31 + "]" * 31), Reason.TOO_DEEP),
        (b"[" * 10_000 + b"]" * 10_000, Reason.TOO_DEEP),
        (b"[" * 1_000_000, Reason.TOO_DEEP),
        (b'{"a":' * 150_000, Reason.TOO_DEEP),
    ],
)
def test_a_record_that_cannot_be_read_is_one_rejected_event(raw: bytes, reason: Reason) -> None:
    event = decode(raw)[0]
    assert isinstance(event.body, Undecodable)
    assert (event.position, event.subject, event.client_id, event.body.reason) == (0, None, None, reason)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":6}',
        b'{"type":3,"invocationId":"1","error":"no"}',
        b'{"type":7,"allowReconnect":true}',
        b'{"type":-1}',
        b'{"type":99999999999999999999999,"target":"executionEvents","arguments":[{}]}',
        GOOD.replace(b"executionEvents", b"subscriptions", 1),
        GOOD.replace(b"executionEvents", b"executionEvent", 1),
        b'{"type":1,"target":"","arguments":[]}',
    ],
)
def test_a_record_for_another_target_or_of_another_type_is_not_ours(raw: bytes) -> None:
    assert decode(raw) == (Event(0, None, None, Unhandled()),)


@pytest.mark.parametrize("target", [b"EXECUTIONEVENTS", b"ExecutionEvents"])
def test_the_targets_case_does_not_matter(target: bytes) -> None:
    """Microsoft's JavaScript client does not distinguish it, so the hub could change it unnoticed."""
    assert decode(GOOD.replace(b"executionEvents", target, 1)) == decode(GOOD)


@pytest.mark.parametrize("size", [10, 1_048_576 + 1, 10_000_000])
def test_a_record_above_the_limit_is_not_even_looked_at(size: int) -> None:
    """Invariant I13."""
    body = rejected(GOOD.ljust(size), record_bytes=min(size, 1_048_576, len(GOOD)) - 1)
    assert body.reason is Reason.TOO_LARGE


def test_a_record_as_large_as_the_limit_is_read() -> None:
    event = only(decode(GOOD.ljust(1_048_576)))
    assert isinstance(event.body, BalanceSnapshot)


def test_the_head_of_a_record_that_the_receiver_cut_is_too_large_even_if_it_reads_well() -> None:
    received = Record(UUID(int=1), 1, datetime(2026, 1, 1, tzinfo=UTC), GOOD, 5_000_000, b"digest")
    read = Decoder(Limits()).decoded(received)
    body = only(read.events).body

    assert read.record is received
    assert isinstance(body, Undecodable)
    assert body.reason is Reason.TOO_LARGE
    assert "5000000 bytes" in body.detail


def test_a_whole_record_above_the_limit_is_too_large_also_for_the_writer() -> None:
    """Invariant I13."""
    received = Record(UUID(int=1), 1, datetime(2026, 1, 1, tzinfo=UTC), GOOD, len(GOOD))
    limits = Limits(record_bytes=len(GOOD) - 1)
    assert Decoder(limits).decoded(received).events == decode(GOOD, limits)
    assert rejected(GOOD, record_bytes=len(GOOD) - 1).reason is Reason.TOO_LARGE


def test_what_is_redacted_is_the_text_of_what_becomes_no_state() -> None:
    texts = [
        envelope(account(asset(), asset()), client=',"clientId":"key-c"').replace("BTC", "key-a"),
        envelope('"key-e"', '"key.error"'),
        envelope("{}", '"key-s"'),
        envelope(account(asset('"key-held"')), client=',"clientId":"key-c"'),
    ]
    raw = record(*texts)
    received = Record(UUID(int=1), 1, datetime(2026, 1, 1, tzinfo=UTC), raw, len(raw))
    masked = Decoder(Limits(), lambda text: text.replace("key", "***"))
    broken, error, unhandled, held = masked.decoded(received).events

    assert isinstance(broken.body, Undecodable)
    assert "***-a" in broken.body.detail
    assert (broken.client_id, broken.position) == ("***-c", 0)
    assert (error.subject, error.body) == ("***.error", HubError("***-e"))
    assert (unhandled.subject, unhandled.body) == ("***-s", Unhandled())
    assert isinstance(held.body, BalanceSnapshot)
    assert (held.body.assets[0].name, held.client_id) == ("key-held", "key-c")
    assert Decoder(Limits()).decoded(received).events == decode(raw)


def test_each_argument_is_an_event_and_lists_of_envelopes_are_opened() -> None:
    pairs = envelope("[]", quoted(PAIRS))
    events = decode(record(ENVELOPE, f"[{pairs},{ENVELOPE}]", "5", "[]", pairs))
    assert [event.position for event in events] == [0, 1, 2, 3, 4, 5]
    assert [type(event.body) for event in events] == [
        BalanceSnapshot, PairList, BalanceSnapshot, Undecodable, Undecodable, PairList,
    ]  # fmt: skip


def test_one_bad_argument_does_not_harm_its_neighbours() -> None:
    bad = [
        envelope(account(asset(), asset())),
        ENVELOPE.replace('"topic":', '"topic":0,"topic":'),
        envelope(quoted("[" * 100)),
        "null",
    ]
    events = decode(record(*(each for one in bad for each in (one, ENVELOPE))))
    assert [isinstance(event.body, BalanceSnapshot) for event in events] == [False, True] * 4


def test_more_arguments_than_the_limit_are_one_rejected_event() -> None:
    """Invariant I13."""
    assert rejected(record(ENVELOPE, f"[{ENVELOPE},{ENVELOPE}]"), arguments=2).reason is Reason.TOO_MANY


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("null", Reason.NOT_AN_ENVELOPE),
        ('"text"', Reason.NOT_AN_ENVELOPE),
        ("1.5", Reason.NOT_AN_ENVELOPE),
        ("[[]]", Reason.NOT_AN_ENVELOPE),
        ("{}", Reason.MISSING_FIELD),
        (ENVELOPE.replace('"subject"', '"Subject"'), Reason.MISSING_FIELD),
        (envelope("{}", "null"), Reason.NOT_AN_ENVELOPE),
        (envelope("{}", "5"), Reason.NOT_AN_ENVELOPE),
        (envelope("{}", "[]"), Reason.NOT_AN_ENVELOPE),
        (envelope("{}", '""'), Reason.BAD_NAME),
        (envelope("{}", r'"a\u0000b"'), Reason.BAD_NAME),
        (envelope("{}", r'"a\ud800b"'), Reason.BAD_NAME),
        (envelope("{}", f'"{"x" * 201}"'), Reason.BAD_NAME),
        (ENVELOPE.replace('"topic"', r'"top\u0069c":0,"topic"'), Reason.DUPLICATE_KEY),
        (ENVELOPE.replace('"topic"', '"x":[{"y":{"z":1,"z":1}}],"topic"'), Reason.DUPLICATE_KEY),
        (ENVELOPE.replace('"data"', '"datum"'), Reason.MISSING_FIELD),
        (TWICE_WITH_AN_ESCAPED_COLON, Reason.DUPLICATE_KEY),
    ],
)
def test_an_argument_that_is_no_envelope_is_rejected(argument: str, reason: Reason) -> None:
    assert rejected(record(argument)).reason is reason


def test_a_rejected_payload_still_tells_its_subject_and_whom_it_answers() -> None:
    event = only(decode(in_string("{}")))
    assert isinstance(event.body, Undecodable)
    assert (event.subject, event.client_id) == (BALANCES, CLIENT_ID)


@pytest.mark.parametrize("client", ["", ',"clientId":null', ',"clientId":""', ',"clientId":7',
                                    r',"clientId":"\u0000"', r',"clientId":"\udc00"',
                                    f',"clientId":"{"x" * 65}"', ',"ClientId":"x"'])  # fmt: skip
@pytest.mark.parametrize("data", [account(asset()), quoted(account(asset()))])
def test_a_client_id_that_nobody_can_have_sent_costs_the_correlation_and_nothing_else(
    client: str, data: str
) -> None:
    event = only(decode(record(envelope(data, client=client))))
    assert event.client_id is None
    assert isinstance(event.body, BalanceSnapshot)


@pytest.mark.parametrize(
    "argument",
    [
        f'{{"subject":"account.balances.snapshot","data":{account(asset())}}}',
        f'{{"data":{account(asset())},"subject":"account.balances.snapshot","clientId":"é"}}',
        envelope(account(asset()), '"Account.Balances.SNAPSHOT"'),
        ENVELOPE.replace('"topic"', r'"price":NaN,"note":"\ud800","more":[{"a":1},{"a":1}],"topic"'),
        ENVELOPE.replace('"type":"message"', '"type":7'),
        envelope(f"[{account(asset())}]"),
        envelope(quoted(f"[{account(asset())}]")),
        envelope(quoted(quoted(account(asset())))),
        envelope(f" {quoted(f' {account(asset())} ')} "),
    ],
)
def test_what_the_vendors_pages_leave_open_is_taken_either_way(argument: str) -> None:
    body = only(decode(record(argument))).body
    assert isinstance(body, BalanceSnapshot), body
    assert body == only(decode(GOOD)).body


@pytest.mark.parametrize("subject", ["execution.pairs.snapshot", "account.balances", "x", "errors", "價格",
                                     "execution.feeds.priceUpdate", "a\tc'); DROP TABLE x;--"])  # fmt: skip
@pytest.mark.parametrize("data", ["null", "7", "[1,2]", '{"a":1,"a":2}', '"not json"', '"[["'])
def test_an_unknown_subject_is_unhandled_and_its_data_is_not_looked_into(subject: str, data: str) -> None:
    event = only(decode(record(envelope(data, quoted(subject)))))
    assert event == Event(0, subject, CLIENT_ID, Unhandled())


@pytest.mark.parametrize(
    "subject", ["preChecksError", "PRECHECKSERROR", "execution.order.error", "account.Error", "error"]
)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"statusError":"no funds","message":"other"}', "no funds"),
        ('{"statusError":"","message":"other"}', "other"),
        ('{"statusError":7,"message":"other"}', "other"),
        ('{"message":"first","message":"last"}', "last"),
        ('"no funds"', "no funds"),
        ('"no {\\"funds\\": [[["', 'no {"funds": [[['),
        (quoted('{"message":"no funds"}'), "no funds"),
        (quoted(quoted('{"message":"no funds"}')), "no funds"),
        (quoted(quoted("no funds")), "no funds"),
        ('"due \\u001b[2J\\n<3>\\u202e now"', "due \\x1b[2J\\n<3>\\u202e now"),
        ('"\\ud800"', "\\ud800"),
        ("{}", "the hub gave no reason"),
        ('""', "the hub gave no reason"),
        ("null", "the hub gave no reason"),
        ("[1]", "the hub gave no reason"),
        ("404", "the hub gave no reason"),
        ('"404"', "the hub gave no reason"),
    ],
)
def test_a_subject_that_ends_in_error_is_a_hub_error_with_a_text(
    subject: str, data: str, message: str
) -> None:
    event = only(decode(record(envelope(data, quoted(subject)))))
    assert event == Event(0, subject, CLIENT_ID, HubError(message))


def test_an_error_without_data_is_still_one() -> None:
    raw = record('{"subject":"preChecksError"}')
    assert decode(raw) == (Event(0, "preChecksError", None, HubError("the hub gave no reason")),)


@pytest.mark.parametrize("name", ["\u001b[31m", "a\nb", "<3>\r\nfake", "\u202egnp", "\x7f", "\x9b", "\u2028"])
@pytest.mark.parametrize("form", [in_string, as_value])
def test_a_detail_is_one_short_line_without_live_control_characters(name: str, form: Form) -> None:
    for long in (name, name * 30, name + "x" * 100_000):
        text = quoted(long).replace("\x7f", "\\u007f")
        body = rejected(form(account(asset(text, "true"))), name_bytes=1_000_000)
        assert body.reason is Reason.BAD_NUMBER
        assert body.detail.isprintable()
        assert len(body.detail) <= 300
        assert "available" in body.detail
        assert "assets[0]" in body.detail


# --- results of hub methods ---

ID = "0f0e0d0c-0b0a-4908-8706-050403020100"
NO_CLIENT = envelope(account(asset()), client=',"clientId":null')
PAIRS_ENVELOPE = envelope(listing(pair()), quoted(PAIRS), client="")
PUSHED = only(decode(GOOD)).body


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize(
    "value",
    [
        account(asset()),
        f"[{account(asset())}]",
        quoted(account(asset())),
        quoted(f"[{account(asset())}]"),
        NO_CLIENT,
        f"[{NO_CLIENT}]",
        quoted(NO_CLIENT),
        quoted(f"[{NO_CLIENT}]"),
    ],
)
def test_what_a_hub_method_returns_is_read_like_what_the_hub_pushes(kind: int, value: str) -> None:
    assert decode(returned(value, kind=kind, invocation_id=quoted(ID))) == (Event(0, BALANCES, ID, PUSHED),)


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize(
    "value",
    [
        listing(pair()),
        pair(),
        quoted(listing(pair())),
        PAIRS_ENVELOPE,
        f"[{PAIRS_ENVELOPE}]",
    ],
)
def test_a_list_of_pairs_may_be_returned_too(kind: int, value: str) -> None:
    event = only(decode(returned(value, kind=kind, invocation_id=quoted(ID))))
    assert (event.subject, event.client_id) == (PAIRS, ID)
    assert isinstance(event.body, PairList)
    assert [each.name for each in event.body.pairs] == ["BTCUSDT"]


def test_several_envelopes_may_be_returned_at_once() -> None:
    events = decode(returned(f"[{NO_CLIENT},{PAIRS_ENVELOPE}]", invocation_id=quoted(ID)))
    assert [(event.position, event.client_id) for event in events] == [(0, ID), (1, ID)]
    assert [type(event.body) for event in events] == [BalanceSnapshot, PairList]


@pytest.mark.parametrize("invocation_id", ["null", "7", '""', f'"{"x" * 65}"'])
def test_an_invocation_id_that_nobody_can_have_sent_costs_the_correlation_only(invocation_id: str) -> None:
    event = only(decode(returned(NO_CLIENT, invocation_id=invocation_id)))
    assert event == Event(0, BALANCES, None, PUSHED)


def test_the_client_id_of_an_envelope_comes_before_the_id_of_the_invocation() -> None:
    event = only(decode(returned(ENVELOPE, invocation_id=quoted(ID))))
    assert event.client_id == CLIENT_ID


def test_what_the_hub_invokes_correlates_by_its_client_id_alone() -> None:
    raw = GOOD.replace(b'"type":1,', b'"type":1,"invocationId":"7",', 1)
    raw = raw.replace(CLIENT_ID.encode(), b"")
    assert only(decode(raw)).client_id is None


@pytest.mark.parametrize(
    "value",
    [
        "null", "true", "false", "0", '""', '"queued"', '"{"', "[]", "{}", "[[]]", "[null]", "[1,2]",
        '{"ok":true}', '{"userId":"u"}', '{"assets":[]}', '{"name":"BTCUSDT"}', f"[{ENVELOPE},null]",
        f"[{account()},{account()}]", f"[{pair()},{account()}]", quoted(quoted(account())),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [2, 3])
def test_any_other_result_is_no_event_of_ours(kind: int, value: str) -> None:
    assert decode(returned(value, kind=kind, invocation_id=quoted(ID))) == (
        Event(0, None, None, Unhandled()),
    )


@pytest.mark.parametrize("kind", [2, 3])
def test_a_result_that_says_it_wrong_is_rejected_and_still_tells_whom_it_answers(kind: int) -> None:
    event = only(decode(returned(account(asset(), asset()), kind=kind, invocation_id=quoted(ID))))
    assert isinstance(event.body, Undecodable)
    assert (event.body.reason, event.client_id) == (Reason.DUPLICATE_NAME, ID)


def test_each_kind_of_record_has_its_own_member_for_what_was_returned() -> None:
    raw = returned(account(asset()), invocation_id=quoted(ID))
    assert decode(raw.replace(b'"result"', b'"item"')) == (Event(0, None, None, Unhandled()),)
    assert decode(raw.replace(b'"type":3', b'"type":2')) == (Event(0, None, None, Unhandled()),)


def test_more_envelopes_than_the_limit_are_one_rejected_event_when_returned_too() -> None:
    raw = returned(f"[{ENVELOPE},{ENVELOPE},{ENVELOPE}]")
    assert rejected(raw, arguments=2).reason is Reason.TOO_MANY
