"""The last log lines of an account's daemon, reduced to what a support bundle may contain."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ingestor.app.support.contents import ShownLine
from ingestor.domain.errors import Transient

LINES = 500
_TAIL_BYTES = 4 * 1024 * 1024
_JOURNAL_SECONDS = 20

FACTS = frozenset(
    {
        *("attempts", "cause", "changed", "clock", "code", "command", "count", "drained", "dropped"),
        *("dropped_records", "epoch", "exit_code", "first_sequence", "gap", "items", "job", "kind"),
        *("known_users", "limit", "offset_seconds", "ordinal", "outcome", "pid"),
        *("previous_sequence", "reason", "records", "resolution", "resumed_streams", "schema", "seconds"),
        *("sequence", "session", "setting", "settings_hash", "since", "stale_snapshots", "step_seconds"),
        *("thread", "version", "waiting_bytes", "waiting_records"),
    }
)
"""The facts that are included: none is a text of the hub, the database or a library."""
_WORD = re.compile(r"[A-Za-z0-9_.:+ -]{1,64}")
_FRAME = re.compile(r'File "(?:[^"]*/)?((?:ingestor|site-packages)/[^"]+)", line (\d+), in (\w+)')


def last_lines(account: str, file: Path | None) -> list[ShownLine]:
    """The last lines of this file, or of the account's unit in the journal.

    Raises:
        Transient: there is no journal here, or it cannot be read.
        OSError: the file cannot be read.
    """
    text = _journal(account) if file is None else _tail(file)
    found = list(_shown(text.splitlines()[-LINES:]))
    if not found:
        where = file or f"the journal of hercle-ingestor@{account}"
        raise Transient(
            f"no log lines were found\nwhy: {where} has none in JSON, or this user may not read them\n"
            "fix: run this as root, or name the daemon's log with --log"
        )
    return found


def _tail(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return opened.read().decode("utf-8", "replace")


def _journal(account: str) -> str:
    command = ("journalctl", "--quiet", "--no-pager", f"--unit=hercle-ingestor@{account}", "--output=cat")
    try:
        done = subprocess.run(  # noqa: S603 - of fixed words and an account's name
            (*command, f"--lines={LINES}"),
            capture_output=True,
            timeout=_JOURNAL_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Transient(
            "the journal cannot be read\n"
            f"why: {type(error).__name__}\n"
            "fix: run this as root, or name the daemon's log with --log"
        ) from None
    return done.stdout.decode("utf-8", "replace")


def _shown(lines: Iterable[str]) -> Iterator[ShownLine]:
    """The lines that the daemon has logged; others are left out."""
    for line in lines:
        try:
            record = msgspec.json.decode(re.sub(r"^<\d>", "", line), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError):
            continue
        if _is_word(record.get("event")):
            yield ShownLine(
                timestamp=_word(record.get("timestamp")),
                level=_word(record.get("level")),
                event=_word(record["event"]),
                exception_type=_word(record.get("exception_type")) or None,
                facts={
                    name: value for name, value in record.items() if name in FACTS and _can_be_kept(value)
                },
                frames=[f"{path}:{line} {name}" for path, line, name in _frames(record.get("exception"))],
            )


def _frames(trace: object) -> list[tuple[str, str, str]]:
    return _FRAME.findall(trace) if isinstance(trace, str) else []


def _can_be_kept(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float) or _is_word(value)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _word(value: object) -> str:
    return str(value) if _is_word(value) else ""
