"""What the daemon is compared with. Each runs in a process of its own.

* SCRIPT: what users write: signalrcore's handler, psycopg, a statement for each row, a commit for each event.
* NOOP: stock signalrcore whose handler does nothing: what the client library can receive.
* RAW: a bare socket: what the generator can offer.
* FLOOR: one prepared statement in autocommit for each event, no hub: what one commit takes.
* COPY: binary COPY of rows that are there already: what one connection can store.
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from urllib.parse import urlsplit

import psycopg
from psycopg.types.json import Jsonb
from signalrcore.hub_connection_builder import HubConnectionBuilder

from tests.benchmarks.load import ASSETS, RECORD_END, Account, Load, Tally
from tests.benchmarks.peers import Pipe

SCRIPT_SCHEMA = """
    CREATE SCHEMA script;
    CREATE TABLE script.event (
        id bigserial PRIMARY KEY, user_id text NOT NULL, sequence bigint NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL, UNIQUE (sequence, user_id));
    CREATE TABLE script.snapshot (
        id bigserial PRIMARY KEY, user_id text NOT NULL, sequence bigint NOT NULL, deleted boolean NOT NULL,
        UNIQUE (user_id, sequence));
    CREATE TABLE script.balance (
        snapshot_id bigint NOT NULL, asset text NOT NULL,
        available numeric NOT NULL, allocated numeric NOT NULL, PRIMARY KEY (snapshot_id, asset));
"""
SCRIPT_NEWEST = "SELECT max(sequence) FROM script.event"

_EVENT = "INSERT INTO script.event (user_id, sequence, payload) VALUES (%s, %s, %s)"
_SNAPSHOT = "INSERT INTO script.snapshot (user_id, sequence, deleted) VALUES (%s, %s, %s) RETURNING id"
_BALANCE = "INSERT INTO script.balance (snapshot_id, asset, available, allocated) VALUES (%s, %s, %s, %s)"


def script(pipe: Pipe, url: str, dsn: str) -> None:
    """Until the parent says anything."""
    connection = psycopg.connect(dsn)

    def handle(arguments: list[dict[str, str]]) -> None:
        for event in arguments:
            data = json.loads(event["data"], parse_float=Decimal)
            who = (data["userId"], data["sequence"])
            connection.execute(_EVENT, (*who, Jsonb(event)))
            row = connection.execute(_SNAPSHOT, (*who, data["deleted"])).fetchone()
            assert row is not None
            for asset in data["assets"]:
                connection.execute(_BALANCE, (row[0], asset["name"], asset["available"], asset["allocated"]))
            connection.commit()

    _listen(url, handle)
    pipe.send(True)
    pipe.receive()


def noop(pipe: Pipe, url: str) -> None:
    """Asked with a number, says (monotonic ns) when so many events have been received."""
    received = 0
    enough = threading.Event()
    wanted = 0

    def handle(_: object) -> None:
        nonlocal received
        received += 1
        if received == wanted:
            enough.set()

    _listen(url, handle)
    pipe.send(True)
    while True:
        wanted = pipe.receive()
        pipe.send(True)
        enough.wait()
        pipe.send(time.monotonic_ns())
        enough.clear()


def _listen(url: str, handle: Callable[[list[dict[str, str]]], None]) -> None:
    hub = HubConnectionBuilder().with_url(url).build()
    hub.on("executionEvents", handle)
    hub.start()


def raw_reader(pipe: Pipe, url: str) -> None:
    """Asked with a number of bytes, says when they have arrived. Reads, and looks at nothing."""
    address = urlsplit(url)
    sock = socket.create_connection((address.hostname, address.port))
    sock.sendall(
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: benchmark\r\n\r\n"
    )
    while not sock.recv(65536).endswith(b"\r\n\r\n"):
        pass
    hello = b'{"protocol":"json","version":1}' + RECORD_END
    sock.sendall(bytes((0x81, 0x80 | len(hello), 0, 0, 0, 0)) + hello)
    while not sock.recv(65536).endswith(RECORD_END):
        pass
    pipe.send(True)
    space = bytearray(1 << 20)
    while True:
        left: int = pipe.receive()
        pipe.send(True)
        while left > 0:
            left -= sock.recv_into(space)
        pipe.send(time.monotonic_ns())


def floor(pipe: Pipe, dsn: str, seed: int) -> None:
    """Asked with (events, per second, burst), says when it handed each event to the database."""
    connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=0)
    account = Account(seed, ASSETS)
    pipe.send(True)
    while True:
        events, per_second, burst = pipe.receive()
        rows = []
        for raw in account.records(Load(events), Tally()):
            envelope = json.loads(raw)["arguments"][0]
            rows.append((account.user, json.loads(envelope["data"])["sequence"], Jsonb(envelope)))
        pipe.send(True)
        stamps: list[int] = []
        start = time.monotonic()
        due = start
        for number, row in enumerate(rows):
            if number % burst == 0:
                due = start + number / per_second
                time.sleep(max(0.0, due - time.monotonic()))
            # In a burst all have arrived when it begins; the later ones wait for the earlier.
            stamps.append(time.monotonic_ns() if number % burst == 0 else stamps[-1])
            connection.execute(_EVENT, row)
        pipe.send(stamps)
