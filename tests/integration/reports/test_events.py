"""What else comes over the channel: typed, without personal data, and never altered."""

import json
from decimal import Decimal

import pytest

from tests.support.rows import Query, insert

ORDER = (
    '{"tradeId":"t1","side":"buy","pair":"BTCUSDT","price":26844.070,"size":0.01,"notional":268.4407,"status":1,'
    '"baseCurrency":"BTC","quoteCurrency":"USDT","timestamp":"2023-10-11T23:00:57.93094Z","statusError":""}'
)
WITHDRAWALS = (
    '[{"id":"w1","clientId":"c","userId":"u","name":"Ada","surname":"L","company":null,"description":"gift",'
    '"destination":"bc1q","destinationParams":{},"network":"BTC","amount":0.5,"asset":"BTC","fee":0.0001,'
    '"status":"CREATED","refId":"","isInstant":true,"timestamp":"2024-04-21T15:30:00Z"}]'
)
QUOTE = (
    '{"requestForQuoteId":"r","amount":15000,"requestDateTime":"2024-01-01T12:00:00Z",'
    '"expireDateTime":"2024-01-01T12:05:00"}'
)


def record(subject: str, data: str, *, as_text: bool = True) -> bytes:
    """A record with one envelope, as the hub writes it."""
    content = json.dumps(data) if as_text else data
    envelope = (
        f'{{"channel":"executionEvents","topic":"Account","subject":"{subject}","type":"message",'
        f'"clientId":"mine","data":{content}}}'
    )
    return f'{{"type":1,"target":"executionEvents","arguments":[{envelope}]}}'.encode()


def arrived(sql: Query, subject: str, raw: bytes, outcome: str = "ignored") -> None:
    ((number,),) = sql("SELECT count(*) + 1 FROM ingest.outcome")
    event = {"account": "main", "session_id": "00000000-0000-0000-0000-000000000001", "ordinal": number}
    insert(sql, "raw_event", **event, received_at="2025-03-03 09:00+00", size=len(raw), raw=raw)
    insert(
        sql,
        "outcome",
        **event,
        position=0,
        received_at="2025-03-03 09:00+00",
        outcome=outcome,
        reason="unhandled_subject",
        subject=subject,
    )


@pytest.mark.parametrize("as_text", [True, False])
def test_an_order_that_was_executed(as_text: bool, sql: Query) -> None:
    arrived(sql, "execution.order.executed", record("execution.order.executed", ORDER, as_text=as_text))
    assert sql("SELECT channel, topic, type, client_id, data_state, data ->> 'price' FROM report.event") == [
        ("executionEvents", "Account", "message", "mine", "whole", "26844.070")
    ]
    assert sql(
        "SELECT trade_id, side, pair, price, size, notional, status, "
        "executed_at = '2023-10-11 23:00:57.93094+00', executed_at_text FROM report.order_executed"
    ) == [
        (
            "t1",
            "buy",
            "BTCUSDT",
            Decimal("26844.070"),
            Decimal("0.01"),
            Decimal("268.4407"),
            1,
            True,
            "2023-10-11T23:00:57.93094Z",
        )
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31 23:59:59.999999+00"),  # .NET's greatest
        ("2023-10-11T23:00:57.9309417Z", "2023-10-11 23:00:57.930941+00"),
        ("2023-10-11T23:00:57.9309417+05:30", "2023-10-11 17:30:57.930941+00"),
        ("2023-10-11T23:00:57.930941", None),
    ],
)
def test_digits_beyond_microseconds_are_cut_off(text: str, moment: str | None, sql: Query) -> None:
    assert sql("SELECT report.as_time(to_jsonb(%s::text)) IS NOT DISTINCT FROM %s", text, moment) == [(True,)]


def test_personal_data_stays_private(sql: Query) -> None:
    arrived(sql, "account.withdrawals.snapshot", record("account.withdrawals.snapshot", WITHDRAWALS))
    arrived(sql, "banking.payees.snapshot", record("banking.payees.snapshot", '[{"name":"Ada"}]'))
    shown = sql("SELECT subject, data_state, data FROM report.event ORDER BY subject DESC")
    assert [row[:2] for row in shown] == [
        ("banking.payees.snapshot", "hidden"),
        ("account.withdrawals.snapshot", "reduced"),
    ]
    assert shown[0][2] is None
    for private in ("Ada", "bc1q", "gift", "name", "destination"):
        assert private not in json.dumps(shown[1][2])
    assert sql("SELECT withdrawal_id, amount, fee, is_instant, place FROM report.withdrawal_snapshot") == [
        ("w1", Decimal("0.5"), Decimal("0.0001"), True, 1)
    ]
    sql("INSERT INTO report.allowed_field VALUES ('banking.payees.snapshot', 'name')")
    assert sql("SELECT data FROM report.event WHERE data_state = 'whole'") == [([{"name": "Ada"}],)]


@pytest.mark.parametrize(
    "data",
    [
        '{"price":1e-9}',
        '{"price":1E400000}',
        '{"price":-0}',
        '{"price":1,"price":2}',
        r'{"pair":"a\u0000b"}',
        r'{"pair":"\ud800"}',
        "{",
        "",
    ],
)
def test_what_jsonb_would_alter_or_refuse_is_flagged(data: str, sql: Query) -> None:
    arrived(sql, "execution.pair.price", record("execution.pair.price", data))
    assert sql("SELECT data, data_state, client_id FROM report.event") == [(None, "unsafe", "mine")]
    assert sql("SELECT price FROM report.pair_price") == [(None,)]


@pytest.mark.parametrize(
    "data",
    [
        '{"price":-0.5}',
        '{"price":10.0,"pair":"1e5 : -0 {}"}',
        r'{"pair":"\"1e5\" \\"}',
        r'{"pair":"\ud83e\ude99"}',
        "[]",
    ],
)
def test_what_jsonb_keeps_is_shown(data: str, sql: Query) -> None:
    arrived(sql, "execution.pair.price", record("execution.pair.price", data))
    assert sql("SELECT data_state, data = %s::jsonb FROM report.event", data) == [("whole", True)]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"[1,2]", b'{"arguments":[7]}', b"{", b'{"arguments":[]}'])
def test_what_cannot_be_read_does_not_stop_the_others(raw: bytes, sql: Query) -> None:
    arrived(sql, "execution.pair.price", raw, "quarantined")
    arrived(sql, "execution.pair.price", record("execution.pair.price", '{"price":2,"timestamp":""}'))
    assert sql("SELECT outcome, data_state FROM report.event ORDER BY ordinal") == [
        ("quarantined", "unreadable"),
        ("ignored", "whole"),
    ]
    assert sql("SELECT price, priced_at, priced_at_text FROM report.pair_price WHERE price > 0") == [
        (2, None, "")
    ]


@pytest.mark.parametrize(
    ("view", "subject", "data", "columns", "row"),
    [
        (
            "request_for_quote",
            "account.requestForQuote.created",
            QUOTE,
            "request_for_quote_id, amount, requested_at IS NULL, expires_at IS NULL",
            ("r", 15000, False, True),
        ),
        (
            "order_snapshot",
            "account.orders.snapshot",
            '[{"orderId":"o1","price":30000,"executedPrice":29950},{"orderId":"o2","price":"?"}]',
            "order_id, price, place",
            ("o1", 30000, 1),
        ),
        (
            "trade_snapshot",
            "account.trades.snapshot",
            '[{"id":"trade_1","email":"ada@example.com","price":30000.5,"quantityFilled":0.1}]',
            "trade_id, price, quantity_filled",
            ("trade_1", Decimal("30000.5"), Decimal("0.1")),
        ),
        (
            "transaction_snapshot",
            "account.transactions.snapshot",
            '[{"id":"t","sequence":1001,"type":0,"asset":"BTC","amount":0.5}]',
            "sequence, transaction_type, asset, amount",
            (1001, 0, "BTC", Decimal("0.5")),
        ),
    ],
)
def test_each_subject_has_its_view(
    view: str, subject: str, data: str, columns: str, row: tuple[object, ...], sql: Query
) -> None:
    arrived(sql, subject, record(subject, data))
    assert sql(f"SELECT {columns} FROM report.{view}")[0] == row


def test_snapshots_of_a_stream_are_no_events(sql: Query) -> None:
    arrived(sql, "execution.pairs", record("execution.pairs", "[]"))
    sql("UPDATE ingest.outcome SET kind = 'pairs'")
    assert sql("SELECT * FROM report.event") == []
