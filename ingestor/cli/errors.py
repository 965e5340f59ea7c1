"""How a failure is reported: what happened, why, what to do; and which exit code it becomes.

The one place where exceptions end. Errors meant for operators hold up to three lines of text themselves
(`what`, `why: …`, `fix: …`); what a line is missing is added here by the error's class.
"""

import errno
import os
import sys
import textwrap
import traceback
from typing import NamedTuple

import click

from ingestor.cli.exits import Exit
from ingestor.cli.invocation import say
from ingestor.domain.errors import (
    BadConfiguration,
    CredentialRefused,
    Fatal,
    IngestorError,
    LinkDown,
    SchemaMismatch,
    Transient,
    WatermarkConflict,
)


class OutputLost(IngestorError):
    """Standard output does not take what the command writes."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"standard output cannot be written\nwhy: {why}\nfix: give it a file or a program that takes it"
        )


class Advice(NamedTuple):
    code: Exit
    why: str
    fix: str


_BUG = Advice(
    Exit.BUG,
    "this was not foreseen: a bug in ingestor",
    "run it again with --debug and report what it prints; secrets are masked in it",
)

# The first class that fits counts, so the special ones stand before the general ones.
_ADVICE: dict[type[BaseException], Advice] = {
    BadConfiguration: Advice(Exit.CONFIGURATION, "a setting does not fit", "look at `ingestor config show`"),
    SchemaMismatch: Advice(
        Exit.CONFIGURATION,
        "the database's schema and this version of ingestor do not fit together",
        "run `ingestor db upgrade`, or install the version that the schema belongs to",
    ),
    CredentialRefused: Advice(
        Exit.CREDENTIAL,
        "the credential was refused",
        "check that the key belongs to the chosen environment and is still valid; renew it if not",
    ),
    LinkDown: Advice(Exit.UNAVAILABLE, "there is no link to the hub", "check network and hub address"),
    WatermarkConflict: Advice(
        Exit.TEMPORARY, "another process writes the same account", "stop one of them, and try again"
    ),
    OutputLost: Advice(Exit.IO, "", ""),
    Transient: Advice(
        Exit.UNAVAILABLE, "the hub or the database is unwell or out of reach", "try again in a while"
    ),
    MemoryError: Advice(Exit.OS, "no memory was left", "raise the limit (MemoryMax= in the unit)"),
    FileExistsError: Advice(Exit.CANNOT_CREATE, "something is in the way", "move it, or choose another path"),
}
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_UNCREATABLE = {errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def present(error: BaseException, *, debug: bool, as_json: bool = False, as_record: bool = False) -> Exit:
    """Tell the failure on standard error.

    Args:
        debug: with its traceback.
        as_json: and to standard output as the document that was promised there.
        as_record: as one log record instead, at a priority that the journal shows.

    Returns:
        The exit code for it.
    """
    # Only failures need these, and they cost a good part of the start.
    import structlog  # noqa: PLC0415

    from ingestor import logs  # noqa: PLC0415

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _say(error.format_message())
        return Exit.USAGE
    code, lines = _told(error)
    if as_record:
        trace = error if debug or code is Exit.BUG else None
        what, *advice = lines
        log = structlog.get_logger()
        log.critical("daemon_failed", error=what, advice=advice, exit_code=int(code), exc_info=trace)
        return code
    what, *advice = [logs.printable(logs.redact(line)) for line in lines]
    journal = logs.is_journal(sys.stderr)  # which makes a record of each line
    text = ("; " if journal else "\n  ").join([f"error: {what}", *advice])
    if debug:
        trace_text = "".join(traceback.format_exception(error))
        text = logs.printable(logs.redact(trace_text), keep_newlines=True) + text
    _say(textwrap.indent(text, "<3>") if journal else text)
    if as_json:
        say({"error": what, "advice": advice, "exit_code": code})
    return code


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        # Full, or its reader gone: the exit code has to tell, and Python's own flush at exit would change it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _told(error: BaseException) -> tuple[Exit, list[str]]:
    """The exit code, and the lines: what has happened, `why: …` where that is known, `fix: …`."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "ingestor"
        why = " ".join(error.ctx.get_usage().split()) if error.ctx else "the command line cannot be read"
        return Exit.USAGE, [error.format_message(), f"why: {why}", f"fix: see `{command} --help`"]
    if isinstance(error, click.ClickException):
        return Exit.PROBLEMS, [error.format_message(), "fix: see `ingestor --help`"]
    advice = _advice(error)
    what, *rest = [line.strip() for line in str(error).strip().splitlines()] or [""]
    if advice is _BUG:
        # A foreign exception's text is no sentence without its class.
        what = f"{type(error).__name__}: {what}" if what else ""
    if not rest or not isinstance(error, IngestorError):
        rest = [f"why: {advice.why}", f"fix: {advice.fix}"]
    return advice.code, [what or type(error).__name__, *rest]


def _advice(error: BaseException) -> Advice:
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return advice
    if isinstance(error, Fatal):
        return Advice(Exit(error.exit_code), "going on would do harm", "look at the log for what came before")
    if not isinstance(error, OSError):
        return _BUG
    if error.errno in _LIMITS:
        return Advice(
            Exit.OS, "a limit of the operating system", "look at LimitNOFILE=, TasksMax=, MemoryMax="
        )
    if error.errno in _UNCREATABLE:
        return Advice(Exit.CANNOT_CREATE, "nothing can be made in that place", "choose another path")
    return Advice(Exit.IO, "the operating system refused", "check path, permissions and free space")
