"""A host that vanishes frees its account, so that a standby elsewhere takes over (I16)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingestor.adapters.embedded_postgres.binaries import find_binaries
from tests.support.daemon import ROOT
from tests.support.postgres import BINARIES

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("vanished_host.py")


def own_network() -> list[str] | None:
    """What starts a program in a network of its own; None if that cannot be had here."""
    program = shutil.which("unshare")
    if program is None or os.geteuid() != 0 or shutil.which("ip") is None:
        return None
    tried = subprocess.run([program, "-n", "true"], check=False, capture_output=True)
    return [program, "-n"] if tried.returncode == 0 else None


def test_the_lock_of_a_host_that_has_vanished_is_free_within_30_seconds() -> None:
    prefix = own_network()
    if prefix is None:
        pytest.skip("needs root, unshare and ip (Debian: util-linux, iproute2) for a network of its own")
    done = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT), str(find_binaries(BINARIES))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 10 < float(done.stdout.split()[-1]) < 30
