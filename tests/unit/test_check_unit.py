"""`ingestor check` and systemd: what it says of a unit, and how it runs itself in a unit's sandbox."""

import configparser
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestor.adapters import service_manager
from ingestor.adapters.service_manager import sandboxed
from ingestor.app.check.findings import NothingToTry, Problem
from ingestor.app.check.unit import unit
from ingestor.cli.main import run
from tests.support.daemon import ROOT

DEPLOY = ROOT / "deploy" / "systemd"
UNIT = (DEPLOY / "hercle-ingestor@.service").read_text()
NOT_FOR_A_COMMAND = {
    *("Type", "NotifyAccess", "ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "OOMPolicy"),
    *("WatchdogSec", "TimeoutStartSec", "TimeoutStopSec", "SyslogIdentifier", "ExecReload"),
    *("RuntimeDirectory", "RuntimeDirectoryMode"),
}


def shown(**values: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts programs of systemd's names before the others: each prints a text and ends with a code. Gives
    where `systemd-run` writes its arguments."""
    programs, arguments = tmp_path / "bin", tmp_path / "arguments"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(service_manager, "SYSTEMD", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def given(text: str, *, accounts: tuple[str, ...] = (), code: int = 0, ends: int = 0) -> Path:
        said, units = tmp_path / "said", tmp_path / "units"
        said.write_text(text)
        lines = [f"hercle-ingestor@{each}.service loaded active running Ingestor\n" for each in accounts]
        units.write_text("".join(lines))
        for name, script in {
            "systemctl": f'case "$*" in *list-units*) cat {units};; *) cat {said};; esac; exit {code}',
            "systemd-run": f"printf '%s\\n' \"$@\" > {arguments}; exit {ends}",
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        return arguments

    return given


def written(arguments: Path) -> list[str]:
    return arguments.read_text().splitlines()


# --- the sandbox ---


def test_every_property_of_the_unit_is_passed_on_but_a_daemons() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT)
    command = sandboxed(UNIT, "main", ["check", "--json"], 25, {})
    passed = {each.removeprefix("--property=").partition("=")[0] for each in command if "--property" in each}
    assert passed - {"RuntimeMaxSec"} == {*parser["Service"]} - NOT_FOR_A_COMMAND


def test_it_is_the_user_the_credential_and_the_settings_of_the_instance() -> None:
    command = sandboxed(UNIT, "main", ["check", "--json"], 25, {})
    assert command[:5] == ["systemd-run", "--quiet", "--pipe", "--wait", "--collect"]
    assert {
        "--property=RuntimeMaxSec=25",
        "--property=DynamicUser=yes",
        "--property=User=ingestor",
        "--property=LoadCredential=hercle_api_key:/etc/ingestor/main.key",
        "--property=Environment=INGESTOR_CONFIG=/etc/ingestor/main.toml INGESTOR_ACCOUNT=main",
        "--property=SystemCallFilter=~@privileged @resources",
        "--property=CapabilityBoundingSet=",
    } <= {*command}
    assert command[command.index("--") :] == ["--", "/opt/ingestor/venv/bin/ingestor", "check", "--json"]
    assert "%" not in " ".join(command)


def test_drop_ins_count_after_the_unit_and_other_sections_do_not() -> None:
    drop_in = """
# /etc/systemd/system/hercle-ingestor@second.service.d/key.conf
[Unit]
AssertPathExistsGlob=/usr/lib*/*/libnss_systemd.so.2
[Service]
LoadCredential=
SupplementaryGroups=\\
    ingestor-%i 100%%
ExecStart=
ExecStart=-/opt/other/ingestor --set log.level=debug run
"""
    command = sandboxed(UNIT + drop_in, "second", ["check"], 25, {})
    credentials = [each for each in command if "LoadCredential=" in each]
    assert credentials == [
        "--property=LoadCredential=hercle_api_key:/etc/ingestor/second.key",
        "--property=LoadCredential=",
    ]
    assert "--property=SupplementaryGroups=ingestor-second 100%" in command
    assert not [each for each in command if "AssertPath" in each]
    assert command[command.index("--") :] == [
        "--",
        "/opt/other/ingestor",
        "--set",
        "log.level=debug",
        "check",
    ]


@pytest.mark.parametrize("text", ["", "[Service]\nType=notify\n", "[Service]\nExecStart=/bin/sleep 5\n"])
def test_a_unit_of_something_else_is_not_run(text: str) -> None:
    with pytest.raises(ValueError, match="ingestor run"):
        sandboxed(text, "main", ["check"], 25, {})


def test_an_instance_is_checked_by_this_command_line(systemd: Callable[..., Path]) -> None:
    arguments = systemd(shown(**WELL) + UNIT, ends=69)
    assert run(["check", "--instance", "main", "--nagios"]) == 69
    (given,) = [each for each in written(arguments) if each.startswith("--setenv=")]
    assert {each for each in written(arguments) if each != given} == {
        *sandboxed(UNIT, "main", ["check", "--nagios"], 25, {})[1:]
    }
    name, _, value = given.removeprefix("--setenv=").partition("=")
    assert unit("main", 5.0, {name: value}).startswith("hercle-ingestor@main.service is active: up")


@pytest.mark.parametrize("ends", [0, 69])
def test_a_support_bundle_is_made_in_the_same_way_and_written_by_root(
    ends: int, systemd: Callable[..., Path], tmp_path: Path
) -> None:
    """Of one that fails nothing is left."""
    arguments, archive = systemd(UNIT, ends=ends), tmp_path / "bundle.tar.gz"
    assert run(["support-bundle", "--instance", "main", "--output", str(archive)]) == ends
    given = written(arguments)
    assert given[0] == "--property=SupplementaryGroups=systemd-journal"
    assert given[-3:] == ["/opt/ingestor/venv/bin/ingestor", "support-bundle", "--output=-"]
    assert "--property=LoadCredential=hercle_api_key:/etc/ingestor/main.key" in given
    assert archive.exists() is (ends == 0)
    if ends == 0:
        assert archive.stat().st_mode & 0o777 == 0o600
        assert run(["support-bundle", "--instance", "main", "--output", str(archive)]) == 73


def test_what_systemd_cannot_run_is_said(
    systemd: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(UNIT, ends=243)
    assert run(["check", "--instance", "main", "--json"]) == 78
    captured = capsys.readouterr()
    assert "LoadCredential=" in captured.err
    assert any("/etc/ingestor/main.key" in each for each in json.loads(captured.out)["advice"])


def test_an_instance_without_a_unit_is_said(
    systemd: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    systemd("", code=1)
    assert run(["check", "--instance", "nobody"]) == 78
    assert "hercle-ingestor@nobody.service cannot be used" in capsys.readouterr().err
    assert run(["check", "--instance", "nobody", "--nagios"]) == 3
    assert capsys.readouterr().out.startswith("INGESTOR UNKNOWN - the unit hercle-ingestor@nobody")


def test_root_without_settings_means_the_only_instance(
    systemd: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = systemd(UNIT, accounts=("main",))
    assert run(["check"]) == 0
    assert written(arguments)[-3:] == ["--", "/opt/ingestor/venv/bin/ingestor", "check"]

    arguments.unlink()
    monkeypatch.setenv("INGESTOR_CONFIG", "/nonexistent.toml")  # as in the sandbox itself
    assert run(["check"]) == 78
    monkeypatch.delenv("INGESTOR_CONFIG")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert run(["check"]) == 78
    assert run(["check", "--instance", "main"]) == 2
    assert not arguments.exists()


def test_root_with_several_accounts_has_to_name_one(
    systemd: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    systemd(UNIT, accounts=("main", "second"))
    assert run(["check"]) == 2
    assert "main, second: choose one with --instance" in capsys.readouterr().err


# --- the unit ---

WELL = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "StatusText": "up · 0 gaps",
    "NRestarts": "0",
    "ExecMainStatus": "0",
    "WatchdogUSec": "30s",
}


def test_a_unit_that_runs_is_described(systemd: Callable[..., Path]) -> None:
    systemd(shown(**WELL))
    assert unit("main", 5.0) == (
        "hercle-ingestor@main.service is active: up · 0 gaps; watchdog after 30s, restarted 0 times"
    )


@pytest.mark.parametrize(
    ("differs", "what", "fix", "code"),
    [
        ({"ActiveState": "failed", "ExecMainStatus": "78"}, "(exit code 78)", "journalctl", 1),
        ({"ActiveState": "inactive"}, "is inactive", "systemctl enable --now", 0),
        ({"ActiveState": "activating"}, "is activating: up", "what it waits for", 0),
        ({"WatchdogUSec": "0"}, "no watchdog", "WatchdogSec=30", 0),
    ],
)
def test_a_unit_that_is_not_well_is_a_problem(
    differs: dict[str, str], what: str, fix: str, code: int, systemd: Callable[..., Path]
) -> None:
    systemd(shown(**WELL | differs))
    with pytest.raises(Problem) as raised:
        unit("main", 5.0)
    assert what in raised.value.what
    assert fix in raised.value.fix
    assert raised.value.exit_code == code


def test_without_a_unit_or_without_systemd_there_is_nothing_to_try(
    systemd: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd(shown(**WELL | {"LoadState": "not-found"}))
    with pytest.raises(NothingToTry, match="there is no hercle-ingestor@main"):
        unit("main", 5.0)
    systemd("", code=1)
    with pytest.raises(NothingToTry, match="does not answer"):
        unit("main", 5.0)
    monkeypatch.setattr(service_manager, "SYSTEMD", Path("/nonexistent"))
    with pytest.raises(NothingToTry, match="not the service manager"):
        unit("main", 5.0)
