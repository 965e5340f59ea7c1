"""`ingestor run`: the daemon."""

import os

import click
import structlog

from ingestor import __version__, daemon, logs
from ingestor.app.database import database
from ingestor.app.reloading import Reloading
from ingestor.app.wiring import Ingestor, Notifier
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, with_invocation
from ingestor.cli.signals import SignalEvent, ignored_afterwards, stop_on_signals
from ingestor.cli.stacks import stacks_on_signals
from ingestor.config import Loaded
from ingestor.config.rendering import fingerprint, setting
from ingestor.domain.errors import Fatal

log = structlog.get_logger()


@click.command("run")
@with_invocation
def run(invocation: Invocation) -> int:
    """Run the daemon until it is asked to stop."""
    stop, reload = invocation.stop, SignalEvent()
    invocation.as_record = not logs.configure()  # until the settings are read
    with stacks_on_signals() as stacks_alive, stop_on_signals(stop, reload=reload), ignored_afterwards():
        loaded = invocation.load()
        settings = loaded.settings
        invocation.as_record = not logs.configure(settings.log.level.value, settings.log.format.value)
        _log_start(loaded)
        reloading = Reloading(settings, invocation.load)  # fails here if there is no key
        notifier = Notifier.from_environment(os.environ, os.getpid())
        with database(settings) as address:
            if stop.is_set():
                return Exit.OK
            ingestor = Ingestor(settings, address, reloading.key)

            def each_turn() -> None:
                if not stacks_alive():
                    raise Fatal("the stacks thread has ended")
                if reload.is_set():
                    reload.clear()
                    reloading.reload(ingestor)

            with stop_on_signals(stop, ingestor.abandon, reload):
                drain = settings.drain.deadline_seconds
                return daemon.run(ingestor, notifier, drain, stop, each_turn)


def _log_start(loaded: Loaded) -> None:
    """Before anything can fail, so that the log shows with which settings it failed."""
    url, directory = (setting(loaded, f"database.{name}").value for name in ("url", "embedded_directory"))
    log.info(
        "daemon_starting",
        version=__version__,
        account=loaded.settings.account,
        configuration=None if loaded.file is None else str(loaded.file),
        settings_hash=fingerprint(loaded.settings),
        hub=loaded.settings.hub.address,
        database=url or directory,
    )
