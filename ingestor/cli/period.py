"""A range of time on the command line: local days of a zone, or a month of them."""

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from typing_extensions import override


class Period(NamedTuple):
    """`since <= t < until`, both local midnights of the zone unless a time was given."""

    since: datetime
    until: datetime
    zone: ZoneInfo


class Zone(click.ParamType[ZoneInfo]):
    """A name of the time zone database, e.g. Europe/Rome."""

    name = "zone"

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value} is not a time zone; write it like Europe/Rome or UTC", param, ctx)


class Month(click.ParamType[date]):
    """`2026-03`; its first day."""

    name = "month"

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else datetime.strptime(str(value), "%Y-%m").date()  # noqa: DTZ007
        except ValueError:
            self.fail(f"{value} is not a month; write it like 2026-03", param, ctx)


class Moment(click.ParamType[datetime]):
    """A local day or time, `2026-03-01` or `2026-03-01T12:00`; with an offset, that moment."""

    name = "moment"

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is not a time; write it like 2026-03-01 or 2026-03-01T12:00", param, ctx)


def of_month(first: date, zone: ZoneInfo) -> Period:
    """A whole local month."""
    following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Period(_midnight(first.replace(day=1), zone), _midnight(following, zone), zone)


def between(since: datetime, until: datetime, zone: ZoneInfo) -> Period:
    """From one moment to another one.

    Raises:
        click.UsageError: the end does not come after the start.
    """
    first, last = (each if each.tzinfo else each.replace(tzinfo=zone) for each in (since, until))
    if first >= last:
        raise click.UsageError(f"the end {last.isoformat()} is not after the start {first.isoformat()}")
    return Period(first, last, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
