"""The Dockerfile, as far as it can be read: it finds what it copies, and installs what is locked."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.metadata import requires

import click
import pytest

from ingestor.cli.main import program
from tests.support.daemon import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    (name, words) for name, words in re.findall(r"(?m)^([A-Z]+) (.*)$", re.sub(r"\\\n\s*", "", TEXT))
]
_LAST = max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
BUILD, FINAL = INSTRUCTIONS[:_LAST], INSTRUCTIONS[_LAST:]
COPIED = [source for name, words in BUILD if name == "COPY" for source in words.split()[:-1]]
PIP = [
    shlex.split(each)[shlex.split(each).index("install") + 1 :]
    for name, words in BUILD
    if name == "RUN"
    for each in words.split("&&")
    if " pip " in each
]


def test_everything_that_is_copied_is_there_and_reaches_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    let_through = [rule[1:] for rule in rules if rule.startswith("!")]
    assert len(COPIED) == 8
    for source in COPIED:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, rule) for rule in let_through), source
    for rule in let_through:
        assert any(fnmatch.fnmatch(source, rule) for source in COPIED), rule


def test_the_wheel_finds_all_that_it_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    about = [project["project"]["readme"], *project["project"]["license-files"]]
    for path in [*about, *wheel["packages"], *wheel["force-include"], *wheel["shared-data"]]:
        assert path.split("/")[0] in COPIED, path


def test_packages_are_installed_as_the_makefile_does_and_only_those_of_production_are_kept() -> None:
    (makefile,) = re.findall(r"pip install (.*) -r requirements-dev\.txt", (ROOT / "Makefile").read_text())
    locked = {word for word in makefile.split() if word not in {"--quiet", "--disable-pip-version-check"}}
    assert locked == {"--require-hashes", "--no-deps", "--only-binary", ":all:"}
    production, build, ours = PIP
    for words, lock in ((production, "requirements.txt"), (build, "requirements-build.txt")):
        assert locked <= set(words)
        assert words[-2:] == ["-r", lock]
    assert {"--no-index", "--no-deps"} <= set(ours)
    kept = re.findall(r"pip --python (\S+) install", TEXT)
    assert kept == ["/opt/ingestor/venv"] * 2
    assert [words for name, words in FINAL if name == "COPY"] == [
        "--from=build /opt/ingestor/venv /opt/ingestor/venv"
    ]


def closure(name: str) -> set[str]:
    """The package and all that it requires on the image's Python."""
    needed = {re.split(r"[ ;<>=!~(\[]", each)[0] for each in requires(name) or [] if ";" not in each}
    return {name}.union(*map(closure, needed))


@pytest.mark.skipif(shutil.which("awk") is None, reason="awk is not installed")
def test_what_makes_the_wheel_is_taken_from_the_lock_with_its_hashes() -> None:
    (program,) = re.findall(r"awk '(.*?)'", TEXT)
    done = subprocess.run(
        ["awk", program, "requirements-dev.txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    taken = re.findall(r"(?m)^([a-z-]+)==.*\n +--hash=sha256:", done.stdout)
    assert set(taken) == closure("hatchling")
    assert len(taken) == len(re.findall(r"(?m)^\S", done.stdout))


def test_the_image_runs_the_daemon_as_a_user_and_knows_how_it_is() -> None:
    last = dict(FINAL)
    assert last["USER"] == "ingestor"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert (last["ENTRYPOINT"], last["CMD"]) == ('["ingestor"]', '["run"]')
    (words,) = re.findall(r'CMD \["ingestor", "(\w+)"\]', last["HEALTHCHECK"])
    assert {words, "run"} <= set(program.list_commands(click.Context(program)))
