"""How a failure is reported: what happened, why, what to do; and its exit code.

All exceptions end here. Errors meant for operators contain up to three lines of text (`what`, `why: …`,
`fix: …`); missing lines are added here by the error's class.
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
    """Standard output cannot be written."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"standard output cannot be written\nwhy: {why}\n"
            "fix: redirect it to a file or a program that reads it"
        )


class Advice(NamedTuple):
    code: Exit
    why: str
    fix: str


_BUG = Advice(
    Exit.BUG,
    "an unexpected error: a bug in ingestor",
    "run it again with --debug and report what it prints; secrets are masked in it",
)

_LIMIT = Advice(
    Exit.OS, "a limit of the operating system is reached", "raise LimitNOFILE=, TasksMax= or MemoryMax="
)
_NO_THREAD = "can't start new thread"
"""Python's error has no class or number of its own."""

# The first matching class is used, so subclasses come before their bases.
_ADVICE: dict[type[BaseException], Advice] = {
    BadConfiguration: Advice(
        Exit.CONFIGURATION, "a setting is not valid", "check it with `ingestor config show`"
    ),
    SchemaMismatch: Advice(
        Exit.CONFIGURATION,
        "the database's schema is not that of this version of ingestor",
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
        Exit.UNAVAILABLE, "the hub or the database does not work or cannot be reached", "try again later"
    ),
    MemoryError: Advice(Exit.OS, "there is no memory left", "raise the limit (MemoryMax= in the unit)"),
    FileExistsError: Advice(
        Exit.CANNOT_CREATE, "the path exists already", "move what is there, or choose another path"
    ),
}
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_UNCREATABLE = {errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def present(error: BaseException, *, debug: bool, as_json: bool = False, as_record: bool = False) -> Exit:
    """Print the failure on standard error.

    Args:
        debug: with its traceback.
        as_json: also as a JSON document on standard output.
        as_record: instead as one log line, with a priority for the journal.

    Returns:
        The exit code for it.
    """
    # Imported here because only failures need them, and importing them takes time.
    import structlog  # noqa: PLC0415

    from ingestor import logs  # noqa: PLC0415

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _print_error(error.format_message())
        return Exit.USAGE
    code, lines = _code_and_lines(error)
    if as_record:
        trace = error if debug or code is Exit.BUG else None
        what, *advice = lines
        log = structlog.get_logger()
        log.critical("daemon_failed", error=what, advice=advice, exit_code=int(code), exc_info=trace)
        return code
    what, *advice = [logs.printable(logs.redact(line)) for line in lines]
    journal = logs.is_journal(sys.stderr)  # where each line would be an entry of its own
    text = ("; " if journal else "\n  ").join([f"error: {what}", *advice])
    if debug:
        trace_text = "".join(traceback.format_exception(error))
        text = logs.printable(logs.redact(trace_text), keep_newlines=True) + text
    _print_error(textwrap.indent(text, "<3>") if journal else text)
    if as_json:
        say({"error": what, "advice": advice, "exit_code": code})
    return code


def _print_error(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        # The disk is full, or nobody reads: only the exit code is left, and Python's flush at exit would
        # change it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _code_and_lines(error: BaseException) -> tuple[Exit, list[str]]:
    """The exit code, and the lines: what has happened, `why: …` if known, `fix: …`."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "ingestor"
        why = " ".join(error.ctx.get_usage().split()) if error.ctx else "the command line cannot be read"
        return Exit.USAGE, [error.format_message(), f"why: {why}", f"fix: see `{command} --help`"]
    if isinstance(error, click.ClickException):
        return Exit.PROBLEMS, [error.format_message(), "fix: see `ingestor --help`"]
    advice = _advice(error)
    what, *rest = [line.strip() for line in str(error).strip().splitlines()] or [""]
    if advice is _BUG:
        # The text of other exceptions is often meaningless without their class.
        what = f"{type(error).__name__}: {what}" if what else ""
    if not rest or not isinstance(error, IngestorError):
        rest = [f"why: {advice.why}", f"fix: {advice.fix}"]
    return advice.code, [what or type(error).__name__, *rest]


def _advice(error: BaseException) -> Advice:
    for kind, advice in _ADVICE.items():
        if isinstance(error, kind):
            return advice
    if isinstance(error, Fatal):
        return Advice(
            Exit(error.exit_code), "continuing would write wrong data", "read the log lines before this one"
        )
    number = error.errno if isinstance(error, OSError) else None
    if number in _LIMITS or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD):
        return _LIMIT
    if not isinstance(error, OSError):
        return _BUG
    if error.errno in _UNCREATABLE:
        return Advice(Exit.CANNOT_CREATE, "nothing can be created at that path", "choose another path")
    return Advice(Exit.IO, "the operating system refused", "check path, permissions and free space")
