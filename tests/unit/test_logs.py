"""Log records: one harmless line each, without secrets, whoever wrote it."""

import base64
import io
import json
import logging
import os
import re
import sys
import threading
import warnings
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest
import structlog
from typing_extensions import override

from ingestor import logs
from ingestor.domain.redaction import Redactor
from ingestor.domain.scrub import MASK
from ingestor.logs.rendering import MAX_BYTES, as_json, printable
from tests.support.log_events import LOG_EVENTS

HOSTILE = "a\nb\r\x1b[2J\x9b31m\u2028\u202e\x00\ud800\x7f"
SECRET = 'ky/A1+b2"C3 d4%E5=canary'


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is known to this process."""
    monkeypatch.setattr("ingestor.logs.redaction._of_this_process", Redactor())


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def written(stream: io.StringIO) -> str:
    logs.drain()
    return stream.getvalue()


def record(stream: io.StringIO) -> dict[str, object]:
    lines = written(stream).splitlines()
    assert len(lines) == 1, lines
    parsed = json.loads(lines[0])
    assert isinstance(parsed, dict)
    return parsed


def log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("test")
    return logger


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def test_a_record_is_one_json_object_with_time_level_event_and_facts(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    log().info("batch_written", records=3, share=0.5, none=None)
    parsed = record(stream)
    assert list(parsed)[:3] == ["event", "level", "timestamp"]
    assert str(parsed["timestamp"]).endswith("Z")
    assert (parsed["level"], parsed["event"], parsed["logger"]) == ("info", "batch_written", "test")
    assert (parsed["records"], parsed["share"], parsed["none"]) == (3, 0.5, None)


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_control_character_passes_in_name_value_key_or_message(stream: io.StringIO, form: str) -> None:
    logs.configure(format=form, stream=stream)
    log().warning(HOSTILE, value=HOSTILE, nested=[{HOSTILE: HOSTILE}], **{HOSTILE: 1})
    logging.getLogger("library").warning("%s", HOSTILE)
    text = written(stream)
    assert text.count("\n") == 2
    assert text.replace("\n", "") == printable(text.replace("\n", ""))
    text.encode()


def test_a_traceback_cannot_forge_a_line_on_the_console(stream: io.StringIO) -> None:
    logs.configure(format="console", stream=stream)
    try:
        fail("oops\n12:00:00.000 info     all_is_well\x1b[0m")
    except ValueError:
        log().exception("thing_failed")
    first, *rest = written(stream).splitlines()
    assert "thing_failed" in first
    assert rest
    assert all(line.startswith("    | ") for line in rest)
    assert "\x1b" not in written(stream)


def test_a_traceback_shows_no_local_variables(stream: io.StringIO) -> None:
    """Invariant I18."""
    logs.configure(stream=stream)
    hidden = "local-" + "variable"
    try:
        fail(str(len(hidden)))
    except ValueError:
        log().exception("thing_failed")
    assert "local-variable" not in written(stream)
    assert "ValueError: 14" in str(record(stream)["exception"])


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("unit", ["x", "\x00", "é", "€\n"])
def test_no_record_is_longer_than_four_kilobytes(stream: io.StringIO, form: str, unit: str) -> None:
    logs.configure(format=form, stream=stream)
    log().error("big", **{f"fact_{number}": unit * 5000 for number in range(200)})
    try:
        fail(unit * 100_000)
    except ValueError:
        log().exception("thing_failed", payload=unit * 100_000, many=list(range(100_000)))
    logging.getLogger("library").error(unit * 100_000)
    records = written(stream).replace("\n    |", "").splitlines()
    assert len(records) == 3
    assert all(len(line.encode()) <= MAX_BYTES for line in records)
    assert "dropped_facts" in records[0]
    assert "ValueError" in records[1]
    assert "thing_failed" in records[1]


def test_a_cut_value_says_how_much_is_missing(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    log().info("long", value="x" * 20_000)
    assert str(record(stream)["value"]) == "x" * 1024 + "…(+18976)"


def disguises() -> list[str]:
    content = SECRET.encode()
    return [
        SECRET,
        quote(SECRET, safe=""),
        repr({"k": SECRET}),
        json.dumps(SECRET),
        content.hex(),
        *(base64.b64encode(b"user:"[:cut] + content + b"!").decode() for cut in range(6)),
        base64.urlsafe_b64encode(b"ab" + content).decode(),
        f"Bearer {SECRET}",
    ]


@pytest.mark.parametrize("disguised", disguises())
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_registered_secret_is_masked_in_every_disguise_and_place(
    stream: io.StringIO, form: str, disguised: str
) -> None:
    """Invariant I18."""
    logs.configure(level="debug", format=form, stream=stream)
    logs.register_secret(SECRET)
    log().info(f"event {disguised}", value=disguised, nested={"deep": [disguised]}, data=disguised.encode())
    logging.getLogger("library").warning("sent %r", disguised)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit(disguised, UserWarning, "x.py", 1)
    try:
        fail(disguised)
    except ValueError:
        log().exception("thing_failed")
        logging.getLogger("library").exception("failed")
    text = written(stream)
    assert MASK in text
    for whole in disguises():
        core = whole.replace("Bearer ", "").replace("{'k': ", "")
        pieces = (core[at : at + 12] for at in range(len(core) - 11))
        assert not [piece for piece in pieces if piece in text], text


def test_eight_characters_of_a_secret_are_masked_and_others_untouched() -> None:
    redactor = Redactor()
    redactor.register("0123456789abcdef")
    assert redactor.redact("x 3456789a y") == f"x {MASK} y"
    assert redactor.redact("x 3456789 y") == "x 3456789 y"
    assert redactor.redact("0123456789abcdef") == MASK
    assert redactor.redact("0123456789abcdef 0123456789abcdef") == f"{MASK} {MASK}"


def test_a_secret_of_digits_is_masked_in_a_number(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logs.register_secret("1234567890")
    log().info("counted", count=1234567890, other=12)
    parsed = record(stream)
    assert (parsed["count"], parsed["other"]) == (MASK, 12)


def test_a_short_secret_is_masked_whole_and_a_tiny_one_left_alone() -> None:
    redactor = Redactor()
    redactor.register("pw123")
    redactor.register("ab")
    assert redactor.redact("login pw123 ab") == f"login {MASK} ab"


def test_a_value_that_cannot_be_shown_does_not_cost_the_record(stream: io.StringIO) -> None:
    class Unshowable:
        @override
        def __str__(self) -> str:
            raise RuntimeError

    logs.configure(stream=stream)
    log().info("odd", value=Unshowable(), nan=float("nan"))
    parsed = record(stream)
    assert "RuntimeError" in str(parsed["value"])
    assert parsed["nan"] == "nan"


def test_a_record_that_cannot_be_formatted_leaks_no_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().handlers.clear()  # pytest's own let such an error out
    logs.configure(stream=stream)
    logging.getLogger("library").warning("%d", "canary")
    assert record(stream)["event"] == "log_record_lost"
    assert "canary" not in written(stream) + capsys.readouterr().err


def test_a_librarys_sentence_is_a_value_and_not_an_event(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logging.getLogger("library.part").warning("something %s", "happened")
    parsed = record(stream)
    assert (parsed["event"], parsed["message"]) == ("library_logged", "something happened")
    assert parsed["logger"] == "library.part"


@pytest.mark.parametrize("name", ["SignalRCoreClient", "apscheduler.scheduler", "sqlalchemy.engine.Engine"])
def test_talkative_libraries_stay_quiet_even_if_they_raise_their_own_level(
    stream: io.StringIO, name: str
) -> None:
    logs.configure(level="debug", stream=stream)
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        logger.info("frame with a key")
        assert written(stream) == ""
        logger.warning("trouble")
        assert record(stream)["message"] == "trouble"
    finally:
        logger.setLevel(before)


def test_psycopg_tells_trouble_but_not_its_aftermath(stream: io.StringIO) -> None:
    logs.configure(level="debug", stream=stream)
    logger = logging.getLogger("psycopg")
    logger.warning("error ignored terminating %r: %s", "pipeline", "the connection is lost")
    assert written(stream) == ""
    logger.warning("unknown PostgreSQL timezone: %r; will use UTC", "Mars")
    assert "Mars" in str(record(stream)["message"])


def test_levels_below_the_chosen_one_are_not_written(stream: io.StringIO) -> None:
    logs.configure(level="warning", stream=stream)
    log().info("quiet")
    assert written(stream) == ""


def test_a_second_configure_replaces_the_first_also_for_loggers_in_use(stream: io.StringIO) -> None:
    early = io.StringIO()
    logs.configure(stream=early)
    logger = log()
    logger.info("one")
    logs.configure(level="debug", stream=stream)
    logger.debug("two")
    assert "two" not in written(early)
    assert record(stream)["event"] == "two"


def test_the_console_is_chosen_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        @override
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    logs.configure(stream=terminal)
    log().error("seen", who="a b")
    shown = written(terminal)
    assert re.search(r"\x1b\[31m.*error.*\x1b\[0m.*seen", shown)
    assert "who='a b'" in re.sub(r"\x1b\[[0-9;]*m", "", shown)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure(stream=plain)
    log().error("seen")
    assert "\x1b" not in written(plain)


@pytest.mark.parametrize(
    ("level", "prefix"), [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("critical", "<2>")]
)
def test_the_journal_gets_priorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, prefix: str
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        logs.configure(level="debug", stream=stream)
        getattr(log(), level)("logged")
        logs.drain()
        stream.seek(0)
        line = stream.read()
    assert line.startswith(prefix + "{")
    assert list(json.loads(line.removeprefix(prefix)).items()) == [
        ("event", "logged"),
        ("level", level),
        ("logger", "test"),
    ]


def test_the_journal_shows_which_event_it_is_on_80_columns() -> None:
    """`systemctl status` prints date, host, identifier and process before a record. What is too long for the
    rest of the line keeps nine tenths of it at the beginning, and one at the end."""
    unit = (Path(__file__).parents[2] / "deploy" / "systemd" / "hercle-ingestor@.service").read_text()
    (identifier,) = re.findall(r"(?m)^SyslogIdentifier=(.*)$", unit)
    before = f"Nov 26 14:00:00 debian {identifier.replace('%i', 'main')}[12345]: "
    for name, event in LOG_EVENTS.items():
        if event.level not in {"debug", "info"}:
            line = str(as_json()(None, "", {"event": name, "level": event.level}))
            assert line.index(name) + len(name) <= (80 - len(before) - 1) * 9 // 10, name


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("name", LOG_EVENTS)
def test_80_columns_show_the_event(stream: io.StringIO, name: str, form: str) -> None:
    logs.configure(level="debug", format=form, stream=stream)
    getattr(log(), LOG_EVENTS[name].level)(name, account="a" * 100, zone=1)
    assert name in written(stream)[:80]


def test_each_line_of_a_traceback_for_people_has_the_priority_of_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        logs.configure(format="console", stream=stream)
        sys.excepthook(ValueError, ValueError("why"), None)
        logs.drain()
        stream.seek(0)
        lines = stream.read().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("<2>") for line in lines)


def test_another_stream_than_the_journals_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    with (tmp_path / "file").open("w+") as stream:
        logs.configure(stream=stream)
        log().info("logged")
        logs.drain()
        stream.seek(0)
        assert stream.read().startswith("{")


def test_an_exception_that_ends_a_thread_is_a_record(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    thread = threading.Thread(target=fail, args=("why",), name="writer")
    thread.start()
    thread.join(5)
    parsed = record(stream)
    assert (parsed["event"], parsed["thread"], parsed["level"]) == ("thread_died", "writer", "critical")
    assert "ValueError: why" in str(parsed["exception"])


def test_an_exception_at_the_top_is_a_record(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logs.register_secret("canary-0123")
    error = ValueError("canary-0123")
    sys.excepthook(ValueError, error, None)
    parsed = record(stream)
    assert parsed["event"] == "process_crashed"
    assert f"ValueError: {MASK}" in str(parsed["exception"])
