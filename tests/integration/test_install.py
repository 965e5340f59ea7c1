"""`ingestor install` and `ingestor uninstall`: what they leave alone, ask, and refuse."""

import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.adapters.postgres.roles import ROLES
from ingestor.app.database import upgrade_database
from ingestor.app.install.installation import Plan, plan_install, plan_uninstall
from ingestor.app.install.installing import carry_out
from ingestor.domain.errors import BadConfiguration
from tests.support.daemon import ROOT, surroundings
from tests.support.documents import document_of
from tests.support.postgres import BINARIES, libpq_url, postgres_directory, server_under_test

pytestmark = pytest.mark.slow


VENV = "opt/ingestor/venv"


def program(*words: str, root: Path) -> list[str]:
    """The command, with this environment where the units of that machine can see it."""
    venv = root / VENV
    if not venv.is_symlink():
        venv.parent.mkdir(parents=True)
        venv.symlink_to(sys.prefix)
    return [str(venv / "bin" / "python"), "-m", "ingestor", *words, "--root", str(root)]


def ingestor(*words: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(*words, root=root),
        env={**surroundings(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def actions(*words: str, root: Path) -> dict[str, str]:
    """By path what becomes of it. The document has been found to be what its schema's type says."""
    done = ingestor(*words, "--json", root=root)
    assert done.returncode == 0, done.stderr
    return {each["path"]: each["action"] for each in document_of(words[0], done.stdout)["plan"]["files"]}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine, with this environment in a place that the units can see."""
    monkeypatch.setattr(sys, "prefix", "/opt/somewhere/venv")
    return tmp_path


SETTINGS = "/etc/ingestor/main.toml"
UNIT = "/etc/systemd/system/hercle-ingestor@.service"


def test_settings_that_were_edited_stay_until_they_are_purged(tmp_path: Path) -> None:
    ingestor("install", "--local-database", root=tmp_path)
    settings, unit = tmp_path / SETTINGS[1:], tmp_path / UNIT[1:]
    drop_in = unit.with_name(f"{unit.name}.d") / "peer-authentication.conf"
    key = settings.with_name("main.key")
    settings.write_text("account = 'mine'\n")
    drop_in.write_text("# mine\n")
    unit.write_text("# an older version\n")
    key.write_text("the key")

    found = actions("install", "--local-database", root=tmp_path)
    assert (found[SETTINGS], found[UNIT]) == ("keep", "replace")
    assert settings.read_text() == "account = 'mine'\n"
    assert "ExecStart=" in unit.read_text()

    found = actions("uninstall", root=tmp_path)
    kept = {path for path, action in found.items() if action == "keep"}
    assert kept == {SETTINGS, f"{UNIT}.d/peer-authentication.conf"}
    assert not unit.exists()
    assert key.read_text() == "the key"

    assert set(actions("uninstall", "--purge", root=tmp_path).values()) == {"remove"}
    assert not any(each.is_file() for each in tmp_path.rglob("*"))


def test_an_account_that_was_enabled_is_not_left_enabled(tmp_path: Path) -> None:
    ingestor("install", root=tmp_path)
    units = tmp_path / "etc/systemd/system"
    enabled = {
        "multi-user.target.wants/hercle-ingestor@main.service": UNIT,
        "timers.target.wants/hercle-ingestor-prune@main.timer": UNIT.replace("@.service", "-prune@.timer"),
        "multi-user.target.wants/another.service": "/lib/systemd/system/another.service",
    }
    for link, to in enabled.items():
        (units / link).parent.mkdir(exist_ok=True)
        (units / link).symlink_to(to)

    ingestor("uninstall", root=tmp_path)

    assert [each.name for each in units.rglob("*") if each.is_symlink()] == ["another.service"]


def test_a_link_of_another_installation_is_replaced_and_never_removed(tmp_path: Path) -> None:
    ingestor("install", root=tmp_path)
    link = tmp_path / "usr/local/bin/ingestor"
    link.unlink()
    link.symlink_to("/opt/older/venv/bin/ingestor")

    assert actions("uninstall", "--dry-run", root=tmp_path)["/usr/local/bin/ingestor"] == "keep"
    assert actions("install", root=tmp_path)["/usr/local/bin/ingestor"] == "replace"


def test_what_is_no_link_is_in_the_way_and_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    program = tmp_path / "usr/local/bin/ingestor"
    program.write_text("somebody else's")

    done = ingestor("install", root=tmp_path)

    assert done.returncode == 73
    assert str(program) in done.stderr
    assert program.read_text() == "somebody else's"
    assert not (tmp_path / "etc").exists()


def test_the_units_start_the_program_where_it_is(root: Path) -> None:
    carry_out(plan_install(root, local_database=False))

    shipped = [path.name for path in (ROOT / "deploy" / "systemd").glob("*@.*")]
    assert len(shipped) >= 4
    for name in shipped:
        text = (root / "etc/systemd/system" / name).read_text()
        assert name.endswith(".timer") or "ExecStart=/opt/somewhere/venv/bin/ingestor " in text
        assert "/opt/ingestor/venv" not in text


@pytest.mark.parametrize("prefix", ["/home/me/venv", "/root/venv", "/tmp/venv", sys.base_prefix])
def test_an_environment_that_the_units_cannot_see_is_refused(
    prefix: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", prefix)
    with pytest.raises(BadConfiguration, match="the units could not start"):
        plan_install(root, local_database=False)


def test_beside_the_debian_package_nothing_is_installed_or_removed(tmp_path: Path) -> None:
    unit = tmp_path / "usr/lib/systemd/system/hercle-ingestor@.service"
    unit.parent.mkdir(parents=True)
    unit.touch()

    for word in ("install", "uninstall"):
        done = ingestor(word, root=tmp_path)
        assert done.returncode == 78
        assert "apt-get purge hercle-ingestor" in done.stderr


def answered(answer: bytes, *words: str, root: Path) -> int:
    """Its exit code, with somebody at the terminal who gives this answer."""
    ours, its = pty.openpty()
    try:
        os.write(ours, answer + b"\n")
        return subprocess.run(
            program(*words, root=root),
            env={**surroundings(), "PYTHONPATH": str(ROOT)},
            stdin=its,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
    finally:
        os.close(ours)
        os.close(its)


def test_uninstall_asks_on_a_terminal(tmp_path: Path) -> None:
    ingestor("install", root=tmp_path)

    assert answered(b"n", "uninstall", root=tmp_path) == 130
    assert (tmp_path / UNIT[1:]).exists()
    assert answered(b"y", "uninstall", root=tmp_path) == 0
    assert not (tmp_path / UNIT[1:]).exists()


def test_data_is_dropped_only_where_that_is_asked_for(root: Path) -> None:
    for purge in (False, True):
        plan = plan_uninstall(root, purge=purge, drop_database=False)
        assert (plan.roles, [each for each in (*plan.before, *plan.after) if "drop" in each]) == ([], [])
    plan = plan_uninstall(root, purge=False, drop_database=True)
    assert any("dropdb --if-exists ingestor" in each for each in plan.after)
    assert [each.rpartition(" ")[2] for each in plan.after if "dropuser" in each] == plan.roles


def run_commands(plan: Plan) -> None:
    """Those for the database: neither files nor systemd of the machine that runs the tests are touched."""
    here = [each for each in plan.after if not each.startswith("systemctl")]
    assert here
    carry_out(replace(plan, root="/", before=[], files=[], after=here))


def test_database_and_roles_are_made_twice_and_dropped_when_that_is_asked_for(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path_factory.mktemp("programs")
    runuser = programs / "runuser"  # the server of the test has its superuser under any name
    runuser.write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    runuser.chmod(0o755)
    found = [str(each) for each in (programs, find_binaries(BINARIES), Path(sys.executable).parent)]
    monkeypatch.setenv("PATH", ":".join([*found, os.defpath]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with postgres_directory() as directory, server_under_test(directory) as server:
        target = psycopg.conninfo.conninfo_to_dict(server.dsn("postgres"))
        for name in ("host", "port", "user"):
            monkeypatch.setenv(f"PG{name.upper()}", str(target[name]))
        install = plan_install(root, local_database=True)
        assert install.roles == list(ROLES)

        run_commands(install)
        upgrade_database(server.url("ingestor").replace("//postgres@", "//ingestor-migrator@"))
        run_commands(install)

        daemon = libpq_url(server.url("ingestor")).replace("//postgres@", "//ingestor@")
        with psycopg.connect(daemon) as connection:
            assert connection.execute("SELECT account FROM ingest.account").fetchall() == []
            assert connection.execute("SHOW server_encoding").fetchall() == [("UTF8",)]
        run_commands(plan_uninstall(root, purge=False, drop_database=True))
        with psycopg.connect(server.dsn("postgres")) as connection:
            query = "SELECT datname FROM pg_database WHERE datname = 'ingestor'"
            assert connection.execute(query).fetchall() == []
            left = connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^ingestor'")
            assert left.fetchall() == []


def test_a_command_that_fails_is_said_in_its_own_words(root: Path) -> None:
    plan = replace(plan_install(root, local_database=False), root="/", files=[])
    with pytest.raises(BadConfiguration, match=r"echo not today.*\nwhy: not today\n"):
        carry_out(replace(plan, after=["echo not today >&2; exit 3"]))
