"""A range of time on the command line: local days of a zone, or a month of them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from typing_extensions import override


class _Parsed(click.ParamType[object]):
    """A text that `read` makes a value of, and what is said of one that it cannot read."""

    def __init__(self, name: str, read: Callable[[str], object], wrong: str) -> None:
        self.name, self._read, self._wrong = name, read, wrong

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        try:
            return self._read(value) if isinstance(value, str) else value
        except (ValueError, OverflowError, ZoneInfoNotFoundError, OSError):
            self.fail(f"{value} is {self._wrong}", param, ctx)


def _month(text: str) -> date:
    first = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007
    _following(first)
    return first


ZONE = _Parsed("zone", ZoneInfo, "not a time zone; write it like Europe/Rome or UTC")
"""A name of the time zone database, e.g. Europe/Rome."""
MONTH = _Parsed("month", _month, "not a month; write it like 2026-03")
"""`2026-03`; its first day."""
MOMENT = _Parsed("moment", datetime.fromisoformat, "not a time; write it like 2026-03-01 or 2026-03-01T12:00")
"""A local day or time, `2026-03-01` or `2026-03-01T12:00`; with an offset, that moment."""


def of_month(first: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The local midnights at which a month begins and ends, by its first day."""
    return _midnight(first, zone), _midnight(_following(first), zone)


def _following(first: date) -> date:
    """The first day of the next month. OverflowError: the last month that Python knows has none."""
    return (first + timedelta(days=32)).replace(day=1)


def between(since: datetime, until: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The same two moments, those without an offset in this zone.

    Raises:
        click.UsageError: the end does not come after the start, or one is not within the years 1 to 9999.
    """
    first, last = (each if each.tzinfo else each.replace(tzinfo=zone) for each in (since, until))
    for each in (first, last):
        try:
            each.astimezone(UTC)
        except OverflowError:
            raise click.UsageError(f"{each.isoformat()} is in UTC not within the years 1 to 9999") from None
    if first >= last:
        raise click.UsageError(f"the end {last.isoformat()} is not after the start {first.isoformat()}")
    return first, last


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
