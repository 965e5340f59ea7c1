"""The events decoded from hub records: immutable and exact.

Field sets follow the vendor's pages for `GetBalances` and `GetPairs`. Amounts are `Decimal` with the digits
of the wire; names are kept as received.

They are msgspec structs, which are fast to create: an event has many assets.
"""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class Asset(Struct, frozen=True, gc=False):
    """One asset of a balance snapshot. The exposure block is optional on the wire."""

    name: str
    available: Decimal
    allocated: Decimal
    current_exposure: Decimal | None = None
    max_exposure: Decimal | None = None


class BalanceSnapshot(Struct, frozen=True, gc=False):
    """`account.balances.snapshot`: the whole account as of `sequence`."""

    user_id: str
    sequence: int
    assets: tuple[Asset, ...]
    deleted: bool = False
    base_currency: str | None = None
    total_current_exposure: Decimal | None = None
    total_max_exposure: Decimal | None = None


class Pair(Struct, frozen=True, gc=False):
    """One tradable pair and its limits; sizes in base units, quote sizes in quote units."""

    name: str
    asset: str
    currency: str
    min_size: Decimal | None
    max_size: Decimal | None
    min_quote_size: Decimal | None = None
    max_quote_size: Decimal | None = None


class PairList(Struct, frozen=True, gc=False):
    """`execution.pairs`: all pairs; it has no sequence and no time of its own."""

    pairs: tuple[Pair, ...]


class HubError(Struct, frozen=True, gc=False):
    """`preChecksError` or any subject that ends in `error`: the hub refused a command."""

    message: str
    """Scrubbed of anything that looks like a credential."""


class Unhandled(Struct, frozen=True, gc=False):
    """A subject or hub target that is not stored as state. Its bytes are stored."""


class Reason(StrEnum):
    """Why an event was quarantined. Shown in `report`, so the words are part of the contract."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_A_HUB_MESSAGE = "not_a_hub_message"
    NOT_AN_ENVELOPE = "not_an_envelope"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    DUPLICATE_KEY = "duplicate_key"
    DUPLICATE_NAME = "duplicate_name"
    """The same asset or pair appears twice in one payload, so its amounts are ambiguous."""
    BAD_SEQUENCE = "bad_sequence"
    BAD_NUMBER = "bad_number"
    """NaN, an infinity, or more digits or exponent than the limits allow."""
    BAD_NAME = "bad_name"
    """Empty, too long, or not storable: NUL or a lone surrogate."""
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    """More assets, pairs or arguments than the limits allow."""
    REJECTED_BY_DATABASE = "rejected_by_database"


class Undecodable(Struct, frozen=True, gc=False):
    """An event that cannot be applied. Its bytes are stored; it does not change the state."""

    reason: Reason
    detail: str
    """Place and description of the fault: at most 300 characters, control characters escaped."""


Body = BalanceSnapshot | PairList | HubError | Unhandled | Undecodable


class Event(Struct, frozen=True, gc=False):
    """One element of a record's `arguments`; a record has at least one, even if it is unreadable."""

    position: int
    """0-based index in `arguments`; 0 for a record whose arguments could not be read."""
    subject: str | None
    """As received; None if there is none or it cannot be stored as text."""
    client_id: str | None
    """The envelope's `clientId`: the correlation id of the command it answers, if any."""
    body: Body
