"""The program `ingestor`: its table of commands, and the one place where failures become exit codes.

A command's module is imported when it is called: `ingestor --version` and `--help` import only click.
"""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click
from typing_extensions import override

import ingestor
from ingestor.cli.errors import OutputLost, present
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, settings_options
from ingestor.cli.signals import interrupt_remembered

_COMPLETION = "_INGESTOR_COMPLETE"
"""Set by the shell, to `bash_source` or the like, when it asks for completions."""

COMMANDS = {
    "run": "Run the daemon until it is asked to stop.",
    "demo": "Run a demonstration: private Postgres, simulated hub with faults, and the real daemon.",
    "hub": "Serve a simulated hub on loopback until interrupted.",
    "check": "Try the whole path once, from settings to tables; each failed step says how to repair it.",
    "status": "Show whether the account is current, whether a daemon runs or not.",
    "top": "Show the running daemon live: link, rates, latency, streams, gaps, inbox and requests.",
    "tail": "Show events as the running daemon commits them.",
    "snapshot": "Make the running daemon request balances and pairs now.",
    "reconnect": "Make the running daemon close its connection to the hub and connect again now.",
    "pause": "Make the account's daemon close its link to the hub until `ingestor resume`.",
    "resume": "Make the account's daemon connect to the hub again, at once.",
    "gaps": "List the intervals in which something may have been missed, and their causes.",
    "dead-letters": "List events that could not be applied, with their records.",
    "statement": "Write a month of the account as one HTML file.",
    "export": "Write views of schema report into files, with a manifest of counts and hashes.",
    "db": "Manage the database: schema, roles, size, retention.",
    "support-bundle": "Write an archive for support: versions, settings, status, counts, log; no data.",
    "install": "Install units, settings, man page and completion, without the Debian package.",
    "uninstall": "Stop all accounts and remove what `ingestor install` has installed.",
    "config": "Show, explain and validate settings.",
}
"""Name, and line in `ingestor --help`, which needs no import."""
_MODULES = {"snapshot": "control", "reconnect": "control", "resume": "pause", "uninstall": "install"}
"""Modules of the commands that are not in the module of their name."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        _load_structlog()
        name = _MODULES.get(cmd_name, cmd_name.replace("-", "_"))
        module = importlib.import_module(f"ingestor.cli.{name}")
        commands = (each for each in vars(module).values() if isinstance(each, click.Command))
        return next(each for each in commands if each.name == cmd_name)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _load_structlog() -> None:
    """Without rich, which structlog imports if it is installed, and which takes megabytes for tracebacks of a
    format that we do not use."""
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment] # Python's way to say that there is none
        try:
            importlib.import_module("structlog")
        finally:
            del sys.modules["rich"]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ingestor.__version__, prog_name="ingestor", message="%(prog)s %(version)s")
@settings_options
def program() -> None:
    """Stores a Hercle account's balances and pairs in Postgres, and records where they may be incomplete."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; raises nothing but a command's own SystemExit.

    Returns:
        One of `ingestor.cli.exits.Exit`; a command may return its code, None means success.
    """
    if _COMPLETION in os.environ:
        program.main(list(arguments), prog_name="ingestor", complete_var=_COMPLETION)
    invocation = Invocation()
    try:
        # Not `program.main`: it takes any broken pipe, a socket's too, for the end of standard output, and
        # exits with 1, which here means that a check found problems.
        with (
            interrupt_remembered(invocation.stop),
            program.make_context("ingestor", list(arguments), obj=invocation) as context,
        ):
            result = program.invoke(context)
            click.echo(nl=False)  # flushes what others have printed
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the top: every error is reported here and becomes a code
        if isinstance(error, OSError) and _was_printing(error):
            # Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                return Exit.BROKEN_PIPE  # the reader, `head` for one, has gone
            error = OutputLost(str(error.strerror))
        return present(
            error, debug=invocation.debug, as_json=invocation.as_json, as_record=invocation.as_record
        )
    return result if isinstance(result, int) else Exit.OK


def _was_printing(error: OSError) -> bool:
    """Whether the error is of standard output, and not of a socket or a file."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
