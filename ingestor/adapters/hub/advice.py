"""What an operator can do about a failed attempt. One HTTP status means different things at each step."""

from ingestor.adapters.hub.causes import LinkCause, LinkFailure, Step

_MAINTENANCE = "the hub has maintenance on Wednesday mornings, UTC"
_NOT_HUB = (
    "something before the hub answers (a proxy, a firewall, or a block of this machine's address): "
    "check hub.url and the network path"
)
_BY_CAUSE: dict[str, str] = {
    LinkCause.DNS: "the name of the host is unknown: check hub.url and this machine's DNS",
    LinkCause.TLS: "the certificate is not trusted: check the clock, hub.url and hub.ca_file",
    LinkCause.NO_KEY: "the key cannot be read: see the line `key` of `ingestor check`",
    LinkCause.REFUSED: f"nobody listens at this address: check hub.url; {_MAINTENANCE}",
    LinkCause.NO_WEBSOCKETS: "this software speaks WebSockets only: check hub.url, or ask Hercle",
    LinkCause.NEGOTIATE_ERROR: "the hub does not accept the connection, for the reason that it gives",
    LinkCause.REDIRECT: "set hub.url to the address that the hub has moved to",
    LinkCause.NOT_JSON: f"what answers is not a SignalR hub: check hub.url; {_MAINTENANCE}",
    LinkCause.UPGRADE_REFUSED: "what answers is not a WebSocket server: check hub.url, and that a proxy "
    "before the hub passes `Upgrade` and `Connection` on",
    LinkCause.HANDSHAKE_ERROR: "the hub does not accept the SignalR handshake, for the reason that it gives",
}
_BY_STATUS: dict[int | tuple[int, Step], str] = {
    401: "the hub refuses the key: check that it belongs to hub.environment and has not expired",
    403: "the key may not open this hub: check its permissions and your KYC state",
    404: "there is no hub at this address: check hub.url or hub.environment",
    (404, Step.NEGOTIATE): "the hub has no negotiate page here: check hub.url, or set hub.negotiate to auto",
    (405, Step.NEGOTIATE): "this address takes no negotiate request: check hub.url",
    (
        404,
        Step.UPGRADE_WITH_TOKEN,
    ): "the hub does not know the connection that it has just negotiated: a load "
    "balancer sends the two requests to different servers, and must keep them together",
    429: "the hub limits connections or requests: see that nothing else connects with this key; the daemon "
    "tries again by itself",
}


def advice(failure: LinkFailure) -> str:
    """One sentence, without the hub's own words."""
    if failure.before_hub:
        return _NOT_HUB
    if not failure.cause.startswith("http_"):
        return _BY_CAUSE.get(failure.cause, f"check the network path; {_MAINTENANCE}")
    status, step = int(failure.cause.removeprefix("http_")), failure.step
    known = _BY_STATUS.get((status, step)) if step else None
    known = known or _BY_STATUS.get(status)
    if known is None and status >= 500:
        known = f"the hub, or a gateway before it, fails; the daemon tries again by itself ({_MAINTENANCE})"
    elif known is None and step is Step.NEGOTIATE:
        known = "the hub does not understand the negotiate request: check hub.url"
    return known or (
        "the address answers as a web server and opens no WebSocket: check that a proxy before the hub "
        "passes `Upgrade` and `Connection` on"
    )
