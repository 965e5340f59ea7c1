"""The quick reading of one balance event, and the checks that it equals the exact one.

msgspec fills structs in C, with exact decimals, strict types and strict UTF-8. Some things it does not tell:
that a key stood twice, that a field was unknown (whose inside it skips without a look), and that an amount
stood in quotes, where `Decimal` takes more than JSON does. Counting tells:

* each key, and each string that we got back, has two quotes of its own. So the bytes hold at least as many as
  the known (and not null) members that we got back need. If they hold exactly as many, there was no unknown
  member, no second one, and no quoted amount.
* around a `data` that is a string, quotes can be escaped in two ways; there the colons are counted: one for
  each member, and those inside the string.
* the ids are most often hexadecimal, so a digit before an `e` is no rarity in them. If there are no more of
  those in the bytes than in the ids, no number has an exponent.

Escapes would spoil the sums (`\\u003a` is a colon that does not count), so where they stand we give up.
Giving up is always right: then `exact` reads the record.
"""

import re
from decimal import Decimal
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, json
from msgspec import DecodeError as JsonError

from ingestor.domain.decode.exact_reader import correlation
from ingestor.domain.events import Asset, BalanceSnapshot, Event
from ingestor.domain.limits import MAX_SEQUENCE, Limits


class _Account(Struct, gc=False, rename="camel"):
    user_id: str
    sequence: int
    assets: tuple[Asset, ...]
    deleted: bool | UnsetType = UNSET
    base_currency: str | UnsetType = UNSET
    total_current_exposure: Decimal | UnsetType = UNSET
    total_max_exposure: Decimal | UnsetType = UNSET


class _Envelope(Struct, gc=False, rename="camel"):
    channel: str
    topic: str
    subject: Literal["account.balances.snapshot"]
    type: str
    data: str | _Account
    client_id: str | UnsetType | None = UNSET


class _Record(Struct, gc=False):
    type: Literal[1]
    target: Literal["executionEvents"]
    arguments: tuple[_Envelope]


_RECORD = json.Decoder(_Record)
_ACCOUNT = json.Decoder(_Account)

_FORM = bytes.maketrans(b"123456789.E", b"0000000000e")
"""Shows only the form of numbers: digits and points as `0`, so that a long one is a long run of zeros."""

_MINUS_ZERO = re.compile(rb"-0[\s,}]")
"""msgspec reads it as an integer first, and so loses its sign."""


class _Read(Struct, frozen=True, gc=False):
    """What a `data` that was a string came to."""

    data: str
    quotes: int
    colons: int
    limits: Limits
    snapshot: BalanceSnapshot


_last: _Read | None = None
"""An idle account that is polled says the same again and again: that is read once."""


def balance_event(raw: bytes, limits: Limits) -> Event | None:
    """The one event of `raw`, if `raw` is a plain balance event; None if it is anything else or may be."""
    try:
        envelope = _RECORD.decode(raw).arguments[0]
        data = envelope.data
        snapshot = (
            _inside(raw, envelope, data, limits)
            if isinstance(data, str)
            else _snapshot(data, raw, envelope, limits)
        )
    except (JsonError, UnicodeDecodeError, RecursionError):
        return None
    if snapshot is None:
        return None
    client = envelope.client_id
    return Event(0, envelope.subject, None if client is None else correlation(client, limits), snapshot)


def _inside(raw: bytes, envelope: _Envelope, data: str, limits: Limits) -> BalanceSnapshot | None:
    """Of a `data` that is a string; the envelope around it is proven too."""
    global _last  # noqa: PLW0603 - a memory of one, and no more: whoever finds it changed has read anew
    members = 8 if envelope.client_id is UNSET else 9  # three of the record, five or six of the envelope
    last = _last
    if last is not None and last.data != data:
        last = None
    quotes = data.count('"') if last is None else last.quotes
    colons = data.count(":") if last is None else last.colons
    # Each quote inside was escaped. As many escapes, and no more: then no colon is one.
    if raw.count(b"\\") != quotes or raw.count(b":") != members + colons:
        return None
    if last is not None and last.limits is limits:
        return last.snapshot
    text = data.encode()
    snapshot = _snapshot(_ACCOUNT.decode(text), text, None, limits)
    if snapshot is not None:
        _last = _Read(data, quotes, colons, limits, snapshot)
    return snapshot


def _snapshot(
    account: _Account, text: bytes, envelope: _Envelope | None, limits: Limits
) -> BalanceSnapshot | None:
    """What `account` says, if that is all that `text` says, apart from the envelope around it, if any."""
    if (
        b"\\" in text
        or not text.isascii()
        or not _is_complete(account, text, envelope)
        or not _has_plain_numbers(account, text, envelope, limits)
        or not _is_within(account, limits)
    ):
        return None
    base, current, most = account.base_currency, account.total_current_exposure, account.total_max_exposure
    return BalanceSnapshot(
        account.user_id,
        account.sequence,
        account.assets,
        account.deleted is True,
        None if base is UNSET else base,
        None if current is UNSET else current,
        None if most is UNSET else most,
    )


def _is_complete(account: _Account, text: bytes, envelope: _Envelope | None) -> bool:
    """Whether each quote in `text` belongs to a member or a string that we know of."""
    named = account.base_currency is not UNSET
    members = 3 + 3 * len(account.assets) + (account.deleted is not UNSET) + named
    members += (account.total_current_exposure is not UNSET) + (account.total_max_exposure is not UNSET)
    strings = 1 + len(account.assets) + named
    if envelope is not None:
        members += 8 if envelope.client_id is UNSET else 9
        strings += 5 + isinstance(envelope.client_id, str)  # target, channel, topic, subject, type, clientId
    unexplained = text.count(b'"') - 2 * (members + strings)
    return unexplained == 0 or unexplained == 2 * sum(
        (each.current_exposure is not None) + (each.max_exposure is not None) for each in account.assets
    )


def _has_plain_numbers(account: _Account, text: bytes, envelope: _Envelope | None, limits: Limits) -> bool:
    """No exponent, no minus zero, none so long that it may be above a limit; nor names that look like it."""
    form = text.translate(_FORM)
    if b"0e" in form:
        client = None if envelope is None else envelope.client_id
        ids = f'{account.user_id}"{client}' if isinstance(client, str) else account.user_id
        if form.count(b"0e") != ids.encode().translate(_FORM).count(b"0e"):
            return False
    if text.count(b"-") != account.user_id.count("-") and _MINUS_ZERO.search(text):
        return False
    return b"0" * (min(limits.digits, limits.exponent) + 1) not in form


def _is_within(account: _Account, limits: Limits) -> bool:
    """Sizes and names; the text is plain ASCII here, so characters are bytes, and all are storable."""
    assets = account.assets
    names = {each.name for each in assets}
    return (
        0 <= account.sequence <= MAX_SEQUENCE
        and 0 < len(account.user_id) <= limits.user_id_bytes
        and len(names) == len(assets) <= limits.assets
        and "" not in names
        and max(map(len, names), default=0) <= limits.name_bytes
        and (account.base_currency is UNSET or 0 < len(account.base_currency) <= limits.name_bytes)
    )
