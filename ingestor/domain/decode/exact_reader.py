"""Reads a record exactly: hub messages, envelopes, subjects. It defines the result of `decode`.

An Invocation is `{"type":1,"target":"executionEvents","arguments":[envelope, …]}`. The vendor's pages
disagree on whether an argument is an envelope or a list of them, and whether an envelope's `data` is a value
or a string that holds JSON; all of it is accepted. Routing is by `subject` alone, the only part that
distinguishes events on every page; errors too are known by their subject.

The pages do not say whether a hub method returns anything. A Completion's `result` and a StreamItem's `item`
are accepted too: envelopes, or the bare data of the two commands that we send. Any other result is ignored.
"""

from ingestor.domain.decode.errors import DecodeError, shown
from ingestor.domain.decode.exact_json import Number, Object, read, repeated_key
from ingestor.domain.decode.payloads import balances, is_storable, pairs
from ingestor.domain.events import Body, Event, HubError, Reason, Unhandled
from ingestor.domain.limits import Limits
from ingestor.domain.scrub import scrub

TARGET = "executionEvents"
"""In any case: Microsoft's JavaScript client, which the vendor recommends, does not distinguish it either."""
BALANCES = "account.balances.snapshot"
PAIRS = "execution.pairs"

_INVOCATION = Number("1")
_RESULTS = {Number("2"): "item", Number("3"): "result"}
"""The member of a StreamItem and of a Completion with the return value of a hub method."""


def events(raw: bytes, limits: Limits, *, size: int | None = None) -> tuple[Event, ...]:
    """The events of a record. Never raises.

    Args:
        size: bytes of the whole record, if the receiver kept only the beginning, because it was above the
        limit.
    """
    try:
        envelopes, invocation_id = _envelopes(raw, limits, size)
    except DecodeError as error:
        return (Event(0, None, None, error.undecodable()),)
    if not envelopes:
        return (Event(0, None, None, Unhandled()),)
    return tuple(_event(position, each, invocation_id, limits) for position, each in enumerate(envelopes))


def _correlation(client_id: object, limits: Limits) -> str | None:
    """An envelope's `clientId`; None if it cannot be the id of a request."""
    if isinstance(client_id, str) and 0 < len(client_id) <= limits.client_id_chars and is_storable(client_id):
        return client_id
    return None


def _envelopes(raw: bytes, limits: Limits, size: int | None) -> tuple[list[object], object]:
    """The envelopes, none for a record that is ignored; and the id of the invocation that they answer."""
    if size is not None or len(raw) > limits.record_bytes:
        detail = f"{size or len(raw)} bytes; the limit is {limits.record_bytes} (hub.max_record_bytes)"
        raise DecodeError(Reason.TOO_LARGE, f"the record has {detail}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(Reason.NOT_UTF8, f"byte {error.start} of {len(raw)}: {error.reason}") from None
    record = read(text, limits.depth)
    if not isinstance(record, Object):
        raise DecodeError(Reason.NOT_A_HUB_MESSAGE, "the record is not an object")
    if record.repeated is not None:
        raise DecodeError(Reason.DUPLICATE_KEY, f"{shown(record.repeated)} appears twice in the record")
    kind, target = record.get("type"), record.get("target")
    if not (isinstance(kind, Number) and kind.lexeme.lstrip("-").isdigit()):
        raise DecodeError(Reason.NOT_A_HUB_MESSAGE, "type is not a whole number")
    if kind in _RESULTS:
        return _returned(record.get(_RESULTS[kind]), limits), record.get("invocationId")
    if kind != _INVOCATION:
        return [], None
    if not isinstance(target, str):
        raise DecodeError(Reason.NOT_A_HUB_MESSAGE, "target is not a string")
    return ([] if target.lower() != TARGET.lower() else _opened(record.get("arguments"), limits)), None


def _returned(result: object, limits: Limits) -> list[object]:
    """The return value of a hub method, as envelopes."""
    if isinstance(result, str):
        try:
            result = read(result, limits.depth)
        except DecodeError:
            return []
    listed = result if isinstance(result, list) else [result]
    if len(listed) == 1 and _has(listed[0], "userId", "assets"):
        return [Object([("subject", BALANCES), ("data", listed[0])])]
    if listed and all(_has(each, "name", "asset", "currency") for each in listed):
        return [Object([("subject", PAIRS), ("data", listed)])]
    if listed and all(isinstance(each, Object) and "subject" in each for each in listed):
        return _opened(listed, limits)
    return []


def _has(value: object, *keys: str) -> bool:
    """Whether it is the bare data of an event: an object with these members, and not an envelope."""
    return isinstance(value, Object) and "subject" not in value and value.keys() >= set(keys)


def _opened(arguments: object, limits: Limits) -> list[object]:
    if not isinstance(arguments, list) or not arguments:
        raise DecodeError(Reason.NOT_A_HUB_MESSAGE, "arguments is not a list, or is empty")
    opened: list[object] = []
    for each in arguments:
        if isinstance(each, list) and each:
            opened.extend(each)
        else:
            opened.append(each)
    if len(opened) > limits.arguments:
        raise DecodeError(Reason.TOO_MANY, f"{len(opened)} arguments; the limit is {limits.arguments}")
    return opened


def _event(position: int, envelope: object, invocation_id: object, limits: Limits) -> Event:
    subject = client_id = None
    body: Body
    try:
        fields = _fields(envelope)
        client_id = _correlation(fields.get("clientId"), limits) or _correlation(invocation_id, limits)
        subject = _subject(fields, limits)
        body = _body(subject.lower(), fields, limits)
    except DecodeError as error:
        body = error.undecodable()
    return Event(position, subject, client_id, body)


def _fields(envelope: object) -> Object:
    """The envelope as an object without repeated keys; `data` is checked later, where it is needed."""
    if not isinstance(envelope, Object):
        raise DecodeError(Reason.NOT_AN_ENVELOPE, "the argument is not an object")
    if envelope.repeated is not None:
        raise DecodeError(Reason.DUPLICATE_KEY, f"{shown(envelope.repeated)} appears twice in the envelope")
    _require_unique_keys([value for key, value in envelope.items() if key != "data"], "the envelope")
    return envelope


def _subject(envelope: Object, limits: Limits) -> str:
    if "subject" not in envelope:
        raise DecodeError(Reason.MISSING_FIELD, "subject is missing")
    subject = envelope["subject"]
    if not isinstance(subject, str):
        raise DecodeError(Reason.NOT_AN_ENVELOPE, "subject is not a string")
    if not (0 < len(subject) <= limits.subject_chars and is_storable(subject)):
        raise DecodeError(
            Reason.BAD_NAME,
            f"subject {shown(subject)} is empty, has a NUL or a lone surrogate, "
            f"or is longer than {limits.subject_chars} characters",
        )
    return subject


def _body(route: str, envelope: Object, limits: Limits) -> Body:
    if route == BALANCES:
        return balances(_data(envelope, limits), limits)
    if route == PAIRS:
        return pairs(_data(envelope, limits), limits)
    if route.endswith("error"):
        return HubError(_complaint(envelope.get("data"), limits))
    return Unhandled()


def _data(envelope: Object, limits: Limits) -> object:
    """`data`: a value, JSON in a string, or that string in a string once more."""
    if "data" not in envelope:
        raise DecodeError(Reason.MISSING_FIELD, "data is missing")
    data = envelope["data"]
    for _ in range(2):
        if isinstance(data, str):
            data = read(data, limits.depth)
    _require_unique_keys(data, "data")
    return data


def _require_unique_keys(value: object, where: str) -> None:
    key = repeated_key(value)
    if key is not None:
        raise DecodeError(Reason.DUPLICATE_KEY, f"{shown(key)} appears twice in one object of {where}")


def _complaint(data: object, limits: Limits) -> str:
    """The text of an error: plain text, or `statusError` or `message` of an object.

    Read leniently: an error that cannot be read would leave its command open until it times out.
    """
    for _ in range(2):
        if isinstance(data, str):
            try:
                data = read(data, limits.depth)
            except DecodeError:
                break
    if isinstance(data, Object):
        texts = (data.get("statusError"), data.get("message"))
        data = next((text for text in texts if isinstance(text, str) and text), None)
    return scrub(data) if isinstance(data, str) and data else "the hub gave no reason"
