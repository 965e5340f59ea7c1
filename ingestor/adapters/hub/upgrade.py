"""The HTTP exchange that opens a WebSocket (RFC 6455, section 4), by the `websockets` library."""

import socket

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.http11 import Response
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from ingestor.adapters.hub.causes import LinkCause, LinkFailure, http_failure
from ingestor.adapters.hub.negotiate import Target

_CHUNK = 64 * 1024


def upgrade(sock: socket.socket, target: Target) -> bytes:
    """Send the request and check the answer; gives the bytes that were received behind the answer.

    Raises:
        LinkFailure: the hub did not agree, or what answered is not a WebSocket server.
        OSError: the connection broke or took too long.
    """
    protocol = ClientProtocol(parse_uri(target.url))
    request = protocol.connect()
    request.headers.update(target.headers)
    sock.sendall(request.serialize())
    received = StreamReader()
    response = _response(sock, received)
    if response.status_code != 101:
        raise http_failure(target.step, response.status_code, response.headers, bytes(received.buffer))
    try:
        protocol.process_response(response)
    except WebSocketException as error:
        raise LinkFailure(
            LinkCause.UPGRADE_REFUSED, f"the answer does not fit the request: {error}"
        ) from None
    return bytes(received.buffer)


def _response(sock: socket.socket, received: StreamReader) -> Response:
    # `proxy` leaves the body unread, which may be long or have no end.
    parser = Response.parse(received.read_line, received.read_exact, received.read_to_eof, proxy=True)
    try:
        while True:
            next(parser)
            piece = sock.recv(_CHUNK)
            if piece:
                received.feed_data(piece)
            else:
                received.feed_eof()
    except StopIteration as end:
        response: Response = end.value
        return response
    except EOFError:
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the hub hung up during the upgrade") from None
    except (ValueError, WebSocketException) as error:  # the library's words for what is not HTTP
        text = f"the answer to the upgrade is not HTTP: {error}"[:200]
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, text) from None
