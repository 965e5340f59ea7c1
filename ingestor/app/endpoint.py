"""The pages of a running daemon on loopback: `/metrics`, `/health/live` and `/health/ready`."""

from collections.abc import Callable, Iterable

from ingestor.adapters.loopback_http import LoopbackServer, Page
from ingestor.app.daemon_status import DaemonStatus, not_live
from ingestor.app.health import not_ready
from ingestor.pipeline.ports import Clock


def metrics_server(
    listen: str | None, daemon_status: Callable[[], DaemonStatus], clock: Clock
) -> LoopbackServer | None:
    """The server, not started yet; None without an address.

    Args:
        listen: `host:port`, as in `metrics.listen`.
        daemon_status: returns the present state of the daemon.
    """
    if listen is None:
        return None
    from ingestor.app import metrics  # noqa: PLC0415 - the library is only for those who use it

    host, _, port = listen.rpartition(":")

    def ready(_: str) -> Page:
        reasons = not_ready(daemon_status())
        return _health("ready", (f"{name}: {text}" for name, text in reasons.items()))

    pages = {
        "GET /metrics": lambda _: Page(200, metrics.page(daemon_status), metrics.CONTENT_TYPE),
        "GET /health/live": lambda _: _health("live", not_live(daemon_status())),
        "GET /health/ready": ready,
    }
    return LoopbackServer(host.strip("[]"), int(port), pages, clock)


def _health(name: str, troubles: Iterable[str]) -> Page:
    """200 or 503, with a line for each reason."""
    lines = list(troubles)
    text = "\n".join([f"not {name}", *lines] if lines else [name])
    return Page(503 if lines else 200, f"{text}\n".encode())
