"""The HTTP exchange that turns a line into a WebSocket (RFC 6455, section 4)."""

import base64
import hashlib
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.negotiate import retry_after

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_HEADER_BYTES = 64 * 1024


def upgrade(sock: socket.socket, url: str, headers: Mapping[str, str]) -> bytes:
    """Ask, and check the answer; gives the bytes that came glued behind it.

    Raises:
        LinkFailure: the hub did not agree, or what answered is no WebSocket server.
        OSError: the connection broke or took too long.
    """
    nonce = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(_request(url, headers, nonce))
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(_MOST_HEADER_BYTES)
        if not piece:
            raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the hub hung up during the upgrade")
        answer += piece
        if len(answer) > 2 * _MOST_HEADER_BYTES:
            raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade has no end")
    head, _, rest = answer.partition(b"\r\n\r\n")
    _check(head.decode("latin-1"), nonce)
    return rest


def _request(url: str, headers: Mapping[str, str], nonce: str) -> bytes:
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {nonce}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _check(head: str, nonce: str) -> None:
    status, *lines = head.split("\r\n")
    pairs = (each.partition(":") for each in lines)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade is not HTTP")
    if words[1].startswith("3"):
        raise LinkFailure(LinkCause.REDIRECT, f"the upgrade was answered {words[1]}; not followed")
    if words[1] != "101":
        raise LinkFailure(
            f"http_{words[1]}",
            f"the upgrade was answered {words[1]}",
            retry_after_seconds=retry_after(fields.get("retry-after")),
        )
    expected = base64.b64encode(
        hashlib.sha1((nonce + _GUID).encode(), usedforsecurity=False).digest()
    ).decode()
    if fields.get("sec-websocket-accept") != expected:
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade does not fit the question")
