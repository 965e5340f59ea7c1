"""The program `ingestor`: its table of commands, and the one place where failures become exit codes.

Commands are imported when they are called: `ingestor --version` and `--help` load nothing but click.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
from typing_extensions import override

import ingestor
from ingestor.cli.errors import present
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, settings_options


@dataclass(frozen=True, slots=True)
class Entry:
    """One command, known without importing it."""

    module: str
    attribute: str
    summary: str
    """The line in `ingestor --help`."""


_COMPLETION = "_INGESTOR_COMPLETE"
"""Set by the shell, to `bash_source` or the like, when it asks what could follow."""

COMMANDS = {
    "run": Entry("ingestor.cli.run", "run", "Run the daemon until it is asked to stop."),
    "demo": Entry(
        "ingestor.cli.demo",
        "demo_command",
        "Watch it work: private Postgres, simulated hub that misbehaves, the real daemon between them.",
    ),
    "hub": Entry("ingestor.cli.hub", "hub", "Serve a simulated hub on loopback until interrupted."),
    "check": Entry(
        "ingestor.cli.check",
        "check_command",
        "Try configuration, key, hub, database and schema once; each failing line says how to mend it.",
    ),
    "status": Entry(
        "ingestor.cli.status", "status_command", "Tell how the account stands, with the daemon up or down."
    ),
    "db": Entry("ingestor.cli.db", "db", "Upgrade the database's schema, or tell where it stands."),
    "config": Entry("ingestor.cli.config", "config", "Show, explain and validate settings."),
}


class LazyGroup(click.Group):
    """A group whose commands are a table of where to import them from."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - a slip in the table above
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ingestor.__version__, prog_name="ingestor", message="%(prog)s %(version)s")
@settings_options
def program() -> None:
    """Keeps a Hercle account's balances and pairs in Postgres, and says in SQL how complete they are."""


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
        with program.make_context("ingestor", list(arguments), obj=invocation) as context:
            result = program.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for one, has gone. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the top: whatever comes up here is told and becomes a code
        return present(error, debug=invocation.debug, as_json=invocation.as_json)
    return result if isinstance(result, int) else Exit.OK
