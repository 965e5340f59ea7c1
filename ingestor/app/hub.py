"""Creates the link to the hub from the settings, for the daemon and for `ingestor check`."""

import random
from collections.abc import Callable

from ingestor.adapters.hub.link import HubLink
from ingestor.adapters.hub.options import LinkLimits, LinkOptions, LinkTiming, tls_context
from ingestor.config import Settings
from ingestor.logs import register_secret
from ingestor.pipeline.ports import Clock, LinkListener


def hub_link(settings: Settings, key: Callable[[], str], listener: LinkListener, clock: Clock) -> HubLink:
    """The link, not started yet. The key that `key` returns is masked in all log lines from then on."""
    hub = settings.hub
    options = LinkOptions(
        url=hub.address,
        key=lambda: register_secret(key()),
        negotiation=hub.negotiate.value,
        tls=tls_context(hub.ca_file),
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
    )
    return HubLink(options, listener, clock, random.SystemRandom())
