"""`ingestor config`: the settings, where each was set, and whether they are valid."""

import click

from ingestor.cli.invocation import Invocation, json_option, settings_options
from ingestor.config import database_target, require_database, resolve_key
from ingestor.config.rendering import example, explain, setting, settings_in_force, show
from ingestor.domain.errors import BadConfiguration


@click.group()
def config() -> None:
    """Show, explain and validate settings."""


@config.command("show")
@json_option()
@settings_options
@click.pass_obj
def show_command(invocation: Invocation, *, as_json: bool) -> None:
    """Print the present settings as TOML, each with its origin; passwords are masked."""
    loaded = invocation.load()
    if as_json:
        from ingestor.cli.documents import say  # noqa: PLC0415 - it needs more than settings do

        say(settings_in_force(loaded))
    else:
        click.echo(show(loaded), nl=False)


@config.command("example")
def example_command() -> None:
    """Print a complete, annotated configuration file with the defaults."""
    click.echo(example(), nl=False)


@config.command("explain")
@click.argument("key")
@json_option()
@settings_options
@click.pass_obj
def explain_command(invocation: Invocation, key: str, *, as_json: bool) -> None:
    """Print value, origin, default and meaning of the setting KEY, e.g. hub.receive_deadline_seconds."""
    loaded = invocation.load()
    if as_json:
        from ingestor.cli.documents import say  # noqa: PLC0415 - it needs more than settings do

        say(setting(loaded, key))
    else:
        click.echo(explain(loaded, key), nl=False)


@config.command("validate")
@click.option(
    "--no-environment",
    is_flag=True,
    help="Check the settings only, not the files and credentials that they name.",
)
@json_option()
@settings_options
@click.pass_obj
def validate_command(invocation: Invocation, *, no_environment: bool, as_json: bool) -> None:
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
        key, database = resolve_key(settings).describe(), database_target(settings).describe()
    if as_json:
        from ingestor.cli.documents import ValidSettingsDocument, say  # noqa: PLC0415 - it needs more than settings do

        file = None if loaded.file is None else str(loaded.file)
        say(ValidSettingsDocument(file, settings.hub.address, key, database))
        return
    click.echo(f"settings: valid ({loaded.file or 'no file'})")
    if not no_environment:
        click.echo(f"hub: {settings.hub.address}, key from {key}")
        click.echo(f"database: {database}")
