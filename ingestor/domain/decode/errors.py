"""How a reader of a record fails: a `DecodeError` inside `decode`, an `Undecodable` event outside."""

from ingestor.domain.events import Reason, Undecodable
from ingestor.domain.scrub import printable

_DETAIL_CHARS = 300
_SHOWN_CHARS = 40


class DecodeError(Exception):
    """What was read so far cannot become state. Never leaves `decode`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def inside(self, place: str) -> "DecodeError":
        """The same error, seen from further out."""
        return DecodeError(self.reason, f"{place} {self.detail}")

    def undecodable(self) -> Undecodable:
        """The event that a record becomes which cannot be read further."""
        return Undecodable(self.reason, printable(self.detail, _DETAIL_CHARS))


def shown(name: str) -> str:
    """A foreign name, short and harmless enough to stand in a detail."""
    return printable(name, _SHOWN_CHARS)
