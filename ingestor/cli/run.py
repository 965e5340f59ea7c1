"""`ingestor run`: the daemon."""

import os

import click

from ingestor import daemon, logs
from ingestor.app import Ingestor, Notifier, database
from ingestor.cli.invocation import Invocation, settings_options
from ingestor.config import resolve_key


@click.command("run")
@settings_options
@click.pass_obj
def run(invocation: Invocation) -> int:
    """Run the daemon until it is asked to stop."""
    settings = invocation.load().settings
    logs.configure(settings.log.level.value, settings.log.format.value)
    key = resolve_key(settings)
    key.read()  # a missing key is said now, not at the first connect
    notifier = Notifier.from_environment(os.environ, os.getpid())
    with database(settings) as url:
        return daemon.run(Ingestor(settings, url, key.read), notifier, settings.drain.deadline_seconds)
