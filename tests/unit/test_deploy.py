"""The unit files and the operator's guide: accepted by systemd, and in agreement with the code."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ingestor.cli.exits import Exit
from ingestor.config import Settings
from ingestor.config.secrets import KEY_CREDENTIAL, PASSWORD_CREDENTIAL
from tests.support.daemon import command, surroundings
from tests.support.log_events import LOG_EVENTS

DEPLOY = Path(__file__).parents[2] / "deploy"
GUIDE = (DEPLOY / "README.md").read_text()
UNITS = ["ingestor.service", "ingestor-migrate.service"]
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
SYSTEMD_CANNOT_EXECUTE, SYSTEMD_CANNOT_READ_A_CREDENTIAL = 203, 243


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
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


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit_without_a_warning(tmp_path: Path, name: str) -> None:
    """With a program that exists: the real one is not installed where tests run."""
    text = (DEPLOY / name).read_text()
    copy = tmp_path / name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    done = analyze("verify", "--man=no", str(copy))
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if name.partition(".")[0] in line]
    assert (warnings, done.returncode) == ([], 0)


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_the_sandbox_leaves_an_exposure_of_at_most_1_2(name: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=12", str(DEPLOY / name))
    assert done.returncode == 0, done.stdout[-400:]


def test_a_stop_has_time_for_the_drain_and_a_running_statement() -> None:
    stop = float(unit("ingestor.service")["Service"]["TimeoutStopSec"])
    settings = Settings()
    assert settings.drain.deadline_seconds + settings.database.statement_deadline_seconds < stop


def test_the_watchdog_waits_longer_than_any_healthy_turn() -> None:
    """Invariant I15."""
    watchdog = float(unit("ingestor.service")["Service"]["WatchdogSec"])
    assert watchdog >= 1.5 * Settings().database.transaction_deadline_seconds


def test_what_a_restart_cannot_cure_is_not_restarted() -> None:
    service = unit("ingestor.service")["Service"]
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
    assert unit("ingestor.service")["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_after_the_clock_is_set(name: str) -> None:
    assert "time-sync.target" in unit(name)["Unit"]["After"].split()


def test_the_unit_passes_the_credential_under_the_name_that_is_read() -> None:
    assert unit("ingestor.service")["Service"]["LoadCredential"].partition(":")[0] == KEY_CREDENTIAL
    assert f"`{PASSWORD_CREDENTIAL}`" in GUIDE


def test_the_schema_is_upgraded_before_the_daemon_starts() -> None:
    migrate = unit("ingestor-migrate.service")
    assert "ingestor.service" in migrate["Unit"]["Before"].split()
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
    prevented = unit("ingestor.service")["Service"]["RestartPreventExitStatus"]
    not_restarted = {code for code, restarted in exit_table().items() if restarted.startswith("**no**")}
    assert not_restarted == {int(code) for code in prevented.split()}


def test_the_log_events_of_the_guide_are_in_the_catalogue_and_no_debug_ones() -> None:
    table = GUIDE.partition("These are worth an alarm:")[2].partition("\n## ")[0]
    events = re.findall(r"(?m)^\| `(\w+)` \|", table)
    assert events
    assert {LOG_EVENTS[event].level for event in events} <= {"warning", "error", "critical"}


def test_the_tables_that_the_daemon_may_change_are_those_of_the_grants() -> None:
    row = next(line for line in GUIDE.splitlines() if line.startswith("| `ingestor`, the daemon"))
    update = (DEPLOY / "grants.sql").read_text().partition("GRANT UPDATE ON")[2].partition("TO ingestor")[0]
    granted = set(re.findall(r"ingest\.(\w+)", update))
    assert set(re.findall(r"`(\w+)`", row.partition("change rows of")[2])) == granted


def test_the_settings_of_the_guide_are_valid(tmp_path: Path) -> None:
    for number, block in enumerate(blocks("toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        done = command("config", "validate", "--no-environment", "--config", str(file), env=surroundings())
        assert done.returncode == 0, done.stderr


def test_the_shell_commands_of_the_guide_can_be_parsed() -> None:
    for block in blocks("sh"):
        done = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.stderr, done.returncode) == ("", 0)


@needs_systemd
def test_systemd_accepts_the_drop_in_of_the_guide(tmp_path: Path) -> None:
    text = (DEPLOY / "ingestor.service").read_text()
    (tmp_path / "ingestor.service").write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    drop_ins = tmp_path / "ingestor.service.d"
    drop_ins.mkdir()
    (drop_in,) = blocks("ini")
    (drop_ins / "secrets.conf").write_text(drop_in)
    done = analyze("verify", "--man=no", str(tmp_path / "ingestor.service"))
    assert [line for line in (done.stdout + done.stderr).splitlines() if "secrets.conf" in line] == []
