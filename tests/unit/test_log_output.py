"""The thread that writes the log, on real pipes: nobody who logs ever waits for whoever reads."""

import fcntl
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest
import structlog
from typing_extensions import override

from ingestor import logs
from ingestor.logs.output import MOST_LINES, LineHandler
from tests.support.waiting import eventually

F_SETPIPE_SZ = 1031


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Puts back what `configure` changes in the process."""
    root = logging.getLogger()
    before = (root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    for handler in [each for each in root.handlers if isinstance(each, LineHandler | logging.NullHandler)]:
        root.removeHandler(handler)
        handler.close()
    sys.excepthook, threading.excepthook, sys.unraisablehook = before[1:]
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The reading end as a number, the writing end as a stream: as small as a pipe can be."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    os.set_blocking(reader, False)
    stream = os.fdopen(writer, "w")
    yield reader, stream
    os.set_blocking(reader, False)
    eventually(lambda: not _read(reader))
    logs.drain()
    stream.close()
    os.close(reader)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("test")
    return logger


def records(text: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.decode().splitlines()]


def test_a_pipe_that_nobody_reads_holds_nobody_and_what_is_dropped_is_counted(
    pipe: tuple[int, TextIO],
) -> None:
    reader, stream = pipe
    logs.configure(format="json", stream=stream)
    logged = MOST_LINES + 500
    for number in range(logged):
        log().info("logged", number=number)

    received = b""

    def count() -> int:
        nonlocal received
        received += _read(reader)
        return b"log_records_dropped" in received and received.endswith(b"\n")

    eventually(count)
    told = [each for each in records(received) if each["event"] == "logged"]
    lost = [each for each in records(received) if each["event"] == "log_records_dropped"]
    assert 0 < len(told) < logged
    assert [each["level"] for each in lost] == ["warning"]
    assert len(told) + sum(int(str(each["count"])) for each in lost) == logged
    numbers = [int(str(each["number"])) for each in told]
    assert numbers == sorted(numbers)


def test_a_pipe_made_non_blocking_by_another_loses_nothing(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    logs.configure(format="json", stream=stream)
    for number in range(200):
        log().info("logged", number=number)

    received = b""

    def all_received() -> bool:
        nonlocal received
        received += _read(reader)
        return received.count(b"\n") == 200

    eventually(all_received)
    assert [each["number"] for each in records(received)] == list(range(200))


def test_a_reader_that_has_gone_is_nobodys_trouble(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    elsewhere = os.dup(reader)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, reader)  # the fixture's number stays valid
    os.close(null)
    os.close(elsewhere)
    logs.configure(format="json", stream=stream)
    log().info("logged")
    logs.drain()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")  # noqa: PTH110
def test_a_full_disk_is_nobodys_trouble() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        logs.configure(format="json", stream=full)
        log().info("logged")
        logs.drain()


def test_what_could_not_be_written_is_counted_too(tmp_path: pytest.TempPathFactory) -> None:
    class Moody(io.StringIO):
        broken = True

        @override
        def write(self, text: str) -> int:
            if self.broken:
                raise OSError
            return super().write(text)

    stream = Moody()
    logs.configure(format="json", stream=stream)
    for _ in range(3):
        log().info("lost")
    logs.drain()
    stream.broken = False
    log().info("logged")
    logs.drain()
    told, dropped = records(stream.getvalue().encode())
    assert told["event"] == "logged"
    assert (dropped["event"], dropped["count"]) == ("log_records_dropped", 3)


def test_without_a_stream_nothing_is_written_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.configure()
    log().error("logged")
    logging.getLogger("library").error("logged")
    logs.drain()
    assert capfd.readouterr() == ("", "")


def test_a_value_that_logs_while_it_is_formatted_does_not_deadlock() -> None:
    stream = io.StringIO()
    logs.configure(format="json", stream=stream)

    class Farewell:
        @override
        def __str__(self) -> str:
            log().info("inner")
            return "outer value"

    done = threading.Event()

    def both() -> None:
        log().info("outer", value=Farewell())
        done.set()

    threading.Thread(target=both, daemon=True).start()
    assert done.wait(5)
    logs.drain()
    assert [each["event"] for each in records(stream.getvalue().encode())] == ["inner", "outer"]
