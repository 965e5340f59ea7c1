"""`ingestor hub`: the simulated hub as a process of its own, for tests, training and trying things out."""

import errno
import signal
import threading
from pathlib import Path

import click

from ingestor import logs
from ingestor.cli.exits import Exit
from ingestor.domain.errors import BadConfiguration


@click.command("hub")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5080,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option("--rate", default=2.0, show_default=True, help="Account changes per second.")
@click.option("--seed", default=1, show_default=True, help="Of all that happens by chance.")
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), help="Write what is sent here.")
@click.option("--misbehave", is_flag=True, help="Now and then drop, delay, cut or restart.")
@click.option("--quiet-account", is_flag=True, help="Push nothing: the account is seen by asking only.")
def hub(
    *, port: int, rate: float, seed: int, journal: Path | None, misbehave: bool, quiet_account: bool
) -> int:
    """Serve a simulated hub on loopback until interrupted."""
    try:
        from ingestor.simulator import HubConfig, SimulatedHub, serve  # noqa: PLC0415 - needs the demo extra
    except ImportError as error:
        raise BadConfiguration(
            f"the simulated hub is not installed\nwhy: {error}\nfix: pip install 'hercle-ingestor[demo]'"
        ) from error
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def tell(running: SimulatedHub) -> None:
        click.echo(f"hub   {running.url}")
        click.echo(f"key   {running.config.api_key}")
        click.echo("use   INGESTOR_HUB__ENVIRONMENT=custom INGESTOR_HUB__URL and HERCLE_API_KEY as above")

    config = HubConfig(
        port=port,
        seed=seed,
        changes_per_second=rate,
        pair_change_interval_s=30.0,
        journal_path=journal,
        push_balances=not quiet_account,
        misbehave=misbehave,
    )
    try:
        serve(config, stop, tell)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise BadConfiguration(
            f"port {port} on 127.0.0.1 is taken\n"
            "why: another program listens there, perhaps another simulated hub\n"
            "fix: stop that one, or choose another port; --port 0 takes a free one"
        ) from error
    return Exit.OK
