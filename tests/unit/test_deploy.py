"""The unit files: accepted by systemd, tight, and in agreement with the settings' defaults."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ingestor.cli.exits import Exit
from ingestor.config import Settings
from ingestor.config.secrets import KEY_CREDENTIAL

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ["ingestor.service", "ingestor-migrate.service"]
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
    return parser


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit_without_a_warning(tmp_path: Path, name: str) -> None:
    """With a program that exists: the real one is not installed where tests run."""
    text = (DEPLOY / name).read_text()
    copy = tmp_path / name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    done = analyze("verify", "--man=no", str(copy))
    told = [line for line in (done.stdout + done.stderr).splitlines() if name.partition(".")[0] in line]
    assert (told, done.returncode) == ([], 0)


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
    watchdog = float(unit("ingestor.service")["Service"]["WatchdogSec"])
    assert watchdog >= 1.5 * Settings().database.transaction_deadline_seconds


def test_what_a_restart_cannot_cure_is_not_restarted() -> None:
    service = unit("ingestor.service")["Service"]
    codes = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert codes == {Exit.CREDENTIAL, Exit.CONFIGURATION}
    assert (service["Type"], service["Restart"]) == ("notify", "always")


def test_what_a_restart_can_cure_is_restarted_for_ever() -> None:
    """Above all code 75: the other process that writes the account may stay for hours."""
    assert unit("ingestor.service")["Unit"]["StartLimitIntervalSec"] == "0"


def test_the_unit_hands_over_the_credential_under_the_name_that_is_read() -> None:
    assert unit("ingestor.service")["Service"]["LoadCredential"].partition(":")[0] == KEY_CREDENTIAL


def test_the_schema_is_upgraded_before_the_daemon_starts() -> None:
    migrate = unit("ingestor-migrate.service")
    assert "ingestor.service" in migrate["Unit"]["Before"].split()
    assert migrate["Service"]["Type"] == "oneshot"
    assert migrate["Service"]["ExecStart"].endswith("ingestor db upgrade")


def test_the_guide_lists_every_exit_code() -> None:
    table = (DEPLOY / "README.md").read_text().partition("## Exit codes")[2]
    assert {int(code) for code in re.findall(r"\b\d+\b(?=[^|]*\|)", table)} >= set(Exit)
