"""Reads the settings again while the daemon runs: some take effect at once, the others at the next start."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from ingestor import logs
from ingestor.app.wiring import Ingestor
from ingestor.config import Loaded, Settings, differing, resolve_key
from ingestor.domain.errors import BadConfiguration

log = structlog.get_logger()


class Reloading:
    """The settings in use, and the source of the key."""

    def __init__(self, settings: Settings, load: Callable[[], Loaded]) -> None:
        """
        Args:
            load: reads file, environment and command line again.

        Raises:
            BadConfiguration: there is no usable key.
        """
        self._settings = settings
        self._load = load
        self._source = resolve_key(settings)

    def key(self) -> str:
        """The present key, read from its source. Raises BadConfiguration if it cannot be used."""
        return self._source.read()

    def reload(self, ingestor: Ingestor) -> None:
        """Read the settings again, apply those that can change, and log both kinds. Wrong settings change
        nothing."""
        try:
            read = self._load().settings
            source = resolve_key(read)
        except BadConfiguration as error:
            what, *advice = str(error).splitlines()
            log.error("reload_failed", error=what, advice=advice)  # noqa: TRY400 - a traceback would add nothing
            return
        before, self._settings, self._source = self._settings, reloaded(self._settings, read), source
        logs.configure(self._settings.log.level.value, self._settings.log.format.value)
        ingestor.use_snapshots(self._settings.snapshots)
        log.info("reloaded", changed=differing(before, self._settings))
        if waiting := differing(self._settings, read):
            log.warning("restart_needed", settings=waiting)


def reloaded(now: Settings, read: Settings) -> Settings:
    """`now` with those of the settings just read that take effect without a restart.

    Sections that `contradictions` checks are replaced as a whole, because they were checked as a whole.
    """
    hub = replace(now.hub, key_file=read.hub.key_file)
    return replace(now, hub=hub, snapshots=read.snapshots, log=read.log, retention=read.retention)
