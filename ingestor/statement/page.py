"""The page: figures and charts into one HTML file without scripts, fonts or addresses to load."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ingestor.statement.charts import balance_chart, coverage_strip
from ingestor.statement.figures import Figures

_NONE = "\N{EN DASH}"


def page(figures: Figures) -> str:
    """The whole HTML document."""
    environment = Environment(
        loader=PackageLoader("ingestor.statement", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "amount": _amount,
        "moment": lambda at: _moment(at, figures),
        "span": _span,
        "percent": _percent,
    }
    environment.filters.update(filters)
    balance_gaps = [gap for gap in figures.gaps if "balances" in gap.affects]
    charts = [
        (each, Markup(balance_chart(each, balance_gaps, figures.since, figures.until, figures.zone)))  # noqa: S704
        for each in figures.series
    ]
    return environment.get_template("page.html").render(
        it=figures,
        charts=charts,
        users=len({each.user_id for each in figures.series}),
        strip=Markup(coverage_strip(figures.days)),  # noqa: S704 - matplotlib escapes what it is given
        parts=_parts(figures),
        latency=_latency(figures),
        causes=_causes(figures),
    )


def _amount(value: Decimal | None) -> str:
    """All digits, with thin groups of three before the point; a dash where there is none."""
    return _NONE if value is None else f"{value:,f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _moment(at: datetime | None, figures: Figures) -> str:
    return _NONE if at is None else f"{at.astimezone(figures.zone):%Y-%m-%d %H:%M:%S}"


def _span(span: timedelta | None) -> str:
    if span is None:
        return _NONE
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _percent(share: float) -> str:
    """Rounded down, so that 100 % means that nothing is missing."""
    return f"{int(share * 10_000) / 100:.2f} %"


def _parts(figures: Figures) -> list[tuple[str, timedelta, float]]:
    """Coverage of the whole period by cause: name, time, share."""
    sums: dict[str, timedelta] = defaultdict(timedelta)
    for day in figures.days:
        for name, span in day.parts.items():
            sums[name] += span
    whole = sum(sums.values(), timedelta())
    ordered = sorted(sums.items(), key=lambda part: (part[0] != "known", -part[1]))
    return [(name, span, span / whole) for name, span in ordered if span]


def _latency(figures: Figures) -> list[tuple[str, int, int, float | None, float | None]]:
    """For each command: requests, unanswered, median of the daily medians, worst daily p99."""
    rows = []
    for command in sorted({each.command for each in figures.latency}):
        days = [each for each in figures.latency if each.command == command]
        medians = [each.median_ms for each in days if each.median_ms is not None]
        worst = [each.p99_ms for each in days if each.p99_ms is not None]
        rows.append(
            (
                command,
                sum(each.requests for each in days),
                sum(each.unanswered for each in days),
                median(medians) if medians else None,
                max(worst, default=None),
            )
        )
    return rows


def _causes(figures: Figures) -> list[tuple[str, str, int, timedelta]]:
    """Gaps by kind and cause: how many, and their time within the period."""
    found: dict[tuple[str, str], list[timedelta]] = defaultdict(list)
    for gap in figures.gaps:
        # In UTC: the difference of two times of one zone is that of their wall clocks.
        until = min(gap.until or figures.until, figures.until).astimezone(UTC)
        since = max(gap.missed_from, figures.since).astimezone(UTC)
        found[gap.kind, gap.cause].append(max(timedelta(), until - since))
    return [(kind, cause, len(each), sum(each, timedelta())) for (kind, cause), each in sorted(found.items())]
