"""How the readers of a record say no: an exception on the inside of `decode`, a `Rejected` on its outside."""

from ingestor.domain.events import Reason, Rejected
from ingestor.domain.scrub import printable

_DETAIL_CHARS = 300
_SHOWN_CHARS = 40


class Refused(Exception):
    """What was read so far cannot become state. Never leaves `decode`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def inside(self, place: str) -> "Refused":
        """The same refusal, seen from further out."""
        return Refused(self.reason, f"{place} {self.detail}")

    def rejected(self) -> Rejected:
        return Rejected(self.reason, printable(self.detail, _DETAIL_CHARS))


def shown(name: str) -> str:
    """A foreign name, short and harmless enough to stand in a detail."""
    return printable(name, _SHOWN_CHARS)
