"""The options of the link: address, key, deadlines and limits."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """Deadlines and pauses, in seconds."""

    negotiate_seconds: float = 10.0
    start_seconds: float = 10.0
    handshake_seconds: float = 15.0
    receive_seconds: float = 35.0
    """A link that was silent for longer is dead: a hub pings every 15 s."""
    ping_seconds: float = 10.0
    send_seconds: float = 10.0
    """For one message; if the hub accepts no bytes for so long, the link is down."""
    backoff_base_seconds: float = 1.0
    backoff_cap_seconds: float = 60.0
    refused_first_seconds: tuple[float, ...] = (5.0, 15.0, 60.0)
    """The first pauses after 401 or 403 for a key that has worked in this process."""
    refused_seconds: float = 300.0
    """The pause after 401 or 403 otherwise."""
    key_check_seconds: float = 1.0
    """How often the key is read during such a pause: a new one is tried at once."""
    healthy_seconds: float = 60.0
    """A session that lived this long resets the back-off."""
    answered_seconds: float = 5.0
    """So does one that lived this long and in which the hub answered a command."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes, in bytes."""

    message_bytes: int = 16 * 1024 * 1024
    record_bytes: int = 1024 * 1024
    head_bytes: int = 64 * 1024
    """What is kept of a message or record above its limit, beside its SHA-256."""


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Trusts this file's authorities instead of the system's, if there is one."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """The options of every attempt."""

    url: str
    key: Callable[[], str]
    """Read anew for each attempt, so that a rotated key needs no restart."""
    negotiation: str = "auto"
    """`always`, `never`, or `auto`: without, where the hub has no such page."""
    tls: ssl.SSLContext = field(default_factory=tls_context)
    timing: LinkTiming = LinkTiming()
    limits: LinkLimits = LinkLimits()
