CREATE TABLE report.allowed_field (
    subject text NOT NULL,
    field text NOT NULL,
    PRIMARY KEY (subject, field)
);
COMMENT ON TABLE report.allowed_field IS
    'Which fields of an event''s data does report.event show? Those without personal data; all others stay in the private schema. Add a row to show one more.';
COMMENT ON COLUMN report.allowed_field.subject IS 'Subject of the envelope.';
COMMENT ON COLUMN report.allowed_field.field IS 'Name of a field of the data, or of each element where the data is a list.';
INSERT INTO report.allowed_field
SELECT subject, unnest(string_to_array(fields, ' '))
FROM (VALUES
    ('execution.order.executed', 'tradeId side pair price size notional status baseCurrency quoteCurrency timestamp statusError'),
    ('account.requestForQuote.created', 'requestForQuoteId userId instrument baseCurrency quoteCurrency side size price amount status requestDateTime expireDateTime'),
    ('execution.pair.price', 'id pair price size timestamp'),
    ('account.orders.snapshot', 'orderId clientId userId instrument base quote side orderType price executedPrice executedTimestamp quantity quantityFilled orderStatus cancellationReason slippage timestamp'),
    ('account.trades.snapshot', 'id userId clientId instrument side price quantityFilled timestamp'),
    ('account.transactions.snapshot', 'id userId sequence type asset amount timestamp'),
    ('account.withdrawals.snapshot', 'id clientId userId network asset amount fee status isInstant timestamp')
) AS allowed (subject, fields);

-- Nothing here may raise an error, because one unreadable event would make the whole view unreadable.
CREATE FUNCTION report.decoded_event(raw bytea, "position" integer, fields text[])
RETURNS TABLE (channel text, topic text, type text, client_id text, data jsonb, data_state text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    envelope json;
    content text;
    parsed jsonb;
    bare text;
    bare_parsed text;
BEGIN
    data_state := 'unreadable';
    BEGIN
        envelope := convert_from(raw, 'UTF8')::json -> 'arguments' -> "position";
        IF json_typeof(envelope) = 'array' THEN
            envelope := envelope -> 0;
        END IF;
        IF json_typeof(envelope) IS DISTINCT FROM 'object' THEN
            RETURN NEXT;
            RETURN;
        END IF;
        channel := envelope ->> 'channel';
        topic := envelope ->> 'topic';
        type := envelope ->> 'type';
        client_id := envelope ->> 'clientId';
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NEXT;
        RETURN;
    END;
    IF fields IS NULL THEN
        data_state := 'hidden';
        RETURN NEXT;
        RETURN;
    END IF;
    data_state := 'unsafe';
    BEGIN
        content := CASE json_typeof(envelope -> 'data') WHEN 'string' THEN envelope ->> 'data' ELSE (envelope -> 'data')::text END;
        parsed := content::jsonb;
        bare := regexp_replace(content, '"(\\.|[^"\\])*"', '', 'g');
        bare_parsed := regexp_replace(parsed::text, '"(\\.|[^"\\])*"', '', 'g');
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        RETURN NEXT;
        RETURN;
    END;
    -- jsonb changes exponents and negative zeros, and drops all but one member of the same name.
    IF bare IS NULL OR bare ~ '[0-9][eE]' OR bare ~ '-0(\.0+)?([^0-9.]|$)'
        OR length(bare) - length(replace(bare, ':', '')) <> length(bare_parsed) - length(replace(bare_parsed, ':', ''))
    THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT CASE jsonb_typeof(parsed)
        WHEN 'object' THEN (
            SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(parsed) AS m WHERE m.key = ANY (fields)
        )
        WHEN 'array' THEN (
            SELECT coalesce(jsonb_agg(each.kept ORDER BY each.place), '[]')
            FROM (
                SELECT e.place, coalesce(jsonb_object_agg(m.key, m.value) FILTER (WHERE m.key = ANY (fields)), '{}') AS kept
                FROM jsonb_array_elements(parsed) WITH ORDINALITY AS e (value, place)
                LEFT JOIN LATERAL jsonb_each(CASE jsonb_typeof(e.value) WHEN 'object' THEN e.value ELSE '{}' END) AS m ON true
                GROUP BY e.place
            ) AS each
        )
    END INTO data;
    data_state := CASE WHEN data = parsed THEN 'whole' ELSE 'reduced' END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION report.decoded_event(bytea, integer, text[]) IS
    'What are the fields of an envelope, and the named fields of its data? See report.event.
channel: Channel of the envelope.
topic: Topic of the envelope.
type: Type of the envelope.
client_id: The clientId of the envelope.
data: The allowed fields of the data.
data_state: How much of the data is shown; see report.event.';

CREATE FUNCTION report.as_number(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value) WHEN 'number' THEN (value #>> '{}')::numeric END;
COMMENT ON FUNCTION report.as_number(jsonb) IS 'The number, with every digit; null for anything else.';

CREATE FUNCTION report.as_time(value jsonb) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    -- Without a time zone, the result would depend on the session's. Further digits are cut off: rounded, .NET's
    -- greatest time, which stands for none, would be in the year 10000, which many drivers cannot read.
    RETURN CASE WHEN value #>> '{}' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$'
        THEN regexp_replace(value #>> '{}', '(\.\d{6})\d+', '\1')::timestamptz END;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION report.as_time(jsonb) IS 'The time, to the microsecond, if it names its zone; null for anything else.';

CREATE VIEW report.event AS
SELECT
    o.account, o.received_at, o.subject, o.outcome, o.reason, o.request_id, e.channel, e.topic, e.type, e.client_id,
    e.data, coalesce(e.data_state, 'unreadable') AS data_state, o.session_id, o.ordinal, o.position
FROM ingest.outcome AS o
LEFT JOIN ingest.record AS r
    ON r.account = o.account AND r.session_id = o.session_id AND r.ordinal = o.ordinal AND r.received_at = o.received_at
    AND r.sha256 IS NULL
LEFT JOIN LATERAL report.decoded_event(
    r.raw, o.position, (SELECT array_agg(a.field) FROM report.allowed_field AS a WHERE a.subject = o.subject)
) AS e ON true
WHERE o.kind IS NULL;

COMMENT ON VIEW report.event IS
    'Which other events did the hub send? Every event that is neither a snapshot of the balances nor of the pairs.';
COMMENT ON COLUMN report.event.subject IS 'Subject of the envelope.';
COMMENT ON COLUMN report.event.outcome IS 'Its outcome: ignored or quarantined.';
COMMENT ON COLUMN report.event.reason IS 'Reason of the outcome.';
COMMENT ON COLUMN report.event.request_id IS 'Correlation id: the request of ours that it answers, if any.';
COMMENT ON COLUMN report.event.channel IS 'Channel of the envelope.';
COMMENT ON COLUMN report.event.topic IS 'Topic of the envelope.';
COMMENT ON COLUMN report.event.type IS 'Type of the envelope.';
COMMENT ON COLUMN report.event.client_id IS 'The clientId of the envelope.';
COMMENT ON COLUMN report.event.data IS 'The data, with the fields of report.allowed_field only.';
COMMENT ON COLUMN report.event.data_state IS 'whole: all of the data is shown. reduced: some fields are not in report.allowed_field. hidden: the subject is not. unsafe: jsonb would alter or refuse a value, see the bytes. unreadable: there is no such envelope.';

CREATE VIEW report.order_executed AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    e.data ->> 'tradeId' AS trade_id,
    e.data ->> 'side' AS side,
    e.data ->> 'pair' AS pair,
    report.as_number(e.data -> 'price') AS price,
    report.as_number(e.data -> 'size') AS size,
    report.as_number(e.data -> 'notional') AS notional,
    report.as_number(e.data -> 'status') AS status,
    e.data ->> 'statusError' AS status_error,
    e.data ->> 'baseCurrency' AS base_currency,
    e.data ->> 'quoteCurrency' AS quote_currency,
    report.as_time(e.data -> 'timestamp') AS executed_at,
    e.data ->> 'timestamp' AS executed_at_text,
    e.session_id,
    e.ordinal,
    e.position
FROM report.event AS e
WHERE e.subject = 'execution.order.executed';

COMMENT ON VIEW report.order_executed IS
    'Which orders did the hub report as executed? One row per event.';
COMMENT ON COLUMN report.order_executed.trade_id IS 'The hub''s id of the trade.';
COMMENT ON COLUMN report.order_executed.side IS 'buy or sell.';
COMMENT ON COLUMN report.order_executed.pair IS 'Name of the pair.';
COMMENT ON COLUMN report.order_executed.price IS 'Price, in quote units.';
COMMENT ON COLUMN report.order_executed.size IS 'Size, in base units.';
COMMENT ON COLUMN report.order_executed.notional IS 'Size times price, in quote units.';
COMMENT ON COLUMN report.order_executed.status IS '0 created, 1 executed, 2 cancelled, 3 pending.';
COMMENT ON COLUMN report.order_executed.status_error IS 'Why it was cancelled or rejected.';
COMMENT ON COLUMN report.order_executed.base_currency IS 'Base currency.';
COMMENT ON COLUMN report.order_executed.quote_currency IS 'Quote currency.';
COMMENT ON COLUMN report.order_executed.executed_at IS 'The hub''s time of it; null where it names no zone.';
COMMENT ON COLUMN report.order_executed.executed_at_text IS 'The same as received.';

CREATE VIEW report.request_for_quote AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    e.data ->> 'requestForQuoteId' AS request_for_quote_id,
    e.data ->> 'userId' AS user_id,
    e.data ->> 'instrument' AS instrument,
    e.data ->> 'baseCurrency' AS base_currency,
    e.data ->> 'quoteCurrency' AS quote_currency,
    e.data ->> 'side' AS side,
    report.as_number(e.data -> 'size') AS size,
    report.as_number(e.data -> 'price') AS price,
    report.as_number(e.data -> 'amount') AS amount,
    report.as_number(e.data -> 'status') AS status,
    report.as_time(e.data -> 'requestDateTime') AS requested_at,
    e.data ->> 'requestDateTime' AS requested_at_text,
    report.as_time(e.data -> 'expireDateTime') AS expires_at,
    e.data ->> 'expireDateTime' AS expires_at_text,
    e.session_id,
    e.ordinal,
    e.position
FROM report.event AS e
WHERE e.subject = 'account.requestForQuote.created';

COMMENT ON VIEW report.request_for_quote IS
    'Which quotes did the hub send? One row per event.';
COMMENT ON COLUMN report.request_for_quote.request_for_quote_id IS 'The hub''s id of the quote.';
COMMENT ON COLUMN report.request_for_quote.instrument IS 'Name of the pair.';
COMMENT ON COLUMN report.request_for_quote.base_currency IS 'Base currency.';
COMMENT ON COLUMN report.request_for_quote.quote_currency IS 'Quote currency.';
COMMENT ON COLUMN report.request_for_quote.side IS 'buy or sell.';
COMMENT ON COLUMN report.request_for_quote.size IS 'Size, in base units.';
COMMENT ON COLUMN report.request_for_quote.price IS 'Price, in quote units.';
COMMENT ON COLUMN report.request_for_quote.amount IS 'Amount, in quote units.';
COMMENT ON COLUMN report.request_for_quote.status IS '0 created, 1 executed, 2 cancelled, 3 pending.';
COMMENT ON COLUMN report.request_for_quote.requested_at IS 'The hub''s time of the request; null where it names no zone.';
COMMENT ON COLUMN report.request_for_quote.requested_at_text IS 'The same as received.';
COMMENT ON COLUMN report.request_for_quote.expires_at IS 'Until when the quote is valid; null where it names no zone.';
COMMENT ON COLUMN report.request_for_quote.expires_at_text IS 'The same as received.';

CREATE VIEW report.pair_price AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    e.data ->> 'id' AS price_id,
    e.data ->> 'pair' AS pair,
    report.as_number(e.data -> 'price') AS price,
    report.as_number(e.data -> 'size') AS size,
    report.as_time(e.data -> 'timestamp') AS priced_at,
    e.data ->> 'timestamp' AS priced_at_text,
    e.session_id,
    e.ordinal,
    e.position
FROM report.event AS e
WHERE e.subject = 'execution.pair.price';

COMMENT ON VIEW report.pair_price IS
    'Which prices did the hub quote for an amount? One row per event.';
COMMENT ON COLUMN report.pair_price.price_id IS 'The hub''s id of the price.';
COMMENT ON COLUMN report.pair_price.pair IS 'Name of the pair.';
COMMENT ON COLUMN report.pair_price.price IS 'Price, in quote units.';
COMMENT ON COLUMN report.pair_price.size IS 'Size, in base units.';
COMMENT ON COLUMN report.pair_price.priced_at IS 'The hub''s time of it; null where it names no zone.';
COMMENT ON COLUMN report.pair_price.priced_at_text IS 'The same as received.';

CREATE VIEW report.order_snapshot AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    d.value ->> 'orderId' AS order_id,
    d.value ->> 'clientId' AS order_client_id,
    d.value ->> 'userId' AS user_id,
    d.value ->> 'instrument' AS instrument,
    d.value ->> 'base' AS base_currency,
    d.value ->> 'quote' AS quote_currency,
    d.value ->> 'side' AS side,
    report.as_number(d.value -> 'orderType') AS order_type,
    report.as_number(d.value -> 'price') AS price,
    report.as_number(d.value -> 'executedPrice') AS executed_price,
    report.as_number(d.value -> 'quantity') AS quantity,
    report.as_number(d.value -> 'quantityFilled') AS quantity_filled,
    report.as_number(d.value -> 'orderStatus') AS status,
    d.value ->> 'cancellationReason' AS cancellation_reason,
    report.as_number(d.value -> 'slippage') AS slippage,
    report.as_time(d.value -> 'executedTimestamp') AS executed_at,
    d.value ->> 'executedTimestamp' AS executed_at_text,
    report.as_time(d.value -> 'timestamp') AS ordered_at,
    d.value ->> 'timestamp' AS ordered_at_text,
    e.session_id,
    e.ordinal,
    e.position,
    d.place
FROM report.event AS e
CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.data) WHEN 'array' THEN e.data ELSE '[]' END)
    WITH ORDINALITY AS d (value, place)
WHERE e.subject = 'account.orders.snapshot';

COMMENT ON VIEW report.order_snapshot IS
    'Which orders did the hub list? One row per order and list: take the newest list for the state of an order.';
COMMENT ON COLUMN report.order_snapshot.order_id IS 'The hub''s id of the order.';
COMMENT ON COLUMN report.order_snapshot.order_client_id IS 'The client''s id of the order.';
COMMENT ON COLUMN report.order_snapshot.instrument IS 'Name of the pair.';
COMMENT ON COLUMN report.order_snapshot.base_currency IS 'Base currency.';
COMMENT ON COLUMN report.order_snapshot.quote_currency IS 'Quote currency.';
COMMENT ON COLUMN report.order_snapshot.side IS 'buy or sell.';
COMMENT ON COLUMN report.order_snapshot.order_type IS '0 market, 1 fill or kill.';
COMMENT ON COLUMN report.order_snapshot.price IS 'Price that was asked for, in quote units.';
COMMENT ON COLUMN report.order_snapshot.executed_price IS 'Price at which it was executed, in quote units.';
COMMENT ON COLUMN report.order_snapshot.quantity IS 'Size, in base units.';
COMMENT ON COLUMN report.order_snapshot.quantity_filled IS 'How much of it was executed, in base units.';
COMMENT ON COLUMN report.order_snapshot.status IS '0 created, 1 executed, 2 cancelled, 3 pending.';
COMMENT ON COLUMN report.order_snapshot.cancellation_reason IS 'Why it was cancelled.';
COMMENT ON COLUMN report.order_snapshot.slippage IS 'Slippage that was allowed, in percent.';
COMMENT ON COLUMN report.order_snapshot.executed_at IS 'The hub''s time of the execution; null where it names no zone.';
COMMENT ON COLUMN report.order_snapshot.executed_at_text IS 'The same as received.';
COMMENT ON COLUMN report.order_snapshot.ordered_at IS 'The hub''s time of the order; null where it names no zone.';
COMMENT ON COLUMN report.order_snapshot.ordered_at_text IS 'The same as received.';

CREATE VIEW report.trade_snapshot AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    d.value ->> 'id' AS trade_id,
    d.value ->> 'clientId' AS trade_client_id,
    d.value ->> 'userId' AS user_id,
    d.value ->> 'instrument' AS instrument,
    d.value ->> 'side' AS side,
    report.as_number(d.value -> 'price') AS price,
    report.as_number(d.value -> 'quantityFilled') AS quantity_filled,
    report.as_time(d.value -> 'timestamp') AS traded_at,
    d.value ->> 'timestamp' AS traded_at_text,
    e.session_id,
    e.ordinal,
    e.position,
    d.place
FROM report.event AS e
CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.data) WHEN 'array' THEN e.data ELSE '[]' END)
    WITH ORDINALITY AS d (value, place)
WHERE e.subject = 'account.trades.snapshot';

COMMENT ON VIEW report.trade_snapshot IS
    'Which trades did the hub list? One row per trade and list.';
COMMENT ON COLUMN report.trade_snapshot.trade_id IS 'The hub''s id of the trade.';
COMMENT ON COLUMN report.trade_snapshot.trade_client_id IS 'The id that was given for it.';
COMMENT ON COLUMN report.trade_snapshot.instrument IS 'Name of the pair, as the hub writes it here.';
COMMENT ON COLUMN report.trade_snapshot.side IS 'buy or sell.';
COMMENT ON COLUMN report.trade_snapshot.price IS 'Price, in quote units.';
COMMENT ON COLUMN report.trade_snapshot.quantity_filled IS 'Size, in base units.';
COMMENT ON COLUMN report.trade_snapshot.traded_at IS 'The hub''s time of it; null where it names no zone.';
COMMENT ON COLUMN report.trade_snapshot.traded_at_text IS 'The same as received.';

CREATE VIEW report.transaction_snapshot AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    d.value ->> 'id' AS transaction_id,
    d.value ->> 'userId' AS user_id,
    report.as_number(d.value -> 'sequence') AS sequence,
    report.as_number(d.value -> 'type') AS transaction_type,
    d.value ->> 'asset' AS asset,
    report.as_number(d.value -> 'amount') AS amount,
    report.as_time(d.value -> 'timestamp') AS booked_at,
    d.value ->> 'timestamp' AS booked_at_text,
    e.session_id,
    e.ordinal,
    e.position,
    d.place
FROM report.event AS e
CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.data) WHEN 'array' THEN e.data ELSE '[]' END)
    WITH ORDINALITY AS d (value, place)
WHERE e.subject = 'account.transactions.snapshot';

COMMENT ON VIEW report.transaction_snapshot IS
    'Which transactions did the hub list? One row per transaction and list.';
COMMENT ON COLUMN report.transaction_snapshot.transaction_id IS 'The hub''s id of the transaction.';
COMMENT ON COLUMN report.transaction_snapshot.sequence IS 'The hub''s number of the transaction.';
COMMENT ON COLUMN report.transaction_snapshot.transaction_type IS '0 deposit, 1 withdrawal, 2 trade fee; the hub may have others.';
COMMENT ON COLUMN report.transaction_snapshot.asset IS 'Name of the asset.';
COMMENT ON COLUMN report.transaction_snapshot.amount IS 'Amount, in units of the asset.';
COMMENT ON COLUMN report.transaction_snapshot.booked_at IS 'The hub''s time of it; null where it names no zone.';
COMMENT ON COLUMN report.transaction_snapshot.booked_at_text IS 'The same as received.';

CREATE VIEW report.withdrawal_snapshot AS
SELECT
    e.account,
    e.received_at,
    e.client_id,
    d.value ->> 'id' AS withdrawal_id,
    d.value ->> 'clientId' AS withdrawal_client_id,
    d.value ->> 'userId' AS user_id,
    d.value ->> 'network' AS network,
    d.value ->> 'asset' AS asset,
    report.as_number(d.value -> 'amount') AS amount,
    report.as_number(d.value -> 'fee') AS fee,
    d.value ->> 'status' AS status,
    (d.value -> 'isInstant') = 'true' AS is_instant,
    report.as_time(d.value -> 'timestamp') AS withdrawn_at,
    d.value ->> 'timestamp' AS withdrawn_at_text,
    e.session_id,
    e.ordinal,
    e.position,
    d.place
FROM report.event AS e
CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.data) WHEN 'array' THEN e.data ELSE '[]' END)
    WITH ORDINALITY AS d (value, place)
WHERE e.subject = 'account.withdrawals.snapshot';

COMMENT ON VIEW report.withdrawal_snapshot IS
    'Which withdrawals did the hub list? One row per withdrawal and list. Names and addresses stay in the private schema.';
COMMENT ON COLUMN report.withdrawal_snapshot.withdrawal_id IS 'The hub''s id of the withdrawal.';
COMMENT ON COLUMN report.withdrawal_snapshot.withdrawal_client_id IS 'The id that was given for it.';
COMMENT ON COLUMN report.withdrawal_snapshot.network IS 'Network over which it goes.';
COMMENT ON COLUMN report.withdrawal_snapshot.asset IS 'Name of the asset.';
COMMENT ON COLUMN report.withdrawal_snapshot.amount IS 'Amount, in units of the asset.';
COMMENT ON COLUMN report.withdrawal_snapshot.fee IS 'Fee, in units of the asset.';
COMMENT ON COLUMN report.withdrawal_snapshot.status IS 'CREATED, CONFIRMING or CONFIRMED.';
COMMENT ON COLUMN report.withdrawal_snapshot.is_instant IS 'It was requested as an instant one.';
COMMENT ON COLUMN report.withdrawal_snapshot.withdrawn_at IS 'The hub''s time of it; null where it names no zone.';
COMMENT ON COLUMN report.withdrawal_snapshot.withdrawn_at_text IS 'The same as received.';
