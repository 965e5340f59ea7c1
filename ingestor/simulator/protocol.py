"""SignalR's JSON hub protocol as seen from the server: pure, bytes in and bytes out.

Written from the public HubProtocol specification; the error texts are those of ASP.NET Core 10 with detailed
errors off, which is how a production server runs. No code is shared with the client under test.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ingestor.simulator.exact_json import Json, dumps, loads

RECORD_END: Final = b"\x1e"
SUPPORTED_VERSIONS: Final = range(3)
"""ASP.NET Core 10 accepts handshakes of version 0, 1 and 2."""

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


class Signal(Enum):
    """Client records that carry nothing we need."""

    PING = 6
    CLOSE = 7
    IGNORED = -1
    """Completions, stream items, cancellations, acks, and types that this protocol does not know (yet)."""


def split_records(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The complete records in `buffer`, without terminators, and the rest; frame borders mean nothing."""
    *records, rest = buffer.split(RECORD_END)
    return records, rest


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


def parse_client_record(record: bytes) -> Invocation | Signal:
    """One record after the handshake. Raises ProtocolViolation where ASP.NET Core ends the connection."""
    try:
        message = loads(record)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(str(error)) from error
    if not isinstance(message, dict):
        raise ProtocolViolation("a record must be an object")
    match message.get("type"):
        case 1 | 4 as kind:
            return _invocation(message, streaming=kind == 4)
        case 6:
            return Signal.PING
        case 7:
            return Signal.CLOSE
        case int():
            return Signal.IGNORED
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
    message: dict[str, Json] = {"type": 7}
    if error is not None:
        message["error"] = error
    if allow_reconnect is not None:
        message["allowReconnect"] = allow_reconnect
    return _record(message)


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
