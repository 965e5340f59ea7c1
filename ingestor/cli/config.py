"""`ingestor config`: what is set, by whom, and whether it would work."""

import click

from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, settings_options
from ingestor.config import database_target, require_database, resolve_key
from ingestor.config.rendering import example, explain, show
from ingestor.domain.errors import BadConfiguration


@click.group()
def config() -> None:
    """Show, explain and validate settings."""


@config.command("show")
@settings_options
@click.pass_obj
def show_command(invocation: Invocation) -> None:
    """Print the settings in force as TOML, each with its origin; passwords are masked."""
    click.echo(show(invocation.load()), nl=False)


@config.command("example")
def example_command() -> None:
    """Print a complete, annotated configuration file with the defaults."""
    click.echo(example(), nl=False)


@config.command("explain")
@click.argument("key")
@settings_options
@click.pass_obj
def explain_command(invocation: Invocation, key: str) -> None:
    """Tell all about the setting KEY, e.g. hub.receive_deadline_seconds."""
    click.echo(explain(invocation.load(), key), nl=False)


@config.command("validate")
@click.option(
    "--no-environment",
    is_flag=True,
    help="Look at the settings only, not at the files, credentials and directories they name.",
)
@settings_options
@click.pass_obj
def validate_command(invocation: Invocation, *, no_environment: bool) -> int:
    """Check the settings, and that the key, the password and the files they name can be used.

    Nothing is connected to. Exits with 78 if something is wrong.
    """
    loaded = invocation.load()
    require_database(loaded.settings)
    click.echo(f"settings: fine ({loaded.file or 'no file'})")
    if no_environment:
        return Exit.OK
    ca_file = loaded.settings.hub.ca_file
    if ca_file is not None and not ca_file.is_file():
        raise BadConfiguration(
            f"hub.ca_file: there is no file {ca_file}\n"
            f"why: set by {loaded.origin('hub.ca_file')}\n"
            "fix: correct the path, or remove the setting to trust the system's authorities"
        )
    click.echo(f"hub: {loaded.settings.hub.address}, key from {resolve_key(loaded.settings).describe()}")
    click.echo(f"database: {database_target(loaded.settings).describe()}")
    return Exit.OK
