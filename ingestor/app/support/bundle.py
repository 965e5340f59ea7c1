"""`ingestor support-bundle`: an archive for support, without data and secrets."""

import io
import platform
import re
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from enum import Enum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from psycopg.conninfo import conninfo_to_dict

import ingestor
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres import evidence
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.reading import read, value
from ingestor.adapters.postgres.schema import schema_state
from ingestor.adapters.postgres.totals import outcome_counts
from ingestor.app.control import live_state
from ingestor.app.database import database_beside, looking_at
from ingestor.app.status import daemon_state, status
from ingestor.app.support.contents import (
    BundleContents,
    BundleFile,
    EffectiveSetting,
    ShownAccount,
    ShownGap,
    ShownLetter,
    ShownLive,
    ShownSchema,
    ShownSize,
    ShownStatus,
    Versions,
)
from ingestor.app.support.log import last_lines
from ingestor.config import Loaded, Settings, database_password, resolve_key
from ingestor.config.keys import all_keys, value_of
from ingestor.config.values import MASK, Secret
from ingestor.domain.errors import BadConfiguration, IngestorError, Transient
from ingestor.logs import redact, register_secret

MOST_SECONDS = 120.0
"""Limit for the whole command; counting takes the longest."""
_MOST = 200
_COUNTING = DatabaseTiming(statement_seconds=60, transaction_seconds=90)
_URL_PARTS = ("host", "port", "dbname", "sslmode", "target_session_attrs")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The archive, before it is written."""

    name: str
    """Name of its file, with account and time."""
    content: bytes
    files: list[BundleFile]
    missing: dict[str, str]
    """As in `BundleReport`."""


def bundle_name(account: str) -> str:
    """Name of the archive's file, with account and time."""
    return f"ingestor-support-{account}-{DatabaseClock().wall():%Y%m%dT%H%M%SZ}.tar.gz"


def make_bundle(loaded: Loaded, log: Path | None) -> Bundle:
    """Create the archive. What cannot be collected is listed in `missing`.

    Args:
        log: the daemon's log as JSON lines; None: read it from the journal.
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
    return Bundle(name_of_file, written.getvalue(), files, missing)


def collect(loaded: Loaded, log: Path | None) -> tuple[BundleContents, dict[str, str]]:
    """All contents that can be collected, and the reason for each of the others."""
    settings = loaded.settings
    missing: dict[str, str] = {}

    def part(name: str, read_part: Callable[[Settings], _T]) -> _T | None:
        try:
            return read_part(settings)
        except (IngestorError, OSError) as error:
            missing[name] = redact(_in_one_line(error))
            return None

    with ExitStack() as stack:
        server = part("postgres", lambda settings: _server_version(settings, stack))

        def stored(name: str, read_part: Callable[[Settings], _T]) -> _T | None:
            if server is None:  # tried once: each attempt may take seconds
                missing[name] = "it is in the database"
                return None
            return part(name, read_part)

        contents = BundleContents(
            versions=_versions(server),
            settings=[_setting(loaded, name) for name in all_keys()],
            status=stored("status", _status),
            live=part("live", _live),
            schema=stored("schema", _schema),
            outcomes=stored("outcomes", _outcomes),
            gaps=stored("gaps", _gaps),
            dead_letters=stored("dead_letters", _dead_letters),
            sizes=stored("sizes", _sizes),
            log=part("log", lambda settings: last_lines(settings.account, log)),
        )
    return contents, missing


def _in_one_line(error: Exception) -> str:
    what, *rest = str(error).splitlines() or [type(error).__name__]
    why = [each.removeprefix("why: ") for each in rest if each.startswith("why: ")]
    return f"{what} ({why[0]})" if why else what


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
    url = stack.enter_context(database_beside(settings))
    with looking_at(url, reads_only=True) as connection:
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


def _status(settings: Settings) -> ShownStatus:
    found = status(settings)
    return ShownStatus(daemon_state(found).value, _only(found, ShownAccount))


def _live(settings: Settings) -> ShownLive:
    found = live_state(settings.account)
    if found is None:
        raise Transient("no daemon of this account answers on this machine, or not to this user")
    return _only(
        {
            "version": found.version,
            "not_live": found.not_live,
            "not_ready": list(found.not_ready),
            "picture": found.picture,
        },
        ShownLive,
    )


def _schema(settings: Settings) -> ShownSchema:
    with database_beside(settings) as url, looking_at(url, reads_only=True) as connection:
        return _only(schema_state(connection), ShownSchema)


def _outcomes(settings: Settings) -> dict[str, int]:
    with database_beside(settings) as url, looking_at(url, _COUNTING, reads_only=True) as connection:
        return outcome_counts(connection, settings.account)


def _gaps(settings: Settings) -> list[ShownGap]:
    with database_beside(settings) as url, looking_at(url, reads_only=True) as connection:
        found = evidence.gaps(connection, settings.account, only_open=False, limit=_MOST)
    return [_only(each, ShownGap) for each in found]


def _dead_letters(settings: Settings) -> list[ShownLetter]:
    with database_beside(settings) as url, looking_at(url, reads_only=True) as connection:
        found = evidence.dead_letters(connection, settings.account, _MOST)
    return [_only(each, ShownLetter) for each in found]


def _sizes(settings: Settings) -> list[ShownSize]:
    with database_beside(settings) as url, looking_at(url, reads_only=True) as connection:
        return read(connection, ShownSize, _SIZES)


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
