"""What is measured in which order: some in every round, because it is compared; the rest once, at the end."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.benchmarks import day, idle, runs
from tests.benchmarks.check import ContentDiffers
from tests.benchmarks.daemon import PROGRAM, DaemonFailed, environment
from tests.benchmarks.figures import Results
from tests.benchmarks.load import ASSETS, Load
from tests.benchmarks.peers import PeerFailed
from tests.benchmarks.runs import Bed, Latency, Pace, Throughput
from tests.benchmarks.stored import name_of, stored

MIB = 2**20
Group = Callable[[Bed, "Sizes", Results], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of events, and how long the paced runs take."""

    rounds: int = 5
    flat: int = 50_000
    fat: int = 10_000
    script: int = 2_000
    script_fat: int = 300
    paced_seconds: float = 4.0
    memory: tuple[int, ...] = (100_000, 500_000, 1_000_000)
    backlog: int = 8_000
    backlog_hold_seconds: float = 2.0
    idle_seconds: float = 20.0
    idle_day_seconds: int = day.DAY
    stored: tuple[int, ...] = (1_000_000, 10_000_000)
    stored_flat: int = 30_000
    stored_rounds: int = 3


QUICK = Sizes(
    rounds=1,
    flat=10_000,
    fat=2_000,
    script=500,
    script_fat=100,
    paced_seconds=1.5,
    memory=(6_000, 30_000, 60_000),
    backlog=4_000,
    backlog_hold_seconds=0.5,
    idle_seconds=5.0,
    idle_day_seconds=4 * day.HOUR,
    stored=(100_000,),
    stored_flat=10_000,
    stored_rounds=1,
)


def ceiling(bed: Bed, sizes: Sizes, results: Results) -> None:
    """The generator must not be what limits NOOP, and so nobody."""
    most = runs.ceiling(bed, Load(sizes.flat), ASSETS).per_second
    results.add("raw.events_per_s", most, "1/s")
    if results.has("noop.events_per_s") and most < 2 * results.now("noop.events_per_s"):
        results.problems.append("the generator offers less than twice of what NOOP receives")


def throughput(bed: Bed, sizes: Sizes, results: Results) -> None:
    """Events of five assets, one for each frame: the main line of the table."""
    load = Load(sizes.flat)
    bed.generator.reset(bed.seed, ASSETS)
    with runs.fresh(bed) as database:
        daemon = runs.daemon_flat(bed, database, load)
        copy = runs.copy_flat(bed, database, load.events)
    noop = runs.noop_flat(bed, load, ASSETS)
    script = runs.script_flat(bed, Load(sizes.script), ASSETS)
    _note(results, "daemon", daemon)
    _note(results, "copy", copy)
    _note(results, "script", script)
    results.add("noop.events_per_s", noop.per_second, "1/s")
    results.add("noop.cpu_s_per_100k", noop.cpu_per_100k(), "s")
    results.add("daemon.vs_noop", daemon.per_second / noop.per_second, "ratio")
    results.add("daemon.cpu_own_s_per_100k", daemon.own_cpu * 1e5 / daemon.events, "s")
    results.add("daemon.cpu_postgres_s_per_100k", daemon.server_cpu * 1e5 / daemon.events, "s")
    results.add("daemon.wal_bytes_per_event", daemon.wal_bytes / daemon.events, "B")
    results.add("daemon.disk_bytes_per_event", daemon.disk_bytes / daemon.events, "B")
    results.add("daemon.peak_rss_mib", daemon.peak_rss / MIB, "MiB")
    results.add("daemon.start_to_ready_s", daemon.ready_seconds, "s")
    results.add("copy.wal_bytes_per_event", copy.wal_bytes / copy.events, "B")
    results.ratio("events_per_s_vs_script", daemon.per_second, script.per_second)
    results.ratio("events_per_s_vs_copy", daemon.per_second, copy.per_second)
    results.ratio("cpu_vs_copy_plus_noop", daemon.cpu_per_100k(), copy.cpu_per_100k() + noop.cpu_per_100k())


def duplicates(bed: Bed, sizes: Sizes, results: Results) -> None:
    """The same snapshot again and again."""
    found = _flat(bed, Load(sizes.flat, repeats=True), ASSETS)
    results.add("daemon_duplicates.events_per_s", found.per_second, "1/s")
    if results.has("daemon.events_per_s"):
        results.ratio("duplicates_vs_new", found.per_second, results.now("daemon.events_per_s"))


def fat(bed: Bed, sizes: Sizes, results: Results) -> None:
    """Fifty assets."""
    daemon = _flat(bed, Load(sizes.fat), 50)
    script = runs.script_flat(bed, Load(sizes.script_fat), 50)
    _note(results, "daemon_fat", daemon)
    _note(results, "script_fat", script)
    results.ratio("fat_events_per_s_vs_script", daemon.per_second, script.per_second)


def variety(bed: Bed, sizes: Sizes, results: Results) -> None:
    """Report only: other shapes of the stream."""
    for name, assets, load in (
        ("daemon_3_assets", 3, Load(sizes.flat)),
        ("daemon_20_records_a_frame", ASSETS, Load(sizes.flat, records_per_frame=20)),
    ):
        _note(results, name, _flat(bed, load, assets))


def all_change(bed: Bed, sizes: Sizes, results: Results) -> None:
    """Report only: each amount differs from the event before, so nothing is spared."""
    for name, assets, events in (
        ("daemon_all_change", ASSETS, sizes.flat // 2),
        ("daemon_fat_all_change", 50, sizes.fat // 4),
    ):
        _note(results, name, _flat(bed, Load(events, all_amounts=True), assets))


def latency(bed: Bed, sizes: Sizes, results: Results) -> None:
    """From the send to the moment when somebody else sees the rows."""
    seconds = sizes.paced_seconds
    paces = {
        "200": Pace(200, 1, seconds),
        "burst": Pace(200, 20, seconds),
        "50": Pace(50, 1, seconds),
        "1000": Pace(1000, 1, seconds),
    }
    # One commit at a time, the script does not follow 1,000/s.
    of_script = {name: pace for name, pace in paces.items() if name != "1000"}
    contenders = (
        ("daemon", runs.daemon_latencies, paces),
        ("floor", runs.floor_latencies, paces),
        ("script", runs.script_latencies, of_script),
    )
    first = results.round % 3  # each of them is sometimes the one that comes after the heavy runs
    for contender, measure, wanted in contenders[first:] + contenders[:first]:
        for name, found in zip(wanted, measure(bed, list(wanted.values())), strict=True):
            _note_latency(results, f"{contender}.latency_{name}", found)
    results.ratio(
        "p50_200_vs_floor", results.now("daemon.latency_200.p50_ms"), results.now("floor.latency_200.p50_ms")
    )
    results.ratio(
        "p50_burst_vs_script",
        results.now("daemon.latency_burst.p50_ms"),
        results.now("script.latency_burst.p50_ms"),
    )


def memory(bed: Bed, sizes: Sizes, results: Results) -> None:
    """Does it grow with what it has written?"""
    found = runs.daemon_memory(bed, sizes.memory)
    for events, resident in found.resident.items():
        results.add(f"daemon.rss_at_{events}_mib", resident / MIB, "MiB")
    first, half, last = sizes.memory
    slope = (found.resident[last] - found.resident[first]) / (last - first)
    results.add("daemon_long.rss_slope_bytes_per_event", slope, "B")
    results.add("daemon_long.peak_rss_mib", found.peak / MIB, "MiB")
    results.add("daemon_long.events_per_s", found.per_second, "1/s")
    results.ratio("rss_500k_vs_100k", found.resident[half], found.resident[first])


def backlog(bed: Bed, sizes: Sizes, results: Results) -> None:
    """How fast what has piled up is written once the database lets us."""
    found = runs.daemon_backlog(bed, sizes.backlog, sizes.backlog_hold_seconds)
    results.add("daemon_backlog.events_per_s", found, "1/s")


def start(bed: Bed, sizes: Sizes, results: Results) -> None:
    """What a restart costs before anything is received."""
    for number in range(sizes.rounds):
        results.round = -number  # not of a round, but several values
        results.add("daemon.version_s", runs.version_seconds(), "s")
    results.round = 0


def process(bed: Bed, sizes: Sizes, results: Results) -> None:
    """What a daemon costs without records to write, and `ingestor status` of its account."""
    found = idle.measure(bed, sizes.idle_seconds)
    results.add("idle_rss_mib", found.resident / MIB, "MiB")
    results.add("wakeups_per_s", found.wakeups_per_second, "1/s")
    for number, seconds in enumerate(found.status_seconds):
        results.round = -number  # not of a round, but several values
        results.add("status_seconds", seconds, "s")
    results.round = 0


def idle_day(bed: Bed, sizes: Sizes, results: Results) -> None:
    """What a day costs on disk on which nothing happens; and one on which nothing but the exposure moves."""
    for name, moves in (("bytes_per_idle_day", False), ("bytes_per_idle_day_exposure", True)):
        stored = day.measure(bed, exposure_moves=moves, seconds=sizes.idle_day_seconds)
        results.add(name, stored * day.DAY / sizes.idle_day_seconds, "B")


def growth(bed: Bed, sizes: Sizes, results: Results) -> None:
    """The same stream into databases that hold a long history of the same account."""
    directory = bed.home / "stored"
    upgrade = [*(bed.program or PROGRAM), "db", "upgrade"]
    with stored(directory, sizes.stored, upgrade, environment(bed.home)) as server:
        there = replace(bed, server=server)
        for number in range(sizes.stored_rounds):
            results.round = -1 - number
            seed = bed.seed + 1000 + number  # another user each time: the history is not ours
            load = Load(sizes.stored_flat)
            bed.generator.reset(seed, ASSETS)
            with runs.fresh(there) as database:
                empty = runs.daemon_flat(there, database, load)
            results.add("daemon_stored_0.events_per_s", empty.per_second, "1/s")
            for size in sizes.stored:
                bed.generator.reset(seed, ASSETS, pairs_known=number > 0)
                found = runs.daemon_flat(there, name_of(size), load)
                results.add(f"daemon_stored_{size}.events_per_s", found.per_second, "1/s")
                results.add(f"daemon_stored_{size}.start_to_ready_s", found.ready_seconds, "s")
                if size == max(sizes.stored):
                    results.ratio("throughput_10m_vs_empty", found.per_second, empty.per_second)
    results.round = 0


IN_EACH_ROUND: dict[str, Group] = {
    "throughput": throughput,
    "duplicates": duplicates,
    "fat": fat,
    "latency": latency,
}
ONCE: dict[str, Group] = {
    "ceiling": ceiling,
    "variety": variety,
    "all_change": all_change,
    "start": start,
    "process": process,
    "idle": idle_day,
    "backlog": backlog,
    "memory": memory,
    "growth": growth,
}


def attempt(name: str, group: Group, bed: Bed, sizes: Sizes, results: Results) -> None:
    """Run a group; what goes wrong in it becomes a problem in the results, and leaves no figure."""
    try:
        group(bed, sizes, results)
    except (ContentDiffers, DaemonFailed, PeerFailed, TimeoutError) as error:
        results.problems.append(f"{name}: {error}")


def _flat(bed: Bed, load: Load, assets: int) -> Throughput:
    bed.generator.reset(bed.seed, assets)
    with runs.fresh(bed) as database:
        return runs.daemon_flat(bed, database, load)


def _note(results: Results, name: str, found: Throughput) -> None:
    results.add(f"{name}.events_per_s", found.per_second, "1/s")
    results.add(f"{name}.cpu_s_per_100k", found.cpu_per_100k(), "s")


def _note_latency(results: Results, name: str, found: Latency) -> None:
    for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
        results.add(f"{name}.{label}_ms", found.at(share), "ms")
