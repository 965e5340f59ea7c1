"""What users install: the wheel has all of the package and nothing else, and works away from the checkout."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import psycopg
import pytest

from ingestor import __version__
from tests.support.daemon import ROOT, surroundings
from tests.support.postgres import libpq_url

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Its standard output. Nothing of the checkout's environment reaches the program."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=surroundings() | variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    offline = ("--no-index", "--no-build-isolation", "--no-deps")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "-w", directory, ROOT, cwd=directory)
    (built,) = directory.iterdir()
    return built


def shipped(folder: str) -> Iterator[str]:
    """The files of a folder of the checkout, relative to it."""
    for path in (ROOT / folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT / folder).as_posix()


GUIDE = {
    "METRICS.md",
    "README.md",
    "RUNBOOK.md",
    "ingestor.toml.example",
    "main.toml",
    *(
        f"{folder}/{name}"
        for folder in ("completions", "dbt", "grafana", "man", "prometheus", "schemas", "systemd")
        for name in shipped(f"deploy/{folder}")
    ),
}
"""What the operator's guide names, installed as `share/hercle-ingestor` of the environment."""


def test_the_wheel_holds_the_package_the_migrations_the_guide_and_nothing_else(wheel: Path) -> None:
    about = f"hercle_ingestor-{__version__}.dist-info"
    with ZipFile(wheel) as archive:
        inside = set(archive.namelist())

    code = {f"ingestor/{name}" for name in shipped("ingestor")}
    migrations = {f"ingestor/migrations/{name}" for name in shipped("migrations")}
    rest = inside - code - migrations
    assert code | migrations <= inside
    assert rest == {
        *(
            f"{about}/{name}"
            for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
        ),
        *(f"hercle_ingestor-{__version__}.data/data/share/hercle-ingestor/{name}" for name in GUIDE),
    }
    assert "ingestor/py.typed" in inside
    assert any(name.startswith("ingestor/migrations/report/") for name in inside)


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of a machine with the wheel in /opt/ingestor/venv, as the operator's guide has it."""
    root = tmp_path_factory.mktemp("machine").resolve()
    for each in ("etc/systemd/system", "usr/share", "usr/local/bin", "usr/local/share/man"):
        (root / each).mkdir(parents=True)
    environment = root / "opt" / "ingestor" / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python),
        *("install", "--quiet", "--no-index", "--no-deps", wheel),
        cwd=root,
    )
    # The dependencies of this environment, but not what its own .pth files add: the checkout is one of those.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=root).strip())
    (site / "dependencies.pth").write_text(
        "\n".join(sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})) + "\n"
    )
    where = run(python, "-c", "import ingestor; print(ingestor.__file__)", cwd=root)
    assert Path(where).parent == site / "ingestor"
    return root


def ingestor(machine: Path, *arguments: str, **variables: str) -> str:
    return run(machine / "opt/ingestor/venv/bin/ingestor", *arguments, cwd=machine, **variables)


def test_an_installed_wheel_makes_its_schema_without_the_checkout(machine: Path, empty_database: str) -> None:
    assert ingestor(machine, "--version").split()[-1] == __version__
    upgraded = ingestor(machine, "db", "upgrade", INGESTOR_DATABASE__URL=empty_database)
    assert upgraded.startswith("schema: 0001")
    with psycopg.connect(libpq_url(empty_database)) as connection:
        assert connection.execute("SELECT count(*) FROM report.balance_current").fetchone() == (0,)


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """By path: what is there, and since when; without the software itself."""
    found = {}
    for directory, folders, names in os.walk(root):
        for each in (Path(directory) / name for name in (*folders, *names)):
            path = f"/{each.relative_to(root)}"
            if not path.startswith("/opt/"):
                status = each.lstat()
                what = str(each.readlink()) if each.is_symlink() else ""
                if each.is_file() and not each.is_symlink():
                    what = hashlib.sha256(each.read_bytes()).hexdigest()
                found[path] = (f"{stat.filemode(status.st_mode)} {what}", status.st_mtime_ns)
    return found


def test_it_installs_on_a_machine_twice_and_leaves_nothing_behind(machine: Path) -> None:
    bare = tree(machine)
    to = ("--root", str(machine), "--json")
    planned = json.loads(ingestor(machine, "install", "--dry-run", *to))
    assert tree(machine) == bare

    done = json.loads(ingestor(machine, "install", *to))
    installed = tree(machine)
    assert {**done, "dry_run": True, "not_run": []} == planned
    placed = {path for path in installed.keys() - bare.keys() if not installed[path][0].startswith("d")}
    assert placed == {each["path"] for each in planned["plan"]["files"]}
    assert {each["action"] for each in planned["plan"]["files"]} == {"create"}

    for each in planned["plan"]["files"]:
        there = machine / each["path"][1:]
        if each["link_to"]:
            assert (machine / each["link_to"][1:]).resolve().is_relative_to(machine / "opt")
            assert str(there.readlink()) == each["link_to"]
        else:
            assert installed[each["path"]][0].startswith("-rw-r--r-- ")
    for unit in (ROOT / "deploy" / "systemd").glob("*@.*"):
        assert (machine / "etc/systemd/system" / unit.name).read_bytes() == unit.read_bytes()
    assert (machine / "etc/ingestor/main.toml").read_bytes() == (ROOT / "deploy/main.toml").read_bytes()
    manual = (machine / "usr/local/share/man/man1/ingestor.1").read_bytes()
    assert manual == (ROOT / "deploy/man/ingestor.1").read_bytes()

    again = json.loads(ingestor(machine, "install", *to))
    assert {each["action"] for each in again["plan"]["files"]} == {"unchanged"}
    assert (again["plan"]["after"], again["not_run"]) == ([], [])
    assert tree(machine) == installed

    ingestor(machine, "uninstall", "--dry-run", *to)
    assert tree(machine) == installed
    ingestor(machine, "uninstall", *to)
    left = tree(machine)
    assert {path: what for path, (what, _) in left.items()} == {p: what for p, (what, _) in bare.items()}


def build(what: str, source: Path, directory: Path, umask: int = 0o022) -> Path:
    """The wheel or the source distribution, made in this directory."""
    command = f'umask {umask:04o} && exec "$@"'
    program = (sys.executable, "-m", "build", f"--{what}", "--no-isolation", "--outdir", directory, source)
    run("sh", "-c", command, "sh", *map(str, program), cwd=source)
    (built,) = directory.iterdir()
    return built


def test_two_builds_give_the_same_bytes_also_from_the_source_distribution(tmp_path: Path) -> None:
    """In two directories, as users with other habits, and without the checkout."""
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    built = [
        build("wheel", ROOT, tmp_path / "first"),
        build("wheel", ROOT, tmp_path / "second", 0o077),
        build("wheel", unpacked, tmp_path / "third"),
    ]
    assert len({hashlib.sha256(each.read_bytes()).hexdigest() for each in built}) == 1


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_the_source_distribution_has_what_its_documents_and_its_makefile_name(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path)) as packed:
        names = {each.name.partition("/")[2] for each in packed.getmembers()}
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    left_out = {name for name in tracked if name not in names}
    assert left_out <= {
        ".gitignore",
        ".pre-commit-config.yaml",
        *(n for n in tracked if n.startswith(".ci/")),
    }
