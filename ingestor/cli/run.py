"""`ingestor run`: the daemon."""

import os
import threading

import click

from ingestor import daemon, logs
from ingestor.app.database import database
from ingestor.app.reloading import Reloading
from ingestor.app.wiring import Ingestor, Notifier
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, settings_options
from ingestor.cli.signals import stop_on_signals
from ingestor.config import database_target
from ingestor.config.rendering import fingerprint


@click.command("run")
@settings_options
@click.pass_obj
def run(invocation: Invocation) -> int:
    """Run the daemon until it is asked to stop."""
    stop, reload = invocation.stop, threading.Event()
    invocation.as_record = not logs.configure()  # until the settings say how
    with stop_on_signals(stop, reload=reload):
        loaded = invocation.load()
        settings = loaded.settings
        invocation.as_record = not logs.configure(settings.log.level.value, settings.log.format.value)
        # A missing key is said now, not at the first connect.
        reloading = Reloading(settings, invocation.load)
        notifier = Notifier.from_environment(os.environ, os.getpid())
        with database(settings) as address:
            if stop.is_set():
                return Exit.OK
            origin = {
                "database": database_target(settings).describe(),
                "configuration": None if loaded.file is None else str(loaded.file),
                "settings_hash": fingerprint(settings),
            }
            ingestor = Ingestor(settings, address, reloading.key, origin)

            def reload_if_asked() -> None:
                if reload.is_set():
                    reload.clear()
                    reloading.reload(ingestor)

            with stop_on_signals(stop, ingestor.abandon, reload):
                drain = settings.drain.deadline_seconds
                return daemon.run(ingestor, notifier, drain, stop, reload_if_asked)
