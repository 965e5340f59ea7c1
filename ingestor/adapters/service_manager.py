"""Reads units of systemd by `systemctl`, and builds the command line that runs a command in a unit's
sandbox."""

import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ingestor.domain.errors import Transient

SYSTEMD = Path("/run/systemd/system")
"""Exists if systemd is the service manager."""

_OF_A_DAEMON = (
    *("Type", "NotifyAccess", "WatchdogSec", "WatchdogSignal", "OOMPolicy", "SyslogIdentifier"),
    *("StandardInput", "StandardOutput", "StandardError", "BusName", "PIDFile", "RemainAfterExit"),
)
"""Settings for a service that keeps running, unsuitable for a command of a few seconds whose output is
read."""
_KINDS_OF_A_DAEMON = ("Exec", "Restart", "Timeout", "StartLimit", "FileDescriptorStore", "RuntimeDirectory")
"""First words of more such settings. After a command, systemd would remove the daemon's runtime directory."""


class NoAnswer(Transient):
    """systemd does not answer."""


def properties(unit: str, names: Iterable[str], seconds: float) -> dict[str, str]:
    """Properties of a unit as systemd has them now.

    Raises:
        NoAnswer: systemctl is missing, fails, or does not answer in time.
    """
    shown = _systemctl("show", "--property", ",".join(names), unit, seconds=seconds)
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def unit_text(unit: str, seconds: float) -> str:
    """The unit's file and its drop-ins, in the order in which they count. Raises as `properties` does."""
    return _systemctl("cat", unit, seconds=seconds)


def instances(template: str, seconds: float) -> list[str]:
    """Names of the instances that systemd has loaded, whatever their state. Raises as `properties` does.

    Args:
        template: e.g. `hercle-ingestor@.service`.
    """
    before, after = template.split("@")
    listed = _systemctl(
        "list-units", "--all", "--plain", "--no-legend", f"{before}@*{after}", seconds=seconds
    ).split("\n")
    units = [line.split()[0] for line in listed if line.strip()]
    return [unit.removeprefix(f"{before}@").removesuffix(after) for unit in units]


def sandboxed(
    text: str, instance: str, arguments: Sequence[str], seconds: int, environment: Mapping[str, str]
) -> list[str]:
    """The command line that runs a command of our program as the unit would: as its user, with its
    credentials and within its limits.

    Args:
        text: of `unit_text`; its `ExecStart=` ends in the command `run`, which `arguments` replace.
        instance: the unit's part between `@` and `.service`.
        seconds: how long the command may take.
        environment: variables besides those of the unit.

    Raises:
        ValueError: the unit has no such `ExecStart=`.
    """
    assignments = list(_service_section(text))
    programs = [value for name, value in assignments if name == "ExecStart" and value]
    words = [_specified(word, instance) for word in shlex.split(programs[-1])] if programs else []
    if words[-1:] != ["run"]:
        raise ValueError("its ExecStart= is not `ingestor run`")
    words[0] = words[0].lstrip("-@:+!")
    kept = [
        f"--property={name}={_specified(value, instance)}"
        for name, value in assignments
        if name not in _OF_A_DAEMON and not name.startswith(_KINDS_OF_A_DAEMON)
    ]
    options = ["--quiet", "--pipe", "--wait", "--collect", f"--property=RuntimeMaxSec={seconds}"]
    options += [f"--setenv={name}={value}" for name, value in environment.items()]
    return ["systemd-run", *options, *kept, "--", *words[:-1], *arguments]


def _service_section(text: str) -> Iterator[tuple[str, str]]:
    """The assignments below `[Service]`, with continued lines joined."""
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == "[Service]" and "=" in stripped and stripped[0] not in "#;":
            name, value = stripped.split("=", 1)
            yield name.strip(), value.strip()


def _specified(value: str, instance: str) -> str:
    """With the instance's name: specifiers of a transient unit would be those of its own name."""
    return "%".join(part.replace("%i", instance).replace("%I", instance) for part in value.split("%%"))


def _systemctl(*arguments: str, seconds: float) -> str:
    try:
        return subprocess.run(  # noqa: S603 - the names are ours, or an instance's
            ["systemctl", "--no-pager", *arguments],  # noqa: S607 - by PATH, as an operator calls it
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except subprocess.CalledProcessError as error:
        text = " ".join(str(error.stderr).split())
        raise NoAnswer(f"systemctl {arguments[0]} ended with {error.returncode}: {text}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(str(error)) from error
