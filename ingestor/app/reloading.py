"""Settings read again while the daemon runs: some count at once, the others with the next start."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from ingestor import logs
from ingestor.app.wiring import Ingestor
from ingestor.config import Loaded, Settings, differing, resolve_key
from ingestor.domain.errors import BadConfiguration

log = structlog.get_logger()


class Reloading:
    """The settings in force, and the source of the key that they name."""

    def __init__(self, settings: Settings, load: Callable[[], Loaded]) -> None:
        """
        Args:
            load: reads file, environment and command line again.

        Raises:
            BadConfiguration: there is no key that can be used.
        """
        self._settings = settings
        self._load = load
        self._source = resolve_key(settings)

    def key(self) -> str:
        """The key as its source holds it now. Raises BadConfiguration where it cannot be used."""
        return self._source.read()

    def reload(self, ingestor: Ingestor) -> None:
        """Read the settings again and use what can change; logs both. Wrong ones change nothing."""
        try:
            read = self._load().settings
            source = resolve_key(read)
        except BadConfiguration as error:
            what, *advice = str(error).splitlines()
            log.error("reload_failed", error=what, advice=advice)  # noqa: TRY400 - it says all without a trace
            return
        before, self._settings, self._source = self._settings, reloaded(self._settings, read), source
        logs.configure(self._settings.log.level.value, self._settings.log.format.value)
        ingestor.use_snapshots(self._settings.snapshots)
        log.info("reloaded", changed=differing(before, self._settings))
        if waiting := differing(self._settings, read):
            log.warning("restart_needed", settings=waiting)


def reloaded(now: Settings, read: Settings) -> Settings:
    """`now` with those of the settings just read that count without a restart.

    Sections that `contradictions` looks at come whole: together they have been checked.
    """
    hub = replace(now.hub, key_file=read.hub.key_file)
    return replace(now, hub=hub, snapshots=read.snapshots, log=read.log, retention=read.retention)
