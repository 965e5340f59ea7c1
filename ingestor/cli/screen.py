"""Draws a daemon's `Activity` for a terminal: 80 columns, and complete without colour.

`screen` is a pure function of an `Activity`, which comes from the local socket or, in `ingestor demo`, from a
daemon in the same process.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice

from rich.text import Text

from ingestor.app.activity import Activity, GapNow, LatencyBand, RequestNow, StreamNow
from ingestor.app.daemon_status import span
from ingestor.pipeline.recent import BAR_SECONDS

WIDTH = 80
_LABEL = 10
BARS = "▁▂▃▄▅▆▇█"
_MOST_GAPS = 5
_MOST_REQUESTS = 4
BAD, GOOD, QUIET = "bold red", "bold green", "dim"

Part = str | tuple[str, str]
"""A text, or a text and its style."""

Section = tuple[str, Sequence[Sequence[Part]]]
"""A label, and the rows beside it."""


def screen(now: Activity, more: Iterable[Section] = (), *, brief: bool = False) -> Text:
    """Lines of at most 80 columns.

    Args:
        more: sections to add below.
        brief: use eleven lines, and one for each further stream, to leave room for `more`.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    below = (line for label, rows in more for line in _labelled(label, rows))
    for line in chain(_lines(now, brief=brief), below):
        line.truncate(WIDTH, overflow="ellipsis")
        text.append_text(line).append("\n")
    text.right_crop(1)
    return text


def bars(counts: Sequence[int]) -> str:
    """A sparkline: a character for each count, as high as its share of the largest; blank for none."""
    most = max(counts, default=0)
    return "".join(" " if not each else BARS[(each * len(BARS) - 1) // most] for each in counts)


def _lines(now: Activity, *, brief: bool) -> Iterator[Text]:
    status = now.daemon_status
    at = now.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f"ingestor {now.version}  account {now.account}"
    yield Text.assemble((title, "bold"), at.rjust(WIDTH - len(title)))
    yield _line("", (now.status, BAD if now.not_ready else ""))
    if not brief:
        yield from _readiness(now)
    total = f"{status.records} committed since the start"
    yield _line("rate", f"{now.records_per_second:.1f} records/s   {total}")
    outcomes = ", ".join(f"{name} {count}" for name, count in sorted(status.outcomes.items()))
    yield _line("outcomes", outcomes or "none")
    history, latency = _history(now.records_each_ten_seconds), _latency(now.latency)
    yield from [next(history), _latency_in_short(now.latency)] if brief else [*history, *latency]
    waiting, most = status.inbox_records, status.inbox_max_records
    dropped = (f"   {status.dropped} dropped", BAD) if status.dropped else ""
    yield _line("inbox", f"{_meter(waiting, most)} {waiting} of {most} records waiting", dropped)
    yield from _labelled("streams", map(_stream, now.streams), "none known yet")
    gaps, requests = map(_gap, now.gaps), map(_request, now.requests)
    if brief:
        yield from _labelled("gaps", islice(gaps, 1), "none open")
        yield from _labelled("requests", islice(requests, 1), "none open")
    else:
        yield from _labelled("gaps", islice(gaps, _MOST_GAPS), "none open", status.open_gaps)
        yield from _labelled("requests", islice(requests, _MOST_REQUESTS), "none open", len(now.requests))


def _readiness(now: Activity) -> Iterator[Text]:
    status = now.daemon_status
    yield _line("ready", ("no", BAD) if now.not_ready else ("yes", GOOD))
    for name, why in now.not_ready.items():
        yield _line("", (f"{name}: {why}", BAD))
    up = status.link == "up"
    lost = f", {status.links_lost_last_hour} lost in the last hour" if status.links_lost_last_hour else ""
    yield _line("link", (status.link, GOOD if up else BAD), lost)


def _history(counts: Sequence[int]) -> Iterator[Text]:
    minutes = len(counts) * BAR_SECONDS // 60
    yield _line("records", bars(counts), "▏")
    most = f"{max(counts)} in {BAR_SECONDS} s at most".center(len(counts) - 20)
    yield _line("", (f"{f'{minutes} min ago':<10}{most}{'now':>10}", QUIET))


def _latency(bands: Sequence[LatencyBand]) -> Iterator[Text]:
    """From the first class with a record to the last."""
    used = [number for number, band in enumerate(bands) if band.records]
    if not used:
        yield _line("latency", "no commit in the last ten minutes")
        return
    shown, most = bands[used[0] : used[-1] + 1], max(band.records for band in bands)
    for number, band in enumerate(shown):
        longest = bands[-2].up_to_ms
        bound = f"over {_ms(longest)}" if band.up_to_ms is None else f"≤ {_ms(band.up_to_ms)}"
        bar = "█" * -(-band.records * 40 // most)
        yield _line("" if number else "latency", f"{bound:<9} {bar:<40}", (f" {band.records}", QUIET))


def _latency_in_short(bands: Sequence[LatencyBand]) -> Text:
    sums = list(accumulate(band.records for band in bands))
    if not sums[-1]:
        return _line("latency", "no commit in the last ten minutes")
    parts = []
    for share, said in ((0.5, "half"), (0.99, "99 %"), (1.0, "all")):
        bound = next(
            band.up_to_ms for band, so_far in zip(bands, sums, strict=True) if so_far >= share * sums[-1]
        )
        parts.append(
            f"{said} over {_ms(bands[-2].up_to_ms)}" if bound is None else f"{said} within {_ms(bound)}"
        )
    return _line("latency", ", ".join(parts))


def _ms(milliseconds: int | None) -> str:
    whole = milliseconds or 0
    return f"{whole} ms" if whole < 1_000 else f"{whole // 1_000} s"


def _meter(value: int, most: int) -> str:
    full = -(-value * 20 // most) if most else 0
    return f"[{'#' * min(20, full):<20}]"


def _stream(stream: StreamNow) -> list[Part]:
    head = f"{stream.kind:<9}"
    if stream.seconds_since_confirmed is None:
        return [head, ("never confirmed", BAD)]
    old = stream.seconds_since_confirmed > stream.overdue_after_seconds
    age = f"confirmed {span(stream.seconds_since_confirmed)} ago" + (", overdue" if old else "")
    pending = stream.pending_confirmations
    return [
        f"{head} sequence {stream.sequence}, epoch {stream.epoch}, ",
        (age, BAD if old else GOOD),
        (f", {pending} pending", BAD) if pending else "",
    ]


def _gap(gap: GapNow) -> list[Part]:
    stage = "not confirmed yet" if gap.receiving_again else "still missing"
    return [
        (f"{gap.kind}, {gap.cause}", BAD),
        f", open for {span(gap.seconds_open)}, {stage} ({' and '.join(gap.affects)})",
    ]


def _request(request: RequestNow) -> list[Part]:
    attempt = f", attempt {request.attempt}" if request.attempt > 1 else ""
    return [f"{request.command}, {request.cause}{attempt}, sent {span(request.seconds_since_sent)} ago"]


def _labelled(
    label: str, rows: Iterable[Sequence[Part]], none: str = "none", count: int = 0
) -> Iterator[Text]:
    """A line for each row, the first with the label; and how many of `count` are not shown."""
    shown = list(rows)
    if not shown:
        yield _line(label, none)
    for number, row in enumerate(shown):
        yield _line("" if number else label, *row)
    if count > len(shown):
        yield _line("", (f"and {count - len(shown)} more", QUIET))


def _line(label: str, *parts: Part) -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", QUIET), *parts)
