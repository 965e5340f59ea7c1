"""Failures of decoding: a `DecodeError` within this package, an `Undecodable` event outside."""

from ingestor.domain.events import Reason, Undecodable
from ingestor.domain.scrub import printable

_DETAIL_CHARS = 300
_SHOWN_CHARS = 40


class DecodeError(Exception):
    """The event cannot be decoded. Not raised outside of `decode`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def inside(self, place: str) -> "DecodeError":
        """The same error, with the place around it."""
        return DecodeError(self.reason, f"{place} {self.detail}")

    def undecodable(self) -> Undecodable:
        """The event for what could not be decoded."""
        return Undecodable(self.reason, printable(self.detail, _DETAIL_CHARS))


def shown(name: str) -> str:
    """A foreign name, shortened and escaped for a detail."""
    return printable(name, _SHOWN_CHARS)
