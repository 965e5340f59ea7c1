"""The runs: one contender, one load, one set of figures. A run whose content is wrong raises and has none."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.benchmarks import baselines
from tests.benchmarks.check import ContentDiffers, check_daemon, check_script
from tests.benchmarks.copying import Copied, CopyFrom, CopyInto, copier
from tests.benchmarks.daemon import PROGRAM, REPOSITORY, Daemon
from tests.benchmarks.generator import Generator, Sent, Stream
from tests.benchmarks.load import ASSETS, Load
from tests.benchmarks.observer import COMMITTED_RECORDS, Observer, Seen, Watch
from tests.benchmarks.peers import Peer
from tests.benchmarks.server import EMPTY, Server, bytes_of, value

ANSWERS_AT_START = 2
"""Records that a linked-up daemon has before we stream: balances and pairs."""
SETTLE_SECONDS = 0.4
"""A backend that has just ended is not reaped at once."""
RUN_TIMEOUT = 240.0
FINE, COARSE = 0.0005, 0.005
COPY_EVENTS = (250, 3000)
"""A batch. Postgres takes quadratic time for up to 1,000 rows of one COPY: these two are its best sizes."""


@dataclass(frozen=True, slots=True)
class Bed:
    """What every run lies on."""

    server: Server
    generator: Generator
    observer: Observer
    home: Path
    seed: int
    program: list[str] | None = None
    """Another command than `python -m ingestor`, for experiments."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """A flat-out run. Seconds, bytes."""

    events: int
    seconds: float
    """From the generator's first send to the last row's being visible."""
    own_cpu: float = 0.0
    server_cpu: float = 0.0
    wal_bytes: int = 0
    disk_bytes: int = 0
    peak_rss: int = 0
    ready_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    def cpu_per_100k(self) -> float:
        """Seconds of contender and server together."""
        return (self.own_cpu + self.server_cpu) * 100_000 / self.events


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from send to visible."""

    values: list[float]

    def at(self, share: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Pace:
    per_second: float
    burst: int
    seconds: float

    @property
    def events(self) -> int:
        return int(self.per_second * self.seconds)


@dataclass(slots=True)
class Linked:
    """A daemon that listens, on a database of its own."""

    bed: Bed
    daemon: Daemon
    dsn: str
    committed: int = ANSWERS_AT_START

    def stream(self, load: Load, pace: Stream, pause: float) -> tuple[Sent, Seen, int]:
        """Offer a load that is prepared; returns what was sent, what was seen, and the record before it."""
        before = self.committed
        self.committed += load.events
        watch = Watch(self.dsn, COMMITTED_RECORDS, self.committed, pause, RUN_TIMEOUT)
        self.bed.observer.watch(watch)
        self.bed.generator.start(pace)
        seen = self.bed.observer.seen()
        return self.bed.generator.sent(), seen, before


@contextmanager
def linked(bed: Bed, database: str) -> Iterator[Linked]:
    """A daemon whose first questions are answered and stored. On leaving it, the content is checked."""
    dsn = bed.server.dsn(database)
    since = datetime.now(UTC)
    with Daemon(bed.generator.url, bed.server.url(database), bed.home, bed.program) as daemon:
        bed.generator.await_link(requests=True)
        bed.observer.watch(Watch(dsn, COMMITTED_RECORDS, ANSWERS_AT_START, COARSE, 20))
        bed.observer.seen()
        yield Linked(bed, daemon, dsn)
    with psycopg.connect(dsn) as connection:
        check_daemon(connection, bed.generator.tally(), since)


@contextmanager
def fresh(bed: Bed, template: str | None = None) -> Iterator[str]:
    """A database that is dropped in the end."""
    database = bed.server.fresh() if template is None else bed.server.fresh(template)
    try:
        yield database
    finally:
        bed.server.drop(database)


def daemon_flat(bed: Bed, database: str, load: Load) -> Throughput:
    """The daemon, flat out. The generator has been reset by the caller."""
    bed.generator.prepare(load)
    with linked(bed, database) as link:
        bed.server.checkpoint()
        disk = bytes_of(link.dsn, "ingest")
        usage, cpu = bed.server.usage(), link.daemon.cpu()
        sent, seen, _ = link.stream(load, Stream(), COARSE)
        cpu = link.daemon.cpu() - cpu
        time.sleep(SETTLE_SECONDS)
        after = bed.server.usage()
        return Throughput(
            load.events,
            (seen.end - sent.first) / 1e9,
            own_cpu=cpu,
            server_cpu=after.cpu - usage.cpu - seen.polling_cpu,
            wal_bytes=after.wal - usage.wal,
            disk_bytes=bytes_of(link.dsn, "ingest") - disk,
            peak_rss=max(size for _, size in link.daemon.memory),
            ready_seconds=link.daemon.ready_seconds,
        )


def copy_flat(bed: Bed, database: str, events: int) -> Throughput:
    """COPY of what the daemon wrote into `database`, in batches of the size that suits it best."""
    found = [_copy_flat(bed, database, events, size) for size in COPY_EVENTS]
    return max(found, key=lambda each: each.per_second)


def _copy_flat(bed: Bed, database: str, events: int, size: int) -> Throughput:
    with Peer(copier) as peer, fresh(bed) as target:
        rows = peer.call(CopyFrom(bed.server.dsn(database), size), RUN_TIMEOUT)
        bed.server.checkpoint()
        usage, cpu = bed.server.usage(), peer.cpu()
        copied: Copied = peer.call(CopyInto(bed.server.dsn(target)), RUN_TIMEOUT)
        cpu = peer.cpu() - cpu
        time.sleep(SETTLE_SECONDS)
        after = bed.server.usage()
        for name, count in copied.rows.items():
            if value(bed.server.dsn(target), f"SELECT count(*) FROM ingest.{name}") != count:
                raise ContentDiffers(f"COPY did not store {count} rows in {name}")
        assert sum(copied.rows.values()) == rows
    return Throughput(events, copied.seconds, cpu, after.cpu - usage.cpu, after.wal - usage.wal)


def noop_flat(bed: Bed, load: Load, assets: int) -> Throughput:
    """Stock signalrcore with a handler that does nothing."""
    bed.generator.reset(bed.seed, assets)
    bed.generator.prepare(load)
    with Peer(baselines.noop, bed.generator.url) as peer:
        peer.answer()
        bed.generator.await_link(requests=False)
        cpu = peer.cpu()
        peer.call(load.events)
        bed.generator.start(Stream())
        end: int = peer.answer(RUN_TIMEOUT)
        sent = bed.generator.sent()
        return Throughput(load.events, (end - sent.first) / 1e9, own_cpu=peer.cpu() - cpu)


def ceiling(bed: Bed, load: Load, assets: int) -> Throughput:
    """What the generator can offer to somebody who only reads."""
    bed.generator.reset(bed.seed, assets)
    size = bed.generator.prepare(load).bytes
    with Peer(baselines.raw_reader, bed.generator.url) as peer:
        peer.answer()
        bed.generator.await_link(requests=False)
        peer.call(size)
        bed.generator.start(Stream())
        end: int = peer.answer(RUN_TIMEOUT)
        sent = bed.generator.sent()
    return Throughput(load.events, (end - sent.first) / 1e9)


@contextmanager
def scripted(bed: Bed, assets: int) -> Iterator[tuple[Peer, str]]:
    """The users' script, listening, on tables of its own; the content is checked on leaving."""
    with fresh(bed, EMPTY) as database:
        dsn = bed.server.dsn(database)
        bed.server.run(dsn, baselines.SCRIPT_SCHEMA)
        bed.generator.reset(bed.seed, assets)
        with Peer(baselines.script, bed.generator.url, dsn) as peer:
            peer.answer()
            bed.generator.await_link(requests=False)
            yield peer, dsn
        check_script(dsn, bed.generator.tally(), assets)


def script_flat(bed: Bed, load: Load, assets: int) -> Throughput:
    """The users' script, flat out."""
    with scripted(bed, assets) as (peer, dsn):
        after = bed.generator.prepare(load).after
        bed.server.checkpoint()
        usage, cpu = bed.server.usage(), peer.cpu()
        bed.observer.watch(Watch(dsn, baselines.SCRIPT_NEWEST, after + load.events, COARSE, RUN_TIMEOUT))
        bed.generator.start(Stream())
        seen, sent = bed.observer.seen(), bed.generator.sent()
        cpu = peer.cpu() - cpu
        time.sleep(SETTLE_SECONDS)
        server = bed.server.usage().cpu - usage.cpu - seen.polling_cpu
    return Throughput(load.events, (seen.end - sent.first) / 1e9, cpu, server)


def daemon_latencies(bed: Bed, paces: list[Pace]) -> list[Latency]:
    """One daemon, one pace after the other."""
    bed.generator.reset(bed.seed, ASSETS)
    found = []
    with fresh(bed) as database, linked(bed, database) as link:
        bed.server.checkpoint()
        for pace in paces:
            load = Load(pace.events)
            bed.generator.prepare(load)
            sent, seen, before = link.stream(load, Stream(pace.per_second, pace.burst), FINE)
            found.append(_latency(sent.stamps, seen, before))
    return found


def script_latencies(bed: Bed, paces: list[Pace]) -> list[Latency]:
    """The users' script, one pace after the other."""
    found = []
    with scripted(bed, ASSETS) as (_, dsn):
        bed.server.checkpoint()
        for pace in paces:
            before = bed.generator.prepare(Load(pace.events)).after
            bed.observer.watch(Watch(dsn, baselines.SCRIPT_NEWEST, before + pace.events, FINE, RUN_TIMEOUT))
            bed.generator.start(Stream(pace.per_second, pace.burst))
            seen, sent = bed.observer.seen(), bed.generator.sent()
            found.append(_latency(sent.stamps, seen, before))
    return found


def floor_latencies(bed: Bed, paces: list[Pace]) -> list[Latency]:
    """One prepared statement in autocommit for each event."""
    found = []
    with fresh(bed, EMPTY) as database:
        dsn = bed.server.dsn(database)
        bed.server.run(dsn, baselines.SCRIPT_SCHEMA)
        with Peer(baselines.floor, dsn, bed.seed) as peer:
            peer.answer()
            bed.server.checkpoint()
            before = 1
            for pace in paces:
                bed.observer.watch(
                    Watch(dsn, baselines.SCRIPT_NEWEST, before + pace.events, FINE, RUN_TIMEOUT)
                )
                peer.call((pace.events, pace.per_second, pace.burst))
                stamps: list[int] = peer.answer(RUN_TIMEOUT)
                found.append(_latency(stamps, bed.observer.seen(), before))
                before += pace.events
    return found


def _latency(stamps: list[int], seen: Seen, before: int) -> Latency:
    """Without the first: they warm the caches."""
    start = min(100, len(stamps) // 10)
    return Latency([(seen.at(before + 1 + n) - stamps[n]) / 1e6 for n in range(start, len(stamps))])


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes when so many events had become visible."""

    resident: dict[int, int]
    peak: int
    per_second: float


def daemon_memory(bed: Bed, moments: Sequence[int]) -> Memory:
    """One long flat-out run."""
    bed.generator.reset(bed.seed, ASSETS)
    load = Load(moments[-1])
    bed.generator.prepare(load)
    with fresh(bed) as database, linked(bed, database) as link:
        sent, seen, before = link.stream(load, Stream(), COARSE)
        return Memory(
            {events: link.daemon.memory_at(seen.at(before + events)) for events in moments},
            max(size for _, size in link.daemon.memory),
            load.events / ((seen.end - sent.first) / 1e9),
        )


def daemon_backlog(bed: Bed, events: int, hold_seconds: float) -> float:
    """Events a second written once a lock on the largest table is released that held all of them up."""
    bed.generator.reset(bed.seed, ASSETS)
    load = Load(events)
    bed.generator.prepare(load)
    with fresh(bed) as database, linked(bed, database) as link, psycopg.connect(link.dsn) as blocker:
        blocker.execute("LOCK TABLE ingest.raw_event IN ACCESS EXCLUSIVE MODE")
        link.committed += events
        bed.observer.watch(Watch(link.dsn, COMMITTED_RECORDS, link.committed, COARSE, RUN_TIMEOUT))
        bed.generator.start(Stream())
        bed.generator.sent()
        time.sleep(hold_seconds)
        released = time.monotonic_ns()
        blocker.rollback()
        return events / ((bed.observer.seen().end - released) / 1e9)


def version_seconds() -> float:
    """Wall time of the shortest command: what importing costs."""
    start = time.monotonic()
    subprocess.run([*PROGRAM, "--version"], cwd=REPOSITORY, check=True, capture_output=True)
    return time.monotonic() - start
