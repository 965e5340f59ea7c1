"""`ingestor config`: the settings, where each was set, and whether they are valid."""

from dataclasses import dataclass

import click

from ingestor.cli.invocation import Invocation, json_option, with_invocation
from ingestor.config import database_target, require_database, resolve_key
from ingestor.config.rendering import example, explain, setting, settings_in_force, show
from ingestor.domain.errors import BadConfiguration


@click.group()
def config() -> None:
    """Show, explain and validate settings."""


@config.command("show")
@json_option()
@with_invocation
def show_command(invocation: Invocation) -> None:
    """Print the present settings as TOML, each with its origin; passwords are masked."""
    loaded = invocation.load()
    invocation.answer(settings_in_force(loaded), [show(loaded).removesuffix("\n")])


@config.command("example")
def example_command() -> None:
    """Print a complete, annotated configuration file with the defaults."""
    click.echo(example(), nl=False)


@config.command("explain")
@click.argument("key")
@json_option()
@with_invocation
def explain_command(invocation: Invocation, key: str) -> None:
    """Print value, origin, default and meaning of the setting KEY, e.g. hub.receive_deadline_seconds."""
    loaded = invocation.load()
    invocation.answer(setting(loaded, key), [explain(loaded, key).removesuffix("\n")])


@dataclass(frozen=True, slots=True)
class ValidSettingsDocument:
    """`ingestor config validate --json`; wrong settings are a failure."""

    file: str | None
    """The configuration file; null if there is none."""
    hub: str
    """Its address."""
    key_source: str | None
    """The source of the key; null with `--no-environment`, like the database."""
    database: str | None
    """Without its password."""


@config.command("validate")
@click.option(
    "--no-environment",
    is_flag=True,
    help="Check the settings only, not the files and credentials that they name.",
)
@json_option()
@with_invocation
def validate_command(invocation: Invocation, *, no_environment: bool) -> None:
    """Check the settings, and that the key, the password and the files they name can be used.

    It connects to nothing. Exits with 78 if something is wrong.
    """
    loaded = invocation.load()
    settings = loaded.settings
    require_database(settings)
    key = database = None
    if not no_environment:
        if settings.hub.ca_file is not None and not settings.hub.ca_file.is_file():
            raise BadConfiguration(
                f"hub.ca_file: the file {settings.hub.ca_file} does not exist\n"
                f"why: set by {loaded.origin('hub.ca_file')}\n"
                "fix: correct the path, or remove the setting to trust the system's authorities"
            )
        key, database = resolve_key(settings).where, database_target(settings).describe()
    file = None if loaded.file is None else str(loaded.file)
    lines = [f"settings: valid ({loaded.file or 'no file'})"]
    if not no_environment:
        lines += [f"hub: {settings.hub.address}, key from {key}", f"database: {database}"]
    invocation.answer(ValidSettingsDocument(file, settings.hub.address, key, database), lines)
