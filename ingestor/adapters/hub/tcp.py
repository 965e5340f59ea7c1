"""One TCP or TLS connection that any thread can cut at any moment.

Three things are not obvious. The socket is stored before it connects, so `cut` also ends a connect or a TLS
handshake that hangs; only a name lookup cannot be ended. Once established, the socket does not block: threads
wait in `poll`, outside OpenSSL, which must not be used by a reader and a writer at the same time (Python 3.11
has no lock of its own there). And `SSLSocket.shutdown` would remove the encryption while a reader reads, so
that ciphertext would be read as frames; so the plain socket's shutdown is called.
"""

import select
import socket
import ssl
import threading
from urllib.parse import urlsplit

_CHUNK = 256 * 1024
_WAIT_MORE = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SocketConnection:
    """Opened once, cut once, closed once. One reader, and one writer at a time."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._tls = tls if parts.scheme in {"https", "wss"} else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._guard = threading.Lock()
        self._inside_tls = threading.Lock()
        self._sock: socket.socket | None = None
        self._is_cut = False

    # --- opening ---

    def open(self, seconds: float) -> socket.socket:
        """Connect, with TLS where the URL says so. Until `establish`, `seconds` is the socket's time-out.

        Raises:
            OSError: of the last address that was tried; also when `cut` came first.
        """
        sock = self._connect(seconds)
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock if self._tls is None else self._handshake(sock, self._tls)

    def _connect(self, seconds: float) -> socket.socket:
        failure = OSError("the name has no address")
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                self._attach(sock)
                sock.settimeout(seconds / len(found))  # a dead IPv6 route leaves time for IPv4
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _handshake(self, sock: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        secure = tls.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            self._attach(secure)
            secure.do_handshake()
        except OSError:
            secure.close()
            raise
        return secure

    def _attach(self, sock: socket.socket) -> None:
        with self._guard:
            if self._is_cut:
                raise ConnectionAbortedError("cut before it was open")
            self._sock = sock

    def establish(self) -> None:
        """From here on use `receive` and `send`."""
        self._socket().setblocking(False)

    # --- using ---

    def receive(self) -> bytes:
        """The next bytes, however long they take; empty at the end, and after `cut`. Raises OSError."""
        sock = self._socket()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        while not self._is_cut:
            try:
                with self._inside_tls:
                    return sock.recv(_CHUNK)
            except _WAIT_MORE:
                poll.poll()
            except ssl.SSLEOFError:
                return b""  # without TLS's closing alert, as a killed server leaves
        return b""

    def send(self, data: bytes, seconds: float) -> None:
        """Send all bytes. Raises OSError; TimeoutError if the peer accepts no bytes for `seconds`."""
        sock = self._socket()
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if self._is_cut:
                raise ConnectionAbortedError("the link is down")
            try:
                with self._inside_tls:
                    rest = rest[sock.send(rest) :]
            except _WAIT_MORE as want:
                poll.modify(sock, select.POLLIN if isinstance(want, ssl.SSLWantReadError) else select.POLLOUT)
                if not poll.poll(seconds * 1000):
                    raise TimeoutError(f"the hub accepted no bytes for {seconds:g} s") from None

    def _socket(self) -> socket.socket:
        if self._sock is None:
            raise OSError("not connected")
        return self._sock

    # --- ending ---

    def cut(self) -> None:
        """End a connect, read or write of any thread; the connection cannot be used afterwards."""
        with self._guard:
            self._is_cut = True
            if self._sock is None:
                return
            try:
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            except OSError:
                return  # it never was connected, or is down already

    def close(self) -> None:
        """Close the descriptor; only after the reader has ended."""
        with self._guard:
            if self._sock is not None:
                self._sock.close()
