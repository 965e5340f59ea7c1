"""A program that the tests of the embedded server start, look at, and kill.

Usage: python embedded_postgres_child.py DIRECTORY BINARIES UID. Starts a durable server from a worker thread
that ends at once, and then commits row after row until somebody ends it. Says `postmaster PID`, then
`acknowledged N` after each commit. With UID it becomes that account first, as root may.
"""

import importlib
import os
import sys
import threading
from pathlib import Path

import psycopg

from ingestor.adapters.embedded_postgres import EmbeddedPostgres


def become(uid: int) -> None:
    # The interpreter itself may be out of that account's reach, so it is not started as that account; what
    # is imported late must be here before we give up root.
    for name in ("encodings.idna", "ipaddress", "pydoc", "traceback", "linecache", "tokenize"):
        importlib.import_module(name)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def main() -> None:
    directory, binaries, uid = sys.argv[1:]
    if int(uid) != os.geteuid():
        become(int(uid))
    server = EmbeddedPostgres(Path(directory), binaries=binaries)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    print("postmaster", server.postmaster_pid, flush=True)
    server.ensure_database()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int PRIMARY KEY)")
        n = 0
        while True:
            n += 1
            connection.execute("INSERT INTO kept VALUES (%s)", [n])
            print("acknowledged", n, flush=True)


if __name__ == "__main__":
    main()
