"""`python -m tests.benchmarks`: the write path against what a user would have without it.

All contenders run in one go, interleaved, on one durable Postgres with stock settings; see the modules'
heads for who they are and how they are timed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from tests.benchmarks import machine, report
from tests.benchmarks.daemon import PROGRAM, REPOSITORY, environment
from tests.benchmarks.figures import Results
from tests.benchmarks.generator import Generator
from tests.benchmarks.observer import Observer
from tests.benchmarks.plan import IN_EACH_ROUND, ONCE, QUICK, Sizes, attempt
from tests.benchmarks.runs import Bed
from tests.benchmarks.server import EMPTY, Server, value

SEED = 20261124


def main(arguments: list[str] | None = None) -> int:
    """0: all that was measured reaches what it must; 1: not, or something has no figure."""
    options = _options(arguments)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # figures only, please
    sizes = QUICK if options.quick else Sizes()
    sizes = replace(sizes, rounds=options.rounds or sizes.rounds)
    chosen = set(options.only.split(",")) if options.only else {*IN_EACH_ROUND, *ONCE}
    if options.quick and not options.only:
        chosen -= {"growth", "variety"}
    results = Results()
    started = time.monotonic()
    print(f"seed {options.seed}, {sizes.rounds} rounds, one run of each: {', '.join(sorted(chosen))}")
    with bed(options.seed, options.directory) as ground:
        facts = _facts(ground, options.seed)
        print("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
        _measure(ground, sizes, results, chosen)
    facts["seconds"] = round(time.monotonic() - started)
    facts["quick"] = options.quick
    report.write(options.output, report.as_json(results, facts))
    print(f"\n{report.table(results)}\n\n{facts['seconds']} s; written to {options.output}")
    return 1 if results.problems or results.missed() else 0


@contextmanager
def bed(seed: int, directory: Path | None = None) -> Iterator[Bed]:
    """Server, generator and observer, up; all of it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="ingestor-benchmark-", dir=directory))
    home.chmod(0o711)  # the account that runs Postgres passes through it
    try:
        with (
            EmbeddedPostgres(home / "postgres") as postgres,
            Generator() as generator,
            Observer() as observer,
        ):
            server = Server(postgres)
            server.settings()
            server.migrate([*PROGRAM, "db", "upgrade"], environment(home))
            yield Bed(server, generator, observer, home, seed)
    finally:
        shutil.rmtree(home)


def _measure(ground: Bed, sizes: Sizes, results: Results, chosen: set[str]) -> None:
    steal = machine.Steal()
    for number in range(1, sizes.rounds + 1):
        results.round = number
        for name, group in IN_EACH_ROUND.items():
            if name in chosen:
                _say(f"round {number}: {name}")
                attempt(name, group, ground, sizes, results)
        results.steal[number] = steal.percent()
        if results.steal[number] > machine.STEAL_LIMIT:
            results.void.add(number)
    for name, group in ONCE.items():
        if name in chosen:
            _say(name)
            attempt(name, group, ground, sizes, results)


def _facts(ground: Bed, seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "machine": machine.machine(),
        "versions": machine.versions(value(ground.server.dsn(EMPTY), "SHOW server_version")),
        "postgres_settings": ground.server.settings(),
        "fdatasync_at_200_per_s": machine.paced_sync(ground.home),
    }


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most a minute: small sizes, one round")
    parser.add_argument("--only", help=f"some of {', '.join((*IN_EACH_ROUND, *ONCE))}, with commas")
    parser.add_argument("--rounds", type=int, help="instead of 5 (1 with --quick)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--directory", type=Path, help="where the databases are made, on a real disk")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench.json")
    options = parser.parse_args(arguments)
    unknown = set((options.only or "").split(",")) - {"", *IN_EACH_ROUND, *ONCE}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
