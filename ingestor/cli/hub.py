"""`ingestor hub`: the simulated hub as a process of its own, for tests, training and trials."""

import errno
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestor import logs
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation
from ingestor.cli.signals import stop_on_signals
from ingestor.domain.errors import BadConfiguration

if TYPE_CHECKING:
    from ingestor.simulator import Fault

_COUNT = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0, min_open=True)
_NUMBERS = {"seconds": float, "count": int, "status": int, "code": int, "sequence": int}
_FAULT_HELP = (
    "A fault at this many seconds after the start, e.g. '10:command_silence seconds=5', '20:sequence_reset', "
    "'30:handshake_error error=\"bad key {key}\"'; ingestor.simulator.Fault lists them all. Repeatable."
)


@click.command("hub")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5080,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--rate",
    "changes_per_second",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Account changes per second.",
)
@click.option(
    "--seed", default=1, show_default=True, help="Seed of the account's changes and of random faults."
)
@click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for all messages sent.",
)
@click.option("--misbehave", is_flag=True, help="Drop, delay, cut or restart at random times.")
@click.option("--quiet-account", is_flag=True, help="Push nothing; only answer requests.")
@click.option(
    "--step", "sequence_step", type=_COUNT, help="Difference between two sequence numbers; 1 by default."
)
@click.option("--random-step", "sequence_step_random", type=_COUNT, help="Random differences from 1 to this.")
@click.option(
    "--answer-lag", "answer_lag_seconds", type=_SECONDS, help="Send answers this many seconds late."
)
@click.option(
    "--answers-in",
    type=click.Choice(["event", "completion", "both"]),
    default="event",
    show_default=True,
    help="What carries an answer: an event, the Completion's result, or both.",
)
@click.option("--answer-bytes", type=_COUNT, help="Pad answers to at least this size.")
@click.option("--empty-account", is_flag=True, help="No assets and no pairs.")
@click.option("--null-lists", is_flag=True, help="Write empty lists as null.")
@click.option("--ping-interval", "ping_interval_s", type=_SECONDS, help="Seconds of silence before a ping.")
@click.option(
    "--client-timeout",
    "client_timeout_s",
    type=_SECONDS,
    help="Close clients that are silent for this many seconds.",
)
@click.option("--fault", "faults", multiple=True, metavar="SECONDS:FAULT", help=_FAULT_HELP)
@click.pass_obj
def hub(
    invocation: Invocation,
    /,
    *,
    quiet_account: bool,
    answers_in: str,
    faults: tuple[str, ...],
    **switches: Any,
) -> int:
    """Serve a simulated hub on loopback until interrupted."""
    from ingestor.simulator import AnswersIn, HubConfig, SimulatedHub  # noqa: PLC0415 - needs the demo extra

    config = HubConfig(
        pair_change_interval_s=30.0,
        push_balances=not quiet_account,
        answers_in=AnswersIn(answers_in),
        schedule=tuple(map(_scheduled, faults)),
        **{name: value for name, value in switches.items() if value is not None},
    )
    logs.configure()
    try:
        with stop_on_signals(invocation.stop), SimulatedHub(config) as running:
            click.echo(f"hub   {running.url}")
            click.echo(f"key   {config.api_key}")
            click.echo("use   INGESTOR_HUB__ENVIRONMENT=custom INGESTOR_HUB__URL and HERCLE_API_KEY as above")
            invocation.stop.wait()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise BadConfiguration(
            f"port {config.port} on 127.0.0.1 is in use\n"
            "why: another program listens there, perhaps another simulated hub\n"
            "fix: stop that one, or choose another port; --port 0 takes a free one"
        ) from error
    return Exit.OK


def _scheduled(text: str) -> "tuple[float, Fault, dict[str, Any]]":
    """`SECONDS:FAULT [NAME=VALUE …]` as HubConfig.schedule has it."""
    from ingestor.simulator import Fault, FaultSpec  # noqa: PLC0415 - needs the demo extra

    try:
        head, *rest = shlex.split(text)
        seconds, _, name = head.partition(":")
        pairs = (pair.partition("=") for pair in rest)
        parameters = {key: _NUMBERS.get(key, str)(value) for key, _, value in pairs}
        return float(seconds), FaultSpec(Fault(name), **parameters).fault, parameters
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--fault") from error
