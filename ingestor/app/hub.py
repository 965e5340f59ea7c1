"""The link to the hub, as the settings have it: the daemon's own and that of `ingestor check`."""

import random
from collections.abc import Callable

from ingestor.adapters.hub.link import HubLink, LinkLimits, LinkTiming
from ingestor.config import Settings
from ingestor.logs import register_secret
from ingestor.pipeline.ports import Clock, LinkListener


def hub_link(settings: Settings, key: Callable[[], str], listener: LinkListener, clock: Clock) -> HubLink:
    """Not started. What `key` gives can be read in no log line from then on."""
    hub = settings.hub
    return HubLink(
        url=hub.address,
        key=lambda: register_secret(key()),
        listener=listener,
        clock=clock,
        timing=LinkTiming(
            negotiate_seconds=hub.negotiate_deadline_seconds,
            start_seconds=hub.start_deadline_seconds,
            handshake_seconds=hub.handshake_deadline_seconds,
            receive_seconds=hub.receive_deadline_seconds,
            ping_seconds=hub.ping_interval_seconds,
            backoff_cap_seconds=hub.backoff_cap_seconds,
            refused_seconds=hub.refused_interval_seconds,
            healthy_seconds=hub.healthy_after_seconds,
        ),
        limits=LinkLimits(hub.max_message_bytes, hub.max_record_bytes),
        rng=random.SystemRandom(),
        negotiation=hub.negotiate.value,
        ca_file=hub.ca_file,
    )
