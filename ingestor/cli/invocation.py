"""The options that every command accepts, before or after its name: `--config`, `--set`, `--debug`."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingestor.cli.signals import SignalEvent

if TYPE_CHECKING:
    from ingestor.config import Loaded


@dataclass(slots=True)
class Invocation:
    """One call of the program; commands get it by `@with_invocation`."""

    config_file: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    debug: bool = False
    as_json: bool = False
    """Print one JSON document on standard output, also if the command fails."""
    as_record: bool = False
    """Report a failure as a log line, because no terminal is there."""
    stop: SignalEvent = field(default_factory=SignalEvent)
    """Set by the signals that end the command."""

    def load(self) -> "Loaded":
        """The settings.

        Raises:
            BadConfiguration: with every mistake that was found.
        """
        from ingestor.config import load  # noqa: PLC0415 - only where settings are needed

        return load(self.config_file, self.overrides)

    def load_quietly(self) -> "Loaded":
        """The settings, for a command other than the daemon: it logs errors only (everything at `debug`), on
        standard error, because its result is on standard output. Raises as `load` does."""
        from ingestor import logs  # noqa: PLC0415 - structlog, the same

        logs.configure("error")
        loaded = self.load()
        log = loaded.settings.log
        if log.level.value == "debug":
            logs.configure(log.level.value, log.format.value)
        return loaded

    def answer(self, document: object, lines: Iterable[str], *, err: bool = False) -> None:
        """Print what a command has found: with `--json` the document, else the lines for people; with `err`
        to standard error."""
        if self.as_json:
            say(document, err=err)
            return
        for line in lines:
            click.echo(line, err=err)


def say(document: object, *, err: bool = False) -> None:
    """Print one JSON document; with `err` to standard error."""
    import msgspec  # noqa: PLC0415 - `ingestor --help` does without

    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2), err=err)


def ask(question: str, plan: Callable[[], Iterable[str]]) -> None:
    """On a terminal, show what is going to be done and ask, both on standard error.

    Args:
        plan: the lines that show it; it is called on a terminal only.

    Raises:
        click.Abort: the answer is no.
    """
    if sys.stdin.isatty():
        for line in plan():
            click.echo(line, err=True)
        click.confirm(question, abort=True, err=True)


_Command = TypeVar("_Command", bound=Callable[..., Any])


def with_invocation(command: Callable[..., Any]) -> Callable[..., Any]:
    """Passes the invocation first, and adds the options that every command accepts."""
    return settings_options(click.pass_obj(command))


def settings_options(command: _Command) -> _Command:
    """Adds the options that may be given before or after the command's name."""
    command = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_keep, help="Show the traceback of a failure."
    )(command)
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        expose_value=False,
        callback=_keep_overrides,
        help="Set one setting, e.g. log.level=debug. Has precedence over environment and file.",
    )(command)
    return click.option(
        "--config",
        "-c",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="TOML file to read instead of the default ones.",
    )(command)


def json_option(text: str = "One JSON document on standard output.") -> Callable[[_Command], _Command]:
    """Adds `--json`, as `Invocation.as_json`."""
    return click.option("--json", "as_json", is_flag=True, expose_value=False, callback=_keep, help=text)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The option may be before or after the command's name; either sets it."""
    if value:
        setattr(context.ensure_object(Invocation), str(parameter.name), value)
    return value


def _keep_overrides(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    for assignment in values:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise click.BadParameter("write it as KEY=VALUE", ctx=context, param=parameter)
        if key in {"database.url", "database.dsn"} and _has_password(value):
            message = f"{key} contains a password, and all users of this machine can read command lines"
            raise click.BadParameter(
                f"{message}; use database.password_file or the environment", ctx=context, param=parameter
            )
        context.ensure_object(Invocation).overrides[key] = value


def _has_password(url: str) -> bool:
    login, at, _ = url.partition("://")[2].rpartition("@")
    return ("password=" in url.lower()) or (bool(at) and ":" in login)
