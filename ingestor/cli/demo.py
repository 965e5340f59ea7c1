"""`ingestor demo`: the daemon between a simulated hub and a private Postgres, on screen."""

import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ingestor import logs
from ingestor.app.demo import AccountTotals, Demo, Scene, demo
from ingestor.cli.documents import DemoDocument, say
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option
from ingestor.cli.signals import stop_on_signals
from ingestor.domain.errors import Fatal

if TYPE_CHECKING:
    from rich.console import Group

_FRAME_SECONDS = 0.5
_PLAIN_LINE_SECONDS = 2.0


@click.command("demo")
@click.option("--for", "seconds", type=click.FloatRange(min=2), help="Run for so many seconds, then stop.")
@json_option("No picture; one JSON document at the end.")
@click.option("--rate", default=20.0, show_default=True, help="Account changes per second.")
@click.option("--seed", default=1, show_default=True, help="Of what goes wrong, and when.")
@click.pass_obj
def demo_command(
    invocation: Invocation, *, seconds: float | None, as_json: bool, rate: float, seed: int
) -> int:
    """Watch it work: private Postgres, simulated hub that misbehaves, the real daemon between them."""
    logs.configure(level="error" if as_json or sys.stdout.isatty() else "warning")
    stop = invocation.stop
    with stop_on_signals(stop), demo(rate=rate, seed=seed, seconds=seconds, stop=stop) as running:
        if seconds is not None:
            timer = threading.Timer(seconds, stop.set)
            timer.daemon = True
            timer.start()
        _show(running, stop, as_json=as_json)
        totals = running.finish()
    document = _document(totals)
    if as_json:
        say(document)
    else:
        click.echo(
            f"received {document.received}, committed {document.committed}, "
            f"unaccounted {document.unaccounted}; gaps {document.gaps}"
        )
    return Exit.OK if document.unaccounted == 0 else Exit.PROBLEMS


def _document(totals: AccountTotals) -> DemoDocument:
    outcomes = dict(totals.outcomes)
    if totals.dropped:
        outcomes["dropped"] = totals.dropped
    missing = totals.received - totals.committed - totals.dropped
    return DemoDocument(
        received=totals.received,
        committed=totals.committed,
        outcomes=outcomes,
        unaccounted=missing + totals.events_without_outcome,
        reconnects=max(0, totals.sessions - 1),
        requests_answered=totals.requests_answered,
        gaps=totals.gaps,
        balance_rows=totals.balance_rows,
        pair_rows=totals.pair_rows,
    )


def _show(running: Demo, stop: threading.Event, *, as_json: bool) -> None:
    if as_json:
        for _ in _turns(running, stop, _FRAME_SECONDS):
            pass
        return
    if not sys.stdout.isatty():
        for scene in _turns(running, stop, _PLAIN_LINE_SECONDS):
            click.echo(_line(scene))
        return
    from rich.live import Live  # noqa: PLC0415 - on a terminal only

    before = 0
    with Live(refresh_per_second=4, screen=False) as live:
        for scene in _turns(running, stop, _FRAME_SECONDS):
            live.update(_picture(scene, (scene.daemon.records - before) / _FRAME_SECONDS))
            before = scene.daemon.records


def _turns(running: Demo, stop: threading.Event, pause: float) -> Iterator[Scene]:
    while not stop.wait(pause):
        dead = running.dead()
        if dead is not None:
            raise Fatal(f"the {dead} thread has ended")
        yield running.scene()


def _line(scene: Scene) -> str:
    daemon = scene.daemon
    open_gaps = sum(gap.ended_at is None for gap in scene.gaps)
    return (
        f"link {daemon.link:<12} sequence {scene.sequence or 0:>7} (hub {scene.hub_sequence}) "
        f"records {daemon.records:>7} waiting {daemon.inbox_records:>4} open gaps {open_gaps}"
    )


def _picture(scene: Scene, per_second: float) -> "Group":
    from rich.console import Group  # noqa: PLC0415 - on a terminal only
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    daemon = scene.daemon
    colour = "green" if daemon.link == "up" else "red"
    head = Text.assemble(
        "link ",
        (daemon.link, f"bold {colour}"),
        f"  {daemon.connection_error or ''}\n",
        f"sequence {scene.sequence or 0} of {scene.hub_sequence} at the hub   "
        f"{per_second:.0f} records/s   {daemon.records} committed   {daemon.inbox_records} waiting\n",
        "outcomes " + ", ".join(f"{name} {count}" for name, count in sorted(daemon.outcomes.items())),
    )
    holdings = Table("asset", "available", "allocated", "certainty", title="report.balance_current")
    for holding in scene.holdings:
        holdings.add_row(holding.asset, f"{holding.available:f}", f"{holding.allocated:f}", holding.certainty)
    gaps = Table("opened", "kind", "cause", "ended", title="report.gap, newest first")
    for gap in scene.gaps:
        ended = "open" if gap.ended_at is None else gap.ended_at.strftime("%H:%M:%S")
        style = "bold red" if gap.ended_at is None else "green"
        gaps.add_row(gap.opened_at.strftime("%H:%M:%S"), gap.kind, gap.cause, Text(ended, style=style))
    return Group(head, holdings, gaps)
