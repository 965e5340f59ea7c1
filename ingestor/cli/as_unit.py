"""Runs a command of root in the sandbox of an account's unit: with its user, credentials and limits."""

import os
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

import click

from ingestor.app.check.unit import instances, sandbox
from ingestor.cli.invocation import Invocation
from ingestor.domain.errors import BadConfiguration

_SERVICE_MANAGERS_CODES = 200
"""Exit codes from here on are systemd's: it could not run the program."""
_UNRUN = {
    203: ("the program of ExecStart= cannot be run", "check the path of the virtual environment"),
    243: ("a file of LoadCredential= cannot be read", "write the key into /etc/ingestor/{}.key"),
}
_START_SECONDS = 10
"""Time for systemd and Python to start, in addition to the command's own."""


def only_instance(invocation: Invocation) -> str | None:
    """The machine's only unit, if root gives no settings; None if there is no unit."""
    in_environment = any(name.startswith("INGESTOR_") for name in os.environ)
    named = invocation.config_file or invocation.overrides or in_environment
    found = [] if named or os.geteuid() != 0 else instances()
    if len(found) > 1:
        raise click.UsageError(
            f"this machine has the accounts {', '.join(found)}: choose one with --instance"
        )
    return found[0] if found else None


def as_the_unit(
    instance: str,
    arguments: Sequence[str],
    seconds: float,
    *,
    properties: Sequence[str] = (),
    stdout: BinaryIO | None = None,
) -> int:
    """Run a command of this program in the unit's sandbox; it prints to our output, or to `stdout`.

    Returns:
        Its exit code.

    Args:
        seconds: how long the command may take, without its start.
        properties: of systemd, beyond those of the unit.

    Raises:
        UsageError: we are not root.
        BadConfiguration: there is no such unit, or systemd cannot run the command as it.
    """
    if os.geteuid() != 0:
        raise click.UsageError("--instance needs root: systemd starts the command as the unit's user")
    program, *rest = sandbox(instance, arguments, round(seconds) + _START_SECONDS)
    command = [program, *(f"--property={each}" for each in properties), *rest]
    code = subprocess.run(command, stdout=stdout, check=False).returncode  # noqa: S603 - the unit's own words
    if code >= _SERVICE_MANAGERS_CODES:
        why, fix = _UNRUN.get(
            code, (f"systemd ended with {code}", "see `man systemd.exec`, Process Exit Codes")
        )
        raise BadConfiguration(
            f"systemd cannot run the command as hercle-ingestor@{instance}\nwhy: {why}\n"
            f"fix: {fix.format(instance)}"
        )
    return code
