"""The database's part of `ingestor check`, up to the privileges of our role."""

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres import checking
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.failures import SharedSession, WrongEncoding
from ingestor.adapters.postgres.schema import schema_state
from ingestor.adapters.postgres.timekeeping import OFFSET_SECONDS, Timekeeping
from ingestor.app.check.findings import NothingToTry, Problem
from ingestor.app.check.steps import Step
from ingestor.app.database import NOT_MADE_YET, existing_database, made
from ingestor.app.status import offset
from ingestor.config import EmbeddedDatabase, Settings, database_target
from ingestor.domain.errors import BadConfiguration

_TIMING = DatabaseTiming(connect_seconds=3, lock_seconds=2, statement_seconds=3, transaction_seconds=4)
_SECONDS = 4.5
"""Limit of each step; the connection to a frozen server is closed before."""
_START_SECONDS = 8.0
"""Limit of the first step, which may have to start a private Postgres."""
_DEBIAN_SOCKETS, _DEBIAN_DATA = {"/run/postgresql", "/var/run/postgresql"}, Path("/var/lib/postgresql")
"""Debian's default paths, because the server tells only superusers where its data is."""
_LEAST_BYTES = 64 * 2**20
"""Four files of the server's write-ahead log: with less it may stop at any moment."""
_FEW_BYTES = 2**30
_GIB = 2**30


class DatabaseCheck:
    """The steps, on one database session. `close` in any case."""

    def __init__(self, settings: Settings, clock: DatabaseClock) -> None:
        self._settings = settings
        self._clock = clock
        self._held = ExitStack()
        self._refusal: BadConfiguration | None = None
        """Why the database cannot be used although it was reached."""
        self._server: checking.Server | None = None
        self._host = ""
        self.database_session: DatabaseSession | None = None
        """Set once the step `database` has succeeded."""

    def steps(self) -> list[Step]:
        """In the order of the path."""
        usable = ("database", "encoding", "pooler")
        hangs = "the database does not answer: see its log, its locks and the network"
        steps = [
            Step("database", self.database, _START_SECONDS, ("configuration",)),
            Step("encoding", self.encoding, _SECONDS, ("database",)),
            Step("pooler", self.pooler, _SECONDS, ("database", "encoding")),
            Step("clock", self.clock, _SECONDS, usable),
            Step("schema", self.schema, _SECONDS, usable),
            Step("roles", self.roles, _SECONDS, (*usable, "schema")),
            Step("disk", self.disk, _SECONDS, usable),
        ]
        return [step._replace(if_it_hangs=hangs) for step in steps]

    def close(self) -> str:
        """Close the database session, and stop a private Postgres that was started for it."""
        self._held.close()
        return "closed"

    # --- the steps ---

    def database(self) -> str:
        target = database_target(self._settings)
        if not made(target):
            raise Problem(f"{target.describe()}: not created yet", NOT_MADE_YET, 0)
        url = self._held.enter_context(existing_database(self._settings))
        self.database_session = opened = DatabaseSession(url, _TIMING, self._clock)
        self._held.callback(opened.close)
        try:
            with opened.use() as connection:
                self._host = connection.info.host
                self._server = server = checking.server(connection)
        except (WrongEncoding, SharedSession) as error:
            self._refusal = error
            return f"reached, {target.describe()}"
        way = server.tls or ("a Unix socket" if self._host.startswith("/") else "TCP without TLS")
        return f"reached, {target.describe()}; PostgreSQL {server.version} over {way}"

    def encoding(self) -> str:
        if isinstance(self._refusal, WrongEncoding):
            raise self._refusal
        return "UTF8" if self._refusal is not None else self._facts().encoding

    def pooler(self) -> str:
        if self._refusal is not None:
            raise self._refusal
        pooled = self._facts().pooled
        return "session pooling, which is supported" if pooled else "none: connected to the server directly"

    def clock(self) -> str:
        with self._reached().use() as connection:
            Timekeeping(self._settings.account, self._clock).read(connection)
        seconds = self._clock.offset_seconds or 0.0
        said = f"this host's clock is {offset(seconds)} the database's"
        if abs(seconds) >= OFFSET_SECONDS:
            raise Problem(said, "check the time service of both hosts; stored times are the database's", 0)
        return said

    def schema(self) -> str:
        if self.database_session is None:
            raise Problem("not created yet, like its database", NOT_MADE_YET, 0)
        with self.database_session.use() as connection:
            state = schema_state(connection)
        if state.fits:
            return f"at {state.found}, as this software needs it"
        if state.newer:
            raise Problem(f"at {state.found}, newer than this software", "install the newer software", 78)
        raise Problem(f"at {state.found or 'none'}, needs {state.wanted}", "run `ingestor db upgrade`", 78)

    def roles(self) -> str:
        server = self._facts()
        with self._reached().use() as connection:
            lacks, absent = checking.missing_privileges(connection), checking.missing_roles(connection)
        who = f"{server.user}{', a superuser,' if server.superuser else ''}"
        if lacks:
            more = f" and {len(lacks) - 1} more" if len(lacks) > 1 else ""
            raise Problem(
                f"{who} lacks {lacks[0]}{more}",
                "let a superuser run the output of `ingestor db roles`, which is needed after each upgrade",
                78,
            )
        return f"{who} may do what the daemon does; " + (
            f"the server has no {', '.join(absent)}" if absent else "all roles exist"
        )

    def disk(self) -> str:
        server = self._facts()
        directory, total, free = self._place(server)
        said = (
            f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free in {directory}; "
            f"the database has {server.database_bytes / _GIB:.2f} GiB"
        )
        if free < _LEAST_BYTES:
            raise Problem(
                said, "free disk space: PostgreSQL stops when it cannot write its write-ahead log", 74
            )
        if free < _FEW_BYTES:
            raise Problem(said, "free disk space soon: see `ingestor db size` and [retention]", 0)
        return said

    # --- shared ---

    def _facts(self) -> checking.Server:
        if self._server is None:
            raise NothingToTry("there is no database yet")
        return self._server

    def _reached(self) -> DatabaseSession:
        if self.database_session is None:
            raise NothingToTry("there is no database yet")
        return self.database_session

    def _place(self, server: checking.Server) -> tuple[Path, int, int]:
        """The server's data directory, and its file system's bytes, all and free, if visible here."""
        target = database_target(self._settings)
        if isinstance(target, EmbeddedDatabase):
            places = [target.directory]
        elif self._host.startswith("/"):
            places = [Path(server.data_directory)] if server.data_directory else []
            places += [_DEBIAN_DATA] if self._host in _DEBIAN_SOCKETS else []
        else:
            raise NothingToTry("the database is on another host: check its disk there")
        for place in places:
            with suppress(OSError):
                total, _, free = shutil.disk_usage(place)
                return place, total, free
        raise NothingToTry("this role may not see where the server's data is")
