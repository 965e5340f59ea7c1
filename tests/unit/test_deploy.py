"""The unit files and the operator's guide: accepted by systemd, and in agreement with the code."""

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from types import ModuleType

import pytest

from ingestor.adapters.postgres.roles import CHANGED, LIMITS, PRUNED, PRUNER, ROLES, SETTINGS, WRITER
from ingestor.app import control
from ingestor.cli.exits import Exit
from ingestor.config import Settings
from ingestor.config.secrets import KEY_CREDENTIAL, PASSWORD_CREDENTIAL
from tests.support.daemon import command, surroundings
from tests.support.log_events import LOG_EVENTS

DEPLOY = Path(__file__).parents[2] / "deploy"
GUIDE = (DEPLOY / "README.md").read_text()
DAEMON, MIGRATE = "hercle-ingestor@.service", "hercle-ingestor-migrate@.service"
PRUNE, PRUNE_TIMER = "hercle-ingestor-prune@.service", "hercle-ingestor-prune@.timer"
UNITS = [DAEMON, MIGRATE, PRUNE]
DROP_INS = {
    "peer-authentication.conf": UNITS,
    "remote-postgres.conf": [DAEMON],
    "remote-postgres-migrate.conf": [MIGRATE],
    "remote-postgres-prune.conf": [PRUNE],
    "fixed-addresses.conf": [DAEMON],
}
"""Each with the units that it is for."""
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
SYSTEMD_CANNOT_EXECUTE, SYSTEMD_CANNOT_READ_A_CREDENTIAL = 203, 243


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name)
    return parser


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False)


def blocks(language: str) -> list[str]:
    """The guide's code blocks in this language."""
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found


# --- units ---


def verified(directory: Path, name: str, drop_in: str = "") -> list[str]:
    """What systemd complains about of an instance with another program: ours may not be installed."""
    text = (DEPLOY / "systemd" / name).read_text()
    instance = directory / name.replace("@.", "@main.")
    instance.write_text(re.sub(r"(?m)^(Exec\w+)=/opt/\S+", r"\1=/bin/true", text))
    drop_ins = directory / f"{instance.name}.d"
    drop_ins.mkdir()
    (drop_ins / "test.conf").write_text(drop_in)
    done = analyze("verify", "--man=no", str(instance))
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "hercle-ingestor" in line]
    assert complaints or done.returncode == 0, done.stderr  # nothing else warns by the exit code alone
    return complaints


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit_without_a_warning(tmp_path: Path, name: str) -> None:
    assert verified(tmp_path, name) == []


@needs_systemd
@pytest.mark.parametrize(
    ("drop_in", "name"), [(each, name) for each, names in DROP_INS.items() for name in names]
)
def test_systemd_accepts_the_drop_in_without_a_warning(tmp_path: Path, drop_in: str, name: str) -> None:
    assert verified(tmp_path, name, (DEPLOY / "systemd" / "drop-ins" / drop_in).read_text()) == []


@needs_systemd
def test_a_wrong_drop_in_would_be_noticed(tmp_path: Path) -> None:
    assert verified(tmp_path, DAEMON, "[Service]\nLoadCredentials=a:/b\n") != []


def test_every_drop_in_is_checked() -> None:
    assert {path.name for path in (DEPLOY / "systemd" / "drop-ins").iterdir()} == set(DROP_INS)


@needs_systemd
def test_systemd_accepts_the_timer_without_a_warning(tmp_path: Path) -> None:
    assert verified(tmp_path, PRUNE) == []
    timer = tmp_path / PRUNE_TIMER.replace("@.", "@main.")
    shutil.copy(DEPLOY / "systemd" / PRUNE_TIMER, timer)
    done = analyze("verify", "--man=no", str(timer), str(tmp_path / PRUNE.replace("@.", "@main.")))
    assert [line for line in done.stderr.splitlines() if "hercle-ingestor" in line] == []
    assert done.returncode == 0, done.stderr


def test_old_rows_are_removed_each_day_by_the_role_that_may_only_do_that() -> None:
    service, timer = unit(PRUNE)["Service"], unit(PRUNE_TIMER)
    assert service["ExecStart"].endswith("ingestor db prune --yes")
    assert (service["DynamicUser"], service["User"]) == ("yes", PRUNER)
    assert service["Environment"] == unit(DAEMON)["Service"]["Environment"]
    assert timer["Timer"]["OnCalendar"] == "*-*-* 03:00"
    assert timer["Timer"]["Persistent"] == "yes"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert "Unit" not in timer["Timer"], "that of its own name"


def test_every_unit_is_checked() -> None:
    assert {path.name for path in (DEPLOY / "systemd").glob("*@.*")} == {*UNITS, PRUNE_TIMER}


def test_an_account_has_the_name_of_its_instance() -> None:
    """Configuration, key and journal are its own; the user, as the database role, is one for all accounts."""
    service = unit(DAEMON)["Service"]
    assert service["Environment"] == "INGESTOR_CONFIG=/etc/ingestor/%i.toml INGESTOR_ACCOUNT=%i"
    assert service["LoadCredential"] == f"{KEY_CREDENTIAL}:/etc/ingestor/%i.key"
    assert service["SyslogIdentifier"] == "ingestor@%i"
    assert (service["DynamicUser"], service["User"]) == ("yes", "ingestor")
    assert unit(MIGRATE)["Service"]["Environment"] == service["Environment"]


def test_the_local_socket_is_where_the_commands_look_and_its_group_gets_there() -> None:
    """systemd keeps a preserved runtime directory of a dynamic user below /run/private, for root only."""
    service = unit(DAEMON)["Service"]
    assert f"/run/{service['RuntimeDirectory']}" == f"{control.PACKAGED}/%i"
    assert service["RuntimeDirectoryMode"] == "0750"
    assert "RuntimeDirectoryPreserve" not in service


def test_no_unit_needs_a_newer_systemd_than_252() -> None:
    """`systemd-analyze verify` of a newer systemd accepts these."""
    newer = {
        "notify-reload",
        "RestartSteps",
        "RestartMaxDelaySec",
        "RestartMode",
        "MemoryZSwapMax",
        "PrivatePIDs",
    }
    for name in UNITS:
        assert newer & set(re.split(r"[\s=]+", (DEPLOY / "systemd" / name).read_text())) == set()


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_the_sandbox_leaves_an_exposure_of_at_most_1_2(name: str) -> None:
    done = analyze(
        "security", "--offline=true", "--no-pager", "--threshold=12", str(DEPLOY / "systemd" / name)
    )
    assert done.returncode == 0, done.stdout[-400:]


def test_a_reload_checks_the_settings_before_it_asks_the_daemon() -> None:
    lines = (DEPLOY / "systemd" / DAEMON).read_text().splitlines()
    check, ask = [line.partition("=")[2] for line in lines if line.startswith("ExecReload=")]
    started = unit(DAEMON)["Service"]["ExecStart"].removesuffix(" run")
    assert check == f"{started} config validate --no-environment"
    assert ask == """/bin/sh -c 'kill -HUP "$MAINPID"'"""


def test_a_stop_has_time_for_the_drain_and_a_running_statement() -> None:
    stop = float(unit(DAEMON)["Service"]["TimeoutStopSec"])
    settings = Settings()
    assert settings.drain.deadline_seconds + settings.database.statement_deadline_seconds < stop


def test_the_watchdog_waits_longer_than_any_healthy_turn() -> None:
    """Invariant I15."""
    watchdog = float(unit(DAEMON)["Service"]["WatchdogSec"])
    assert watchdog >= 1.5 * Settings().database.transaction_deadline_seconds


def test_what_a_restart_cannot_cure_is_not_restarted() -> None:
    service = unit(DAEMON)["Service"]
    codes = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert codes == {
        Exit.CREDENTIAL,
        Exit.CONFIGURATION,
        SYSTEMD_CANNOT_EXECUTE,
        SYSTEMD_CANNOT_READ_A_CREDENTIAL,
    }
    assert (service["Type"], service["Restart"]) == ("notify", "always")


def test_what_a_restart_can_cure_is_restarted_for_ever() -> None:
    """Above all code 75: the other process that writes the account may stay for hours."""
    assert unit(DAEMON)["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_after_the_clock_is_set(name: str) -> None:
    assert "time-sync.target" in unit(name)["Unit"]["After"].split()


def test_the_guide_names_the_credentials_that_are_read() -> None:
    assert {KEY_CREDENTIAL, PASSWORD_CREDENTIAL} <= set(re.findall(r"`(\w+)`", GUIDE))
    drop_in = (DEPLOY / "systemd" / "drop-ins" / "remote-postgres.conf").read_text()
    assert f"\nLoadCredential={PASSWORD_CREDENTIAL}:" in drop_in


def test_the_schema_is_upgraded_before_the_daemon_starts() -> None:
    migrate = unit(MIGRATE)
    assert "hercle-ingestor@%i.service" in migrate["Unit"]["Before"].split()
    assert migrate["Service"]["Type"] == "oneshot"
    assert migrate["Service"]["ExecStart"].endswith("ingestor db upgrade")


# --- the guide ---


def exit_table() -> dict[int, str]:
    """What the guide says of a restart after each exit code."""
    rows = re.findall(r"(?m)^\| ([\d, ]+) \| .* \| (.+) \|$", GUIDE.partition("## Exit codes")[2])
    return {int(code): restarted for codes, restarted in rows for code in codes.split(", ")}


def test_the_guide_lists_every_exit_code() -> None:
    assert exit_table().keys() == {*Exit, SYSTEMD_CANNOT_EXECUTE, SYSTEMD_CANNOT_READ_A_CREDENTIAL}


def test_the_guide_says_which_codes_are_not_restarted() -> None:
    prevented = unit(DAEMON)["Service"]["RestartPreventExitStatus"]
    not_restarted = {code for code, restarted in exit_table().items() if restarted.startswith("**no**")}
    assert not_restarted == {int(code) for code in prevented.split()}


def test_the_log_events_of_the_guide_are_in_the_catalogue_and_no_debug_ones() -> None:
    table = GUIDE.partition("Alert on these:")[2].partition("\n## ")[0]
    events = re.findall(r"(?m)^\| `(\w+)` \|", table)
    assert events
    assert {LOG_EVENTS[event].level for event in events} <= {"warning", "error", "critical"}


def test_the_tables_that_the_guide_lets_change_or_delete_are_those_of_the_grants() -> None:
    row = next(line for line in GUIDE.splitlines() if line.startswith("| `ingestor`, the daemon"))
    assert set(re.findall(r"`(\w+)`", row.partition("change rows of")[2])) == set(CHANGED)
    row = next(line for line in GUIDE.splitlines() if line.startswith("| `ingestor-pruner`"))
    assert set(re.findall(r"`(\w+)`", row.partition("delete rows of")[2])) == set(PRUNED)


def test_the_guide_has_every_role_and_drops_each() -> None:
    rows = re.findall(r"(?m)^\| `([\w-]+)`", GUIDE.partition("\n## Roles\n")[2].partition("\n## ")[0])
    assert rows == list(ROLES)
    (dropped,) = re.findall(r"for role in ([^;]+);", GUIDE.partition("\n## Uninstall\n")[2])
    assert set(dropped.split()) == set(ROLES)


def test_the_guide_has_the_limits_of_the_readers() -> None:
    text = " ".join(GUIDE.partition("\n## Roles\n")[2].partition("\n## ")[0].split())
    said = (
        "Their statements are cancelled after {}, an idle transaction after {}, a wait for a lock after {}, "
        "and a sort may use {}"
    )
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "temp_file_limit")
    assert said.format(*(re.sub(r"(\d+)(\w+)", r"\1 \2", LIMITS[name]) for name in names)) in text


def test_the_guide_has_what_the_daemons_sessions_begin_with() -> None:
    text = GUIDE.partition("\n## Roles\n")[2].partition("\n## ")[0]
    for name, value in SETTINGS[WRITER].items():
        assert f"the role `{WRITER}` has `{name} = {value}`" in text


def test_the_settings_of_the_guide_are_valid(tmp_path: Path) -> None:
    metrics = re.findall(r"```toml\n(.*?)```", (DEPLOY / "METRICS.md").read_text(), re.DOTALL)
    assert metrics
    for number, block in enumerate([*blocks("toml"), *metrics]):
        file = tmp_path / f"{number}.toml"
        rest = "" if "[database]" in block else '[database]\nurl = "postgresql:///ingestor"\n'
        file.write_text(block + rest)
        done = command("config", "validate", "--no-environment", "--config", str(file), env=surroundings())
        assert done.returncode == 0, done.stderr


def test_the_shell_commands_of_the_guide_can_be_parsed() -> None:
    for block in blocks("sh"):
        done = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_what_the_guide_filters_the_journal_with_passes_over_no_line() -> None:
    """systemd writes lines of its own, which are not JSON; so do libraries below Python, and a crash."""
    (through,) = re.findall(r"(?m)^journalctl .* \| (jq .*?)(?:   #.*)?$", GUIDE)
    lines = ["Started hercle-ingestor@main.service - Hercle ingestor, account main.", "", "Aborted", "{"]
    record = '{"event":"commit_delayed","level":"warning"}'
    text = "\n".join([*lines, record, ""])
    done = subprocess.run(
        ["sh", "-c", through], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads("{" + done.stdout.rpartition("\n{")[2]) == json.loads(record)
    assert all(line in done.stdout for line in lines)


@needs_systemd
def test_systemd_accepts_the_drop_in_of_the_guide(tmp_path: Path) -> None:
    (drop_in,) = blocks("ini")
    assert verified(tmp_path, DAEMON, drop_in) == []


# --- the lock ---


def packaging() -> ModuleType:
    """The program that builds the Debian package; it is in no package itself."""
    spec = importlib.util.spec_from_file_location("build_debian", DEPLOY / "debian" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_production_is_locked_without_the_demo() -> None:
    """Every dependency with hashes; no private Postgres, no simulated hub, no index."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    text = (DEPLOY.parent / "requirements.txt").read_text()
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)[=\[]", text))

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=]", each)[0] for each in requirements}

    assert names(project["dependencies"]) <= locked
    assert names(project["optional-dependencies"]["demo"]) & locked == set()
    assert text.count("--hash=sha256:") >= len(locked)
    assert "://" not in text


def test_the_lock_is_checked_for_every_python_that_we_name() -> None:
    """`make lock` asks an index whether each has wheels; here is none to be asked."""
    makefile = (DEPLOY.parent / "Makefile").read_text()
    checked = set(re.findall(r"3\.\d+", makefile.partition("PYTHONS :=")[2].splitlines()[0]))
    classifiers = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["classifiers"]
    named = {found[1] for each in classifiers if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", each))}
    assert named | {"3.11", "3.14"} <= checked
    assert set(packaging().PYTHONS) <= checked


def test_the_bill_of_materials_names_the_licence_of_every_locked_package() -> None:
    text = (DEPLOY.parent / "requirements.txt").read_text()
    components = {}
    for name, version in re.findall(r"(?m)^([a-z0-9-]+)(?:\[\w+\])?==(\S+)", text):
        try:
            components[name] = metadata(name)
        except PackageNotFoundError:  # of another platform
            assert ";" in next(line for line in text.splitlines() if line.startswith(name)), name
        else:
            assert components[name]["Version"] == version

    bill = json.loads(packaging().bill_of_materials(components, "1.2.3"))

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert {each["name"] for each in bill["components"]} == set(components)
    for each in bill["components"]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        (licence,) = each["licenses"]
        assert licence.get("expression") or licence["license"]["name"]


# --- the package ---


def test_the_package_is_made_for_the_python_of_each_release_it_is_for() -> None:
    control = (DEPLOY / "debian" / "control").read_text()
    assert " | ".join(f"python{each}" for each in packaging().PYTHONS) in control
    assert "libnss-systemd" in control
    assert re.search(r"systemd \(>= 252\)", control)


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_a_script_of_the_package_can_be_parsed(script: str) -> None:
    done = subprocess.run(
        ["sh", "-n", DEPLOY / "debian" / script], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_settings_that_the_package_installs_are_valid() -> None:
    file = str(DEPLOY / "main.toml")
    done = command("config", "validate", "--no-environment", "--config", file, env=surroundings())
    assert done.returncode == 0, done.stderr
