"""Virtual environments of their own, for tools that we do not depend on."""

import subprocess
import sys
from pathlib import Path

import pytest


def environment(directory: Path, requirements: Path) -> Path:
    """The directory of its programs. Skips the test where the packages cannot be installed.

    Only wheels are installed: the build of a package could do anything.
    """
    uv = [sys.executable, "-m", "uv", "--quiet"]
    python = directory / "bin" / "python"
    for command in (
        [*uv, "venv", "--python", sys.executable, str(directory)],
        [*uv, "pip", "install", "--python", str(python), "--only-binary", ":all:", "-r", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            pytest.skip(f"{requirements.name} cannot be installed here: {done.stderr.strip()[-300:]}")
    return python.parent
