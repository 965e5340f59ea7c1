"""`ingestor demo`: the daemon between a simulated hub and a private Postgres, on screen."""

import os
import sys
import threading
from collections.abc import Callable, Iterator

import click

from ingestor import logs
from ingestor.app.demo import Demo, InjectedFault, Scene, demo
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option
from ingestor.cli.signals import stop_on_signals
from ingestor.domain.errors import Fatal

_FRAME_SECONDS = 0.5
_FRAMES_A_STATE_LINE = 10
_WIDTH = 80


@click.command("demo")
@click.option("--for", "seconds", type=click.FloatRange(min=2), help="Run for this many seconds, then stop.")
@json_option("Print only one JSON document, at the end.")
@click.option(
    "--rate", type=click.FloatRange(0), default=20.0, show_default=True, help="Account changes per second."
)
@click.option("--seed", default=1, show_default=True, help="Seed of the faults and their times.")
@click.pass_obj
def demo_command(invocation: Invocation, *, seconds: float | None, rate: float, seed: int) -> int:
    """Run a demonstration: private Postgres, simulated hub with faults, and the real daemon.

    Exits with 1 if a record is unaccounted for.
    """
    live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    logs.configure(level="error")
    stop = invocation.stop
    echo = (lambda _: None) if invocation.as_json else click.echo
    with stop_on_signals(stop):
        echo("starting a private Postgres, a simulated hub, and the daemon between them")
        with demo(rate=rate, seed=seed, seconds=seconds, stop=stop) as running:
            if seconds is not None:
                timer = threading.Timer(seconds, stop.set)
                timer.daemon = True
                timer.start()
            scenes = _scenes(running, stop)
            if live and not invocation.as_json:
                _draw_scenes(scenes)
            else:
                _print_scenes(scenes, echo)
            echo("no more faults: waiting until all are healed")
            ending = running.finish()
    from ingestor.cli.demo_screen import summary  # noqa: PLC0415 - rich, where something is drawn only

    invocation.answer(ending.totals, summary(ending))
    return Exit.OK if ending.totals.unaccounted == 0 else Exit.PROBLEMS


def _scenes(running: Demo, stop: threading.Event) -> Iterator[Scene]:
    while not stop.wait(_FRAME_SECONDS):
        dead = running.dead()
        if dead is not None:
            raise Fatal(f"the {dead} thread has ended")
        yield running.scene()


def _draw_scenes(scenes: Iterator[Scene]) -> None:
    from rich.live import Live  # noqa: PLC0415 - on a terminal only

    from ingestor.cli.demo_screen import DemoScreen  # noqa: PLC0415 - the same

    with Live(screen=True, auto_refresh=False) as live:
        screen = DemoScreen()
        for scene in scenes:
            live.update(screen.draw(scene, live.console.height), refresh=True)


def _print_scenes(scenes: Iterator[Scene], echo: Callable[[str], object]) -> None:
    """A line for each fault, for each that is healed, and for the state every few seconds."""
    known = 0
    open_faults: list[InjectedFault] = []
    for number, scene in enumerate(scenes):
        now = f"{scene.daemon.at:%H:%M:%S}"
        for fault in scene.faults[known:]:
            echo(f"{fault.at:%H:%M:%S} fault   {fault.name}")
        open_faults += scene.faults[known:]
        known = len(scene.faults)
        for fault in [each for each in open_faults if each.healed_by]:
            echo(f"{now} healed  {fault.name}: {fault.healed_by} ({fault.seconds:.2f} s)")
            open_faults.remove(fault)
        if number % _FRAMES_A_STATE_LINE == 0:
            state = f"{now} state   {scene.daemon.status}"
            while len(state) > _WIDTH:
                state = state.rpartition(" · ")[0]
            echo(state)
