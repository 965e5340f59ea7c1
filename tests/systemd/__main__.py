"""`python -m tests.systemd`: our package on a real systemd, from a clean Debian to its removal.

Not part of pytest: the steps build on each other, and need root, a Debian mirror and three minutes. Writes
build/systemd.json with `passed`, `failed`, `skipped` and the figures.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.support.daemon import ROOT
from tests.systemd.bed import Bed, Figures
from tests.systemd.machine import RELEASES, Impossible, base, machine, missing
from tests.systemd.steps import STEPS

DEFAULT = "bookworm"
VOLUME_BYTES = 320 * 1024 * 1024


def main(release: str) -> int:
    """0: every step passed, or the machine cannot be had here; 1: a step failed."""
    passed: list[str] = []
    failed: dict[str, str] = {}
    figures: Figures = {}
    why = missing()
    if why is None:
        try:
            _observe(release, passed, failed, figures)
        except Impossible as reason:
            why = str(reason)
    skipped = [step.__name__ for step in STEPS if step.__name__ not in {*passed, *failed}]
    document = {
        "release": release,
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "why_skipped": why,
        "figures": figures,
    }
    output = ROOT / "build" / ("systemd.json" if release == DEFAULT else f"systemd-{release}.json")
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped{f': {why}' if why else ''}")
    print(json.dumps(figures, indent=2))
    return 1 if failed else 0


def _observe(release: str, passed: list[str], failed: dict[str, str], figures: Figures) -> None:
    """Run the steps, and write down how each of them ends."""
    started = time.monotonic()
    root = base(ROOT / "build" / "debian", release)
    with tempfile.TemporaryDirectory() as temporary:
        packages = {
            "old": _package(Path(temporary) / "old", "--version", "0.0.1"),
            "new": _package(Path(temporary) / "new"),
            "again": _package(Path(temporary) / "again"),
        }
        with machine(root, VOLUME_BYTES) as running:
            bed = Bed(running, Path(temporary))
            for step in STEPS:
                print(f"{time.monotonic() - started:6.1f} s  {step.__name__}", flush=True)
                try:
                    step(bed, packages, figures)
                except Exception:  # noqa: BLE001 - told at the end, with the others
                    failed[step.__name__] = traceback.format_exc()
                    print(failed[step.__name__], _last_words(bed))
                else:
                    passed.append(step.__name__)
            bed.stop_hubs()
    figures["run_seconds"] = round(time.monotonic() - started)


def _package(directory: Path, *arguments: str) -> Path:
    program = [
        sys.executable,
        str(ROOT / "deploy" / "debian" / "build.py"),
        "--output",
        str(directory),
        *arguments,
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def _last_words(bed: Bed) -> str:
    try:
        return bed.machine.run("journalctl", "--no-pager", "-n", "60")
    except Exception as error:  # noqa: BLE001 - the machine may be what is broken
        return f"no journal: {error}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", choices=list(RELEASES), default=DEFAULT)
    sys.exit(main(**vars(parser.parse_args())))
