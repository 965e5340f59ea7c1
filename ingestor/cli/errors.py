"""How a failure is told: what happened, why, what to do; and which exit code it becomes.

The one place where exceptions end. Errors meant for operators hold up to three lines of text themselves
(`what`, `why: …`, `fix: …`); what a line is missing is added here by the error's class.
"""

import errno
import json
import traceback
from dataclasses import dataclass

import click

from ingestor.cli.exits import Exit
from ingestor.domain.errors import (
    BadConfiguration,
    CredentialRefused,
    DataRefused,
    Fatal,
    IngestorError,
    LinkDown,
    SchemaMismatch,
    StateMoved,
    Transient,
)


@dataclass(frozen=True, slots=True)
class Advice:
    code: Exit
    why: str
    fix: str


_BUG = Advice(
    Exit.BUG,
    "this was not foreseen: a bug in ingestor",
    "run it again with --debug and report what it prints; secrets are masked in it",
)

# The first class that fits counts, so the special ones stand before the general ones.
_ADVICE: tuple[tuple[type[BaseException], Advice], ...] = (
    (
        BadConfiguration,
        Advice(Exit.CONFIGURATION, "a setting does not fit", "look at `ingestor config show`"),
    ),
    (
        SchemaMismatch,
        Advice(
            Exit.CONFIGURATION,
            "the database's schema and this version of ingestor do not fit together",
            "run `ingestor db upgrade`, or install the version that the schema belongs to",
        ),
    ),
    (
        CredentialRefused,
        Advice(
            Exit.CREDENTIAL,
            "the credential was refused",
            "check that the key belongs to the chosen environment and is still valid; renew it if not",
        ),
    ),
    (LinkDown, Advice(Exit.UNAVAILABLE, "there is no link to the hub", "check network and hub address")),
    (
        StateMoved,
        Advice(Exit.TEMPORARY, "another process writes the same account", "stop one of them, and try again"),
    ),
    (DataRefused, _BUG),
    (
        Transient,
        Advice(Exit.UNAVAILABLE, "the hub or the database is unwell or out of reach", "try again in a while"),
    ),
    (MemoryError, Advice(Exit.OS, "no memory was left", "raise the limit (MemoryMax= in the unit)")),
    (
        FileExistsError,
        Advice(Exit.CANNOT_CREATE, "something is in the way", "move it, or choose another path"),
    ),
)
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_UNCREATABLE = {errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def present(error: BaseException, *, debug: bool, as_json: bool = False) -> Exit:
    """Print a failure to standard error, without secrets and control characters.

    Args:
        debug: with its traceback.
        as_json: and to standard output as the document that was promised there.

    Returns:
        The exit code for it.
    """
    from ingestor import logs  # noqa: PLC0415 - only failures need it, and it costs a good part of the start

    code, text = _told(error)
    if debug:
        trace = "".join(traceback.format_exception(error))
        click.echo(logs.printable(logs.redact(trace), keep_newlines=True), err=True)
    text = logs.printable(logs.redact(text), keep_newlines=True)
    click.echo(text, err=True)
    if as_json:
        what, *advice = text.splitlines()
        document = {
            "error": what.removeprefix("error: "),
            "advice": [line.strip() for line in advice],
            "exit_code": code,
        }
        click.echo(json.dumps(document, indent=2))
    return code


def _told(error: BaseException) -> tuple[Exit, str]:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Exit.USAGE, error.format_message()
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "ingestor"
        why = error.ctx.get_usage().replace("\n", " ") if error.ctx else "the command line cannot be read"
        return Exit.USAGE, _lines(error.format_message(), why, f"see `{command} --help`")
    if isinstance(error, click.ClickException):
        return Exit.PROBLEMS, _lines(error.format_message(), "", "see `ingestor --help`")
    advice = _advice(error)
    what, _, rest = str(error).strip().partition("\n")
    if advice is _BUG:
        # A foreign exception's text is no sentence without its class.
        what = f"{type(error).__name__}: {what}" if what else type(error).__name__
    if rest and isinstance(error, IngestorError):
        return advice.code, "\n".join([f"error: {what}", *_indented(rest)])
    return advice.code, _lines(what or type(error).__name__, advice.why, advice.fix)


def _advice(error: BaseException) -> Advice:
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    if isinstance(error, Fatal):
        return Advice(Exit(error.exit_code), "going on would do harm", "look at the log for what came before")
    if isinstance(error, OSError):
        if error.errno in _LIMITS:
            return Advice(
                Exit.OS, "a limit of the operating system", "look at LimitNOFILE=, TasksMax=, MemoryMax="
            )
        if error.errno in _UNCREATABLE:
            return Advice(Exit.CANNOT_CREATE, "nothing can be made in that place", "choose another path")
        return Advice(Exit.IO, "the operating system refused", "check path, permissions and free space")
    return _BUG


def _indented(text: str) -> list[str]:
    return [line if line.startswith("  ") else f"  {line}" for line in text.splitlines()]


def _lines(what: str, why: str, fix: str) -> str:
    return "\n".join(filter(None, [f"error: {what}", f"  why: {why}" if why else "", f"  fix: {fix}"]))
