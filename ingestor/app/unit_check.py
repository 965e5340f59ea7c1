"""The account's systemd unit: how it is, and how a check is run in its sandbox."""

import subprocess
from collections.abc import Sequence

from ingestor.adapters import service_manager
from ingestor.app.findings import NothingToTry, Problem
from ingestor.domain.errors import BadConfiguration

TEMPLATE = "hercle-ingestor@.service"
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "StatusText",
    "NRestarts",
    "ExecMainStatus",
    "WatchdogUSec",
)
_ASK_SECONDS = 5.0


def unit(account: str, seconds: float) -> str:
    """How the account's unit is. Raises Problem, NothingToTry."""
    if not service_manager.SYSTEMD.is_dir():
        raise NothingToTry("systemd is not the service manager here")
    name = TEMPLATE.replace("@", f"@{account}")
    try:
        known = service_manager.properties(name, _PROPERTIES, seconds)
    except (OSError, subprocess.SubprocessError) as error:
        raise NothingToTry(f"systemd does not answer: {error}") from None
    if known.get("LoadState") != "loaded":
        raise NothingToTry(f"there is no {name}")
    state, text = known["ActiveState"], known["StatusText"]
    said = f"{name} is {state}" + (f": {text}" if text else "")
    if state == "failed":
        raise Problem(
            f"{said} (exit code {known['ExecMainStatus']})",
            f"`journalctl -u {name} -p err`, mend what it says, then `systemctl restart {name}`",
            1,
        )
    if state != "active":
        raise Problem(said, f"`systemctl enable --now {name}`, or see what it waits for", 0)
    if known["WatchdogUSec"] in {"0", "infinity"}:
        raise Problem(
            f"{said}; no watchdog", "set WatchdogSec=30, or a process that hangs is not restarted", 0
        )
    return f"{said}; watchdog after {known['WatchdogUSec']}, restarted {known['NRestarts']} times"


def sandbox(instance: str, arguments: Sequence[str], seconds: int) -> list[str]:
    """The command line that runs `ingestor` with these arguments as the instance's unit would.

    Raises:
        BadConfiguration: there is no such unit, or it runs something else.
    """
    name = TEMPLATE.replace("@", f"@{instance}")
    try:
        text = service_manager.unit_text(name, _ASK_SECONDS)
        return service_manager.sandboxed(text, instance, arguments, seconds)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or error
        raise BadConfiguration(
            f"the unit {name} cannot be used\nwhy: {' '.join(str(said).split())}\n"
            "fix: install the package or its unit files, or leave --instance out as the daemon's user"
        ) from None


def instances() -> list[str]:
    """Accounts that have a unit on this machine."""
    if not service_manager.SYSTEMD.is_dir():
        return []
    try:
        return service_manager.instances(TEMPLATE, _ASK_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
