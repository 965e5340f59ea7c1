"""`ingestor support-bundle`: an archive for support, without data and secrets."""

import io
import platform
import re
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import fields
from enum import Enum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

import ingestor
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres import gaps_and_dead_letters
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.reading import read, value
from ingestor.adapters.postgres.schema import schema_state
from ingestor.app.control import live_state
from ingestor.app.database import connect, connect_url, existing_database
from ingestor.app.status import daemon_state, status_in
from ingestor.app.support.contents import (
    BundleContents,
    BundleFile,
    BundleReport,
    EffectiveSetting,
    ShownGap,
    ShownLetter,
    ShownLive,
    ShownSchema,
    ShownSize,
    ShownStatus,
    Versions,
)
from ingestor.app.support.log import last_lines
from ingestor.app.totals import outcome_counts
from ingestor.config import Loaded, Settings, database_password, resolve_key
from ingestor.config.keys import all_keys, value_of
from ingestor.config.values import MASK, Secret
from ingestor.domain.errors import BadConfiguration, IngestorError, Transient, parts_of
from ingestor.logs import redact, register_secret

MOST_SECONDS = 120.0
"""Limit for the whole command; counting takes the longest."""
_MOST = 200
_READING = DatabaseTiming()
_COUNTING = DatabaseTiming(statement_seconds=60, transaction_seconds=90)
_URL_PARTS = ("host", "port", "dbname", "sslmode", "target_session_attrs")
_T = TypeVar("_T")


def bundle_name(account: str) -> str:
    """Name of the archive's file, with account and time."""
    return f"ingestor-support-{account}-{DatabaseClock().wall():%Y%m%dT%H%M%SZ}.tar.gz"


def make_bundle(loaded: Loaded, log: Path | None) -> tuple[bytes, BundleReport]:
    """The archive, before it is written. What cannot be collected is listed in `missing`.

    Args:
        log: the daemon's log as JSON lines; None: read it from the journal.

    Returns:
        The archive, and what is in it; the path is a name for its file, with account and time.
    """
    _register_secrets(loaded.settings)
    now = DatabaseClock().wall()
    contents, missing = collect(loaded, log)
    name_of_file = bundle_name(loaded.settings.account)
    directory = name_of_file.removesuffix(".tar.gz")
    files, written = [], io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, part in _parts(contents).items():
            text = msgspec.json.format(msgspec.json.encode(part), indent=1)
            entry = tarfile.TarInfo(f"{directory}/{name}.json")
            entry.size, entry.mtime, entry.mode = len(text), int(now.timestamp()), 0o600
            archive.addfile(entry, io.BytesIO(text))
            files.append(BundleFile(f"{name}.json", len(text), len(part)))
    content = written.getvalue()
    return content, BundleReport(name_of_file, len(content), files, missing)


def collect(loaded: Loaded, log: Path | None) -> tuple[BundleContents, dict[str, str]]:
    """All contents that can be collected, and the reason for each of the others."""
    settings = loaded.settings
    missing: dict[str, str] = {}

    def part(name: str, read_part: Callable[[Settings], _T]) -> _T | None:
        try:
            return read_part(settings)
        except (IngestorError, OSError) as error:
            what, why, _ = parts_of(error)
            missing[name] = redact(f"{what} ({why})" if why else what)
            return None

    with ExitStack() as stack:
        server = part("postgres", lambda settings: _server_version(settings, stack))

        def stored(
            name: str,
            shown: type[_T],
            find: Callable[[psycopg.Connection], object],
            timing: DatabaseTiming = _READING,
        ) -> _T | None:
            def read(settings: Settings) -> _T:
                with connect(settings, timing, reads_only=True) as connection:
                    return _only(find(connection), shown)

            if server is None:  # tried once: each attempt may take seconds
                missing[name] = "it is in the database"
                return None
            return part(name, read)

        account = settings.account
        contents = BundleContents(
            versions=_versions(server),
            settings=[_setting(loaded, name) for name in all_keys()],
            status=stored("status", ShownStatus, lambda db: _status(db, account)),
            live=part("live", _live),
            schema=stored("schema", ShownSchema, schema_state),
            outcomes=stored("outcomes", dict[str, int], lambda db: outcome_counts(db, account), _COUNTING),
            gaps=stored(
                "gaps", list[ShownGap], lambda db: gaps_and_dead_letters.gaps(db, account, limit=_MOST)
            ),
            dead_letters=stored(
                "dead_letters",
                list[ShownLetter],
                lambda db: gaps_and_dead_letters.dead_letters(db, account, _MOST),
            ),
            sizes=stored("sizes", list[ShownSize], lambda db: read(db, ShownSize, _SIZES)),
            log=part("log", lambda settings: last_lines(settings.account, log)),
        )
    return contents, missing


def _parts(contents: BundleContents) -> dict[str, Any]:
    """The contents by name, as JSON types, with secrets masked once more."""
    found = {each.name: getattr(contents, each.name) for each in fields(contents)}
    return {
        name: _without_secrets(msgspec.to_builtins(part)) for name, part in found.items() if part is not None
    }


def _without_secrets(part: Any) -> Any:
    """Our fields contain no secrets; this is for names and numbers that others have set."""
    match part:
        case dict():
            return {redact(str(name)): _without_secrets(each) for name, each in part.items()}
        case list():
            return [_without_secrets(each) for each in part]
        case None | bool():
            return part
        case _:
            text = str(part)
            clean = redact(text)
            return part if clean == text else clean


def _register_secrets(settings: Settings) -> None:
    for find in (resolve_key, database_password):
        try:
            source = find(settings)
        except BadConfiguration:
            continue  # whoever asks need not be able to read it
        if source is not None:
            register_secret(source.read())


def _versions(server: str | None) -> Versions:
    packages = {}
    with suppress(PackageNotFoundError):  # of ingestor itself: it runs from a bare checkout
        for each in requires("hercle-ingestor") or ():
            name = re.split(r"[ \[<>=;!~]", each)[0]
            with suppress(PackageNotFoundError):  # of an extra that is not installed
                packages[name] = version(name)
    return Versions(
        ingestor=ingestor.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages=packages,
        postgres=server,
    )


def _server_version(settings: Settings, stack: ExitStack) -> str:
    """A private Postgres that does not run is started until the stack is closed."""
    url = stack.enter_context(existing_database(settings))
    with connect_url(url, reads_only=True) as connection:
        return str(value(connection, "SHOW server_version"))


def _setting(loaded: Loaded, name: str) -> EffectiveSetting:
    origin = loaded.origin(name)
    if origin not in {"default", "command line"}:
        origin = "environment" if origin.startswith("environment ") else "file"
    return EffectiveSetting(name, _shown(value_of(loaded.settings, all_keys()[name])), origin)


def _shown(given: object) -> str | int | float | None:
    match given:
        case None | int() | float():
            return given
        case Enum():
            return str(given.value)
        case Secret():
            found: Mapping[str, object] = conninfo_to_dict(given.text)
            return " ".join(f"{part}={found[part]}" for part in _URL_PARTS if part in found) or MASK
        case Path():
            return "set"
        case _:
            return str(given)


def _status(connection: psycopg.Connection, account: str) -> dict[str, object]:
    found = status_in(connection, account)
    return {"daemon": daemon_state(found).value, "account": found}


def _live(settings: Settings) -> ShownLive:
    found = live_state(settings.account)
    if found is None:
        raise Transient("no daemon of this account answers on this machine, or not to this user")
    told = {
        "version": found.version,
        "not_live": found.not_live,
        "not_ready": list(found.not_ready),
        "daemon_status": found.daemon_status,
    }
    return _only(told, ShownLive)


_SIZES = """
    SELECT relname AS table, reltuples::bigint AS estimated_rows, pg_table_size(oid) AS table_bytes,
        pg_indexes_size(oid) AS index_bytes
    FROM pg_class
    WHERE relnamespace = to_regnamespace('ingest') AND relkind = 'r'
    ORDER BY pg_total_relation_size(oid) DESC
"""


def _only(found: object, shown: type[_T]) -> _T:
    """A value of the type, with the fields that it names."""
    return msgspec.convert(found, shown, from_attributes=True)
