"""The state of the account's systemd unit, and the command that runs a check in its sandbox."""

import json
import os
from collections.abc import Mapping, Sequence

from ingestor.adapters import service_manager
from ingestor.app.check.findings import NothingToTry, Problem
from ingestor.domain.errors import BadConfiguration

TEMPLATE = "hercle-ingestor@.service"
_PROPERTIES = ("LoadState", "ActiveState", "StatusText", "NRestarts", "ExecMainStatus", "WatchdogUSec")
_GIVEN = "_INGESTOR_CHECKED_UNIT"
"""The unit's state, passed by root into the sandbox: a process there cannot ask systemd, because dbus-daemon
refuses dynamic users, whose names it cannot look up."""
_ASK_SECONDS = 5.0


def unit(account: str, seconds: float, environ: Mapping[str, str] = os.environ) -> str:
    """A description of the unit's state. Raises Problem, NothingToTry."""
    name = TEMPLATE.replace("@", f"@{account}")
    known = json.loads(environ[_GIVEN]) if _GIVEN in environ else _properties(name, seconds)
    if known.get("LoadState") != "loaded":
        raise NothingToTry(f"there is no {name}")
    state, text = known["ActiveState"], known["StatusText"]
    said = f"{name} is {state}" + (f": {text}" if text else "")
    if state == "failed":
        raise Problem(
            f"{said} (exit code {known['ExecMainStatus']})",
            f"repair what `journalctl -u {name} -p err` shows, then `systemctl restart {name}`",
            1,
        )
    if state != "active":
        raise Problem(said, f"`systemctl enable --now {name}`; if it is activating, see what it waits for", 0)
    if known["WatchdogUSec"] in {"0", "infinity"}:
        raise Problem(
            f"{said}; no watchdog", "set WatchdogSec=30, so that a process that hangs is restarted", 0
        )
    return f"{said}; watchdog after {known['WatchdogUSec']}, restarted {known['NRestarts']} times"


def _properties(name: str, seconds: float) -> dict[str, str]:
    if not service_manager.SYSTEMD.is_dir():
        raise NothingToTry("systemd is not the service manager here")
    try:
        return service_manager.properties(name, _PROPERTIES, seconds)
    except service_manager.NoAnswer as error:
        raise NothingToTry(f"systemd does not answer: {error}") from None


def sandbox(instance: str, arguments: Sequence[str], seconds: int) -> list[str]:
    """The command line that runs `ingestor` with these arguments as the instance's unit would.

    Raises:
        BadConfiguration: there is no such unit, or it runs something else.
    """
    name = TEMPLATE.replace("@", f"@{instance}")
    try:
        text = service_manager.unit_text(name, _ASK_SECONDS)
        known = service_manager.properties(name, _PROPERTIES, _ASK_SECONDS)
        return service_manager.sandboxed(text, instance, arguments, seconds, {_GIVEN: json.dumps(known)})
    except (service_manager.NoAnswer, ValueError) as error:
        raise BadConfiguration(
            f"the unit {name} cannot be used\nwhy: {error}\n"
            "fix: install the package or its unit files, or leave --instance out as the daemon's user"
        ) from None


def instances() -> list[str]:
    """Accounts that have a unit on this machine."""
    if not service_manager.SYSTEMD.is_dir():
        return []
    try:
        return service_manager.instances(TEMPLATE, _ASK_SECONDS)
    except service_manager.NoAnswer:
        return []
