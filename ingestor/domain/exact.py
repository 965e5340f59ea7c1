"""The exact reading of a record: Invocation, envelopes, routes. It defines what `decode` means.

A record is `{"type":1,"target":"executionEvents","arguments":[envelope, …]}`. The vendor's pages disagree on
whether an argument is an envelope or a list of them, and whether an envelope's `data` is a value or a string
that holds JSON; all of it is taken. Routing is by `subject` alone, the only part that tells events apart on
every page; errors too are told by their subject.
"""

from ingestor.domain.events import Body, Event, HubError, Reason, Unhandled
from ingestor.domain.exact_json import Number, Object, read, repeated_key
from ingestor.domain.limits import Limits
from ingestor.domain.names import is_storable
from ingestor.domain.payloads import balances, pairs
from ingestor.domain.refusal import Refused, shown
from ingestor.domain.scrub import scrub

TARGET = "executionEvents"
BALANCES = "account.balances.snapshot"
PAIRS = "execution.pairs"

_INVOCATION = Number("1")


def events(raw: bytes, limits: Limits) -> tuple[Event, ...]:
    """The events of a record that is not above the size limit. Never raises."""
    try:
        envelopes = _envelopes(raw, limits)
    except Refused as refusal:
        return (Event(0, None, None, refusal.rejected()),)
    if envelopes is None:
        return (Event(0, None, None, Unhandled()),)
    return tuple(_event(position, each, limits) for position, each in enumerate(envelopes))


def correlation(client_id: object, limits: Limits) -> str | None:
    """An envelope's `clientId`, or None: one that nobody can have sent correlates with nothing."""
    if isinstance(client_id, str) and 0 < len(client_id) <= limits.client_id_chars and is_storable(client_id):
        return client_id
    return None


def _envelopes(raw: bytes, limits: Limits) -> list[object] | None:
    """What stands in `arguments`, lists in it opened one level; None for a record that is not for us."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOT_UTF8, f"byte {error.start} of {len(raw)}: {error.reason}") from None
    record = read(text, limits.depth)
    if not isinstance(record, Object):
        raise Refused(Reason.NOT_A_HUB_MESSAGE, "the record is not an object")
    if record.repeated is not None:
        raise Refused(Reason.DUPLICATE_KEY, f"{shown(record.repeated)} stands twice in the record")
    kind, target = record.get("type"), record.get("target")
    if not isinstance(kind, Number):
        raise Refused(Reason.NOT_A_HUB_MESSAGE, "type is not a number")
    if kind != _INVOCATION:
        return None
    if not isinstance(target, str):
        raise Refused(Reason.NOT_A_HUB_MESSAGE, "target is not a string")
    if target != TARGET:
        return None
    return _opened(record.get("arguments"), limits)


def _opened(arguments: object, limits: Limits) -> list[object]:
    if not isinstance(arguments, list) or not arguments:
        raise Refused(Reason.NOT_A_HUB_MESSAGE, "arguments is not a list with something in it")
    opened: list[object] = []
    for each in arguments:
        if isinstance(each, list) and each:
            opened.extend(each)
        else:
            opened.append(each)
    if len(opened) > limits.arguments:
        raise Refused(Reason.TOO_MANY, f"{len(opened)} arguments; the limit is {limits.arguments}")
    return opened


def _event(position: int, envelope: object, limits: Limits) -> Event:
    subject = client_id = None
    body: Body
    try:
        fields = _fields(envelope)
        client_id = correlation(fields.get("clientId"), limits)
        subject = _subject(fields, limits)
        body = _body(subject.lower(), fields, limits)
    except Refused as refusal:
        body = refusal.rejected()
    return Event(position, subject, client_id, body)


def _fields(envelope: object) -> Object:
    """The envelope as an object without repeated keys; `data` is looked into only by those who need it."""
    if not isinstance(envelope, Object):
        raise Refused(Reason.NOT_AN_ENVELOPE, "the argument is not an object")
    if envelope.repeated is not None:
        raise Refused(Reason.DUPLICATE_KEY, f"{shown(envelope.repeated)} stands twice in the envelope")
    _refuse_repeated([value for key, value in envelope.items() if key != "data"], "the envelope")
    return envelope


def _subject(envelope: Object, limits: Limits) -> str:
    if "subject" not in envelope:
        raise Refused(Reason.MISSING_FIELD, "subject is missing")
    subject = envelope["subject"]
    if not isinstance(subject, str):
        raise Refused(Reason.NOT_AN_ENVELOPE, "subject is not a string")
    if not (0 < len(subject) <= limits.subject_chars and is_storable(subject)):
        raise Refused(
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
        raise Refused(Reason.MISSING_FIELD, "data is missing")
    data = envelope["data"]
    for _ in range(2):
        if isinstance(data, str):
            data = read(data, limits.depth)
    _refuse_repeated(data, "data")
    return data


def _refuse_repeated(value: object, where: str) -> None:
    key = repeated_key(value)
    if key is not None:
        raise Refused(Reason.DUPLICATE_KEY, f"{shown(key)} stands twice in one object of {where}")


def _complaint(data: object, limits: Limits) -> str:
    """The text of an error, which may be bare text, or stand in `statusError` or `message`.

    Read leniently: a refusal that we fail to read would leave its command open until it times out.
    """
    for _ in range(2):
        if isinstance(data, str):
            try:
                data = read(data, limits.depth)
            except Refused:
                break
    if isinstance(data, Object):
        texts = (data.get("statusError"), data.get("message"))
        data = next((text for text in texts if isinstance(text, str) and text), None)
    return scrub(data) if isinstance(data, str) and data else "the hub gave no reason"
