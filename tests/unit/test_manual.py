"""The man page, the completion and the schemas are those of the commands, and programs accept them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ingestor.cli.main import COMMANDS
from tests.support.daemon import ROOT, surroundings

PAGE = ROOT / "deploy" / "man" / "ingestor.1"
COMPLETIONS = ROOT / "deploy" / "completions"


def test_they_are_published(tmp_path: Path) -> None:
    """As a process of its own makes them, which no other test has touched."""
    making = [sys.executable, str(ROOT / "deploy" / "published.py"), str(tmp_path)]
    subprocess.run(making, env=surroundings() | {"PYTHONPATH": str(ROOT)}, timeout=60, check=True)
    for folder in (PAGE.parent, COMPLETIONS, ROOT / "deploy" / "schemas"):
        made = {path.name: path.read_text() for path in (tmp_path / folder.name).iterdir()}
        published = {path.name: path.read_text() for path in folder.iterdir()}
        assert published == made, "run `python deploy/published.py`"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_every_command(command: str) -> None:
    assert f".SS ingestor {command}".replace("-", r"\-") in PAGE.read_text()


@pytest.mark.skipif(shutil.which("groff") is None, reason="this machine has no groff")
def test_groff_finds_nothing_wrong_with_the_page() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", str(PAGE)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    assert "dead-letters" in done.stdout


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "ingestor.bash"), ("zsh", "_ingestor"), ("fish", "ingestor.fish")]
)
def test_each_shell_can_read_its_completion(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"this machine has no {shell}")
    done = subprocess.run(
        [shell, "-n", str(COMPLETIONS / file)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "follows"),
    [(("ingestor", "dead"), {"dead-letters"}), (("ingestor", "gaps", ""), {"list", "show"})],
)
def test_the_program_completes(typed: tuple[str, ...], follows: set[str]) -> None:
    asked = {
        "_INGESTOR_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(typed),
        "COMP_CWORD": str(len(typed) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ingestor"],
        env={**surroundings(), **asked, "PYTHONPATH": str(ROOT), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == follows
