"""SignalR's JSON hub protocol as seen from the server: pure, bytes in and bytes out.

Its JSON keeps the digits it was given. A float would round what a .NET `decimal` writes in full (up to 29
significant digits, trailing zeros kept), so amounts are `Decimal` throughout, and floats are rejected.

Written from the public HubProtocol specification; the error texts are those of ASP.NET Core 10 with detailed
errors off, which is how a production server runs. No code is shared with the client under test.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Final

Json = None | bool | int | Decimal | str | list["Json"] | dict[str, "Json"]

RECORD_END: Final = b"\x1e"
SUPPORTED_VERSIONS: Final = range(3)
"""ASP.NET Core 10 accepts handshakes of version 0, 1 and 2."""

PING_TYPE: Final = 6
CLOSE_TYPE: Final = 7
PING: Final = b'{"type":6}\x1e'
HANDSHAKE_OK: Final = b"{}\x1e"
HANDSHAKE_TIMED_OUT: Final = "Handshake was canceled."
HANDSHAKE_FAILED: Final = "An unexpected error occurred during connection handshake."
CLOSED_WITH_ERROR: Final = "Connection closed with an error."


class ProtocolViolation(Exception):
    """The client sent a record that ends its connection."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The client calls a hub method."""

    target: str
    arguments: list[Json]
    invocation_id: str | None
    """None: the caller wants no Completion, not even for an error."""
    streaming: bool = False


def handshake_refusal(record: bytes) -> str | None:
    """Why the server refuses this handshake request; None if it accepts."""
    try:
        request = loads(record)
    except (ValueError, RecursionError):
        return HANDSHAKE_FAILED
    if not isinstance(request, dict):
        return HANDSHAKE_FAILED
    protocol, version = request.get("protocol"), request.get("version")
    if not isinstance(protocol, str) or not isinstance(version, int) or isinstance(version, bool):
        return HANDSHAKE_FAILED
    if protocol != "json":
        return f"The protocol '{protocol}' is not supported."
    if version not in SUPPORTED_VERSIONS:
        return f"The server does not support version {version} of the '{protocol}' protocol."
    return None


def handshake_error(text: str) -> bytes:
    return _record({"error": text})


def parse_client_record(record: bytes) -> Invocation | int:
    """One record after the handshake: a call, or the type of a record that carries nothing we need.

    Raises ProtocolViolation where ASP.NET Core ends the connection; a type that it does not know is none.
    """
    try:
        message = loads(record)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(str(error)) from error
    if not isinstance(message, dict):
        raise ProtocolViolation("a record must be an object")
    match message.get("type"):
        case 1 | 4 as kind:
            return _invocation(message, streaming=kind == 4)
        case int(kind):
            return kind
        case _:
            raise ProtocolViolation("a record needs a numeric type")


def _invocation(message: dict[str, Json], *, streaming: bool) -> Invocation:
    target, arguments = message.get("target"), message.get("arguments")
    invocation_id = message.get("invocationId")
    if not isinstance(target, str) or not isinstance(arguments, list):
        raise ProtocolViolation("an invocation needs a target and arguments")
    if not isinstance(invocation_id, str | None):
        raise ProtocolViolation("an invocationId must be a string")
    return Invocation(target, arguments, invocation_id, streaming)


def invocation(target: str, arguments: list[Json]) -> bytes:
    """The server calls a client's handler. Without the terminator: this is what journals hash."""
    return _utf8({"type": 1, "target": target, "arguments": arguments})


def completion(invocation_id: str, error: str | None = None, result: Json = None) -> bytes:
    """The end of an invocation: an error text, or a result (null for a method that returns nothing)."""
    end: dict[str, Json] = {"result": result} if error is None else {"error": error}
    return _record({"type": 3, "invocationId": invocation_id, **end})


def close(error: str | None = None, *, allow_reconnect: bool | None = None) -> bytes:
    """The server closes the connection; fields that are None are left out, as ASP.NET Core does."""
    message: dict[str, Json] = {"type": 7, "error": error, "allowReconnect": allow_reconnect}
    return _record({name: value for name, value in message.items() if value is not None})


def unknown_method(target: str) -> str:
    return f"Failed to invoke '{target}' due to an error on the server. HubException: Method does not exist."


def binding_failure(target: str) -> str:
    """Arguments do not fit; also the text of any unhandled error in the method."""
    return f"Failed to invoke '{target}' due to an error on the server."


def hub_exception(target: str, message: str) -> str:
    """The method threw on purpose."""
    return f"An unexpected error occurred invoking '{target}' on the server. HubException: {message}"


def not_streaming(target: str) -> str:
    return f"The client attempted to invoke the non-streaming '{target}' method with a streaming invocation."


def _record(message: dict[str, Json]) -> bytes:
    return _utf8(message) + RECORD_END


def _utf8(message: dict[str, Json]) -> bytes:
    """Lone surrogates, which a client can send as escapes, have no UTF-8: question marks come back."""
    return dumps(message).encode("utf-8", "replace")


def dumps(value: Json) -> str:
    """Compact JSON text; a Decimal in plain notation with exactly its own digits.

    Raises TypeError for anything else (floats above all) and ValueError for a Decimal that is not finite.
    """
    match value:
        case None | bool() | int():
            return json.dumps(value)
        case str():
            return encode_basestring(value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"not a JSON number: {value}")
            return format(value, "f")
        case list():
            return "[" + ",".join(map(dumps, value)) + "]"
        case dict():
            return "{" + ",".join(f"{dumps(key)}:{dumps(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"not JSON: {type(value).__name__}")


def loads(text: str | bytes) -> Json:
    """The reverse of `dumps`: every number with a fraction or exponent is a Decimal.

    Raises ValueError (JSON and UTF-8 errors are both of that kind), and RecursionError for an absurd depth.
    """
    value: Json = json.loads(text, parse_float=Decimal, parse_constant=_reject_constant)
    return value


def _reject_constant(name: str) -> Json:
    raise ValueError(f"not JSON: {name}")
