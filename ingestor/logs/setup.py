"""Connects structlog and the standard library's logging to one handler on standard error.

Records of libraries pass structlog's `ProcessorFormatter`: their text becomes the fact `message` of the event
`library_logged`, so that event names are always ours.
"""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

import structlog

from ingestor.logs.output import LineHandler, is_journal
from ingestor.logs.redaction import redact
from ingestor.logs.rendering import LineRenderer, as_json, for_people

_QUIET = (
    "SignalRCoreClient",
    "apscheduler",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "urllib3",
    "websocket",
    "asyncio",
)
"""Libraries that log frames, headers, parameters or every timer tick at levels below WARNING."""

_REPEATED = "error ignored"
"""psycopg's log lines about a connection whose error it raises as well begin with this."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("ingestor.logs")


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 - the setting's name
    stream: TextIO | None = None,
) -> bool:
    """Send all records to `stream`; may be called again, the last call counts.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `json`, `console`, or `auto`: console on a terminal, JSON elsewhere.
        stream: standard error where not given; standard output belongs to data.

    Returns:
        Whether records go to a person: on a terminal, and not as JSON.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream is not None and stream.isatty()
    console = format == "console" or (format == "auto" and terminal)
    render = for_people(colours=terminal and "NO_COLOR" not in os.environ) if console else as_json()
    journal = is_journal(stream)
    root = logging.getLogger()
    root.setLevel(level.upper())
    _handler(root, stream).setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_foreign_record],
            processors=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                *([] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),  # it has one
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _name_exception,
                structlog.processors.format_exc_info,
                LineRenderer(render, redact, priorities=journal),
            ],
        )
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a second call, with the settings read, must reach loggers in use
    )
    sys.excepthook = _process_crashed
    threading.excepthook = _thread_died
    sys.unraisablehook = _exception_ignored
    return console and terminal


def _handler(root: logging.Logger, stream: TextIO | None) -> logging.Handler:
    """The one that writes to this stream; without a stream, as after `2>&-`, one that writes nothing."""
    for old in [old for old in root.handlers if isinstance(old, LineHandler)]:
        if old.stream is stream:
            return old
        root.removeHandler(old)
        old.close()
    new = logging.NullHandler() if stream is None else LineHandler(stream)
    new.addFilter(_quieten)
    root.addHandler(new)
    return new


def _name_foreign_record(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**event, "event": "library_logged", "message": event.get("event", "")}


def _name_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the error's class as a separate fact, which is never shortened and can be searched for."""
    match event.get("exc_info"):
        case True:
            error = sys.exception()
        case (_, error, _) | error:
            pass
    if isinstance(error, BaseException):
        event["exception_type"] = f"{type(error).__module__}.{type(error).__qualname__}"
    return event


def _quieten(record: logging.LogRecord) -> bool:
    """Needed in addition to the level of the loggers, because signalrcore sets its logger's level itself."""
    library = record.name.partition(".")[0]
    if library == "psycopg" and str(record.msg).startswith(_REPEATED):
        return False
    return record.levelno >= logging.WARNING or library not in _QUIET


def _process_crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("process_crashed", exc_info=(kind, error, trace))


def _thread_died(arguments: threading.ExceptHookArgs) -> None:
    if issubclass(arguments.exc_type, SystemExit):
        return
    error = arguments.exc_value
    name = arguments.thread.name if arguments.thread else None
    log.critical("thread_died", thread=name, exc_info=(arguments.exc_type, error, arguments.exc_traceback))


def _exception_ignored(arguments: "sys.UnraisableHookArgs") -> None:
    if issubclass(arguments.exc_type, KeyboardInterrupt):
        return  # the signal's handler has recorded it
    error = arguments.exc_value
    where = type(arguments.object).__name__
    log.error("exception_ignored", where=where, exc_info=(arguments.exc_type, error, arguments.exc_traceback))
