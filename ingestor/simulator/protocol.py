"""SignalR's JSON hub protocol as seen from the server: pure, bytes in and bytes out.

Written from the public HubProtocol specification; the error texts are those of ASP.NET Core 10 with detailed
errors off, which is how a production server runs. No code is shared with the client under test.
"""

from typing import Any, Final

import msgspec

RECORD_END: Final = b"\x1e"
SUPPORTED_VERSIONS: Final = range(3)
"""ASP.NET Core 10 accepts handshakes of version 0, 1 and 2."""

INVOCATION_TYPE: Final = 1
PING_TYPE: Final = 6
CLOSE_TYPE: Final = 7
PING: Final = b'{"type":6}\x1e'
HANDSHAKE_OK: Final = b"{}\x1e"
HANDSHAKE_TIMED_OUT: Final = "Handshake was canceled."
HANDSHAKE_FAILED: Final = "An unexpected error occurred during connection handshake."
CLOSED_WITH_ERROR: Final = "Connection closed with an error."

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
to_json: Final = msgspec.json.encode


class ProtocolViolation(Exception):
    """The client sent a record that ends its connection."""


class _Handshake(msgspec.Struct):
    protocol: str
    version: int


class _Typed(msgspec.Struct):
    type: int


class Invocation(msgspec.Struct, frozen=True, rename="camel"):
    """The client calls a hub method."""

    target: str
    arguments: list[Any]
    invocation_id: str | None = None
    """None: the caller wants no Completion, not even for an error."""


def handshake_refusal(record: bytes) -> str | None:
    """Why the server refuses this handshake request; None if it accepts."""
    try:
        request = msgspec.json.decode(record, type=_Handshake)
    except _UNREADABLE:
        return HANDSHAKE_FAILED
    if request.protocol != "json":
        return f"The protocol '{request.protocol}' is not supported."
    if request.version not in SUPPORTED_VERSIONS:
        return f"The server does not support version {request.version} of the 'json' protocol."
    return None


def handshake_error(text: str) -> bytes:
    return _record({"error": text})


def parse_client_record(record: bytes) -> Invocation | int:
    """One record after the handshake: a call, or the type of a record that carries nothing we need.

    Raises ProtocolViolation where ASP.NET Core ends the connection; a type that it does not know is none.
    """
    try:
        kind = msgspec.json.decode(record, type=_Typed).type
        return msgspec.json.decode(record, type=Invocation) if kind == INVOCATION_TYPE else kind
    except _UNREADABLE as error:
        raise ProtocolViolation(str(error)) from error


def invocation(target: str, arguments: list[object]) -> bytes:
    """The server calls a client's handler. Without the terminator: this is what journals hash."""
    return to_json({"type": INVOCATION_TYPE, "target": target, "arguments": arguments})


def completion(invocation_id: str, error: str | None = None, result: object = None) -> bytes:
    """The end of an invocation: an error text, or a result (null for a method that returns nothing)."""
    end = {"result": result} if error is None else {"error": error}
    return _record({"type": 3, "invocationId": invocation_id, **end})


def close(error: str | None = None, *, allow_reconnect: bool | None = None) -> bytes:
    """The server closes the connection; fields that are None are left out, as ASP.NET Core does."""
    message = {"type": CLOSE_TYPE, "error": error, "allowReconnect": allow_reconnect}
    return _record({name: value for name, value in message.items() if value is not None})


def unknown_method(target: str) -> str:
    return f"Failed to invoke '{target}' due to an error on the server. HubException: Method does not exist."


def binding_failure(target: str) -> str:
    """Arguments do not fit; also the text of any unhandled error in the method."""
    return f"Failed to invoke '{target}' due to an error on the server."


def hub_exception(target: str, message: str) -> str:
    """The method threw on purpose."""
    return f"An unexpected error occurred invoking '{target}' on the server. HubException: {message}"


def _record(message: dict[str, object]) -> bytes:
    return to_json(message) + RECORD_END
