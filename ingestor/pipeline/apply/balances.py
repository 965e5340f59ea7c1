"""Applies a balance snapshot: the decision on it, and what has changed in it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import compress
from operator import is_not

from msgspec.structs import astuple

from ingestor.domain.content import Content
from ingestor.domain.decision import Incoming, Outcome
from ingestor.domain.events import Asset, BalanceSnapshot
from ingestor.domain.sequencer import decide
from ingestor.domain.streams import EventKey, Kind, StreamKey, Watermark
from ingestor.pipeline.apply.decisions import record_decision
from ingestor.pipeline.apply.finding import Arrived, Finding
from ingestor.pipeline.apply.rules import Rules
from ingestor.pipeline.batch import Change
from ingestor.pipeline.rows import BalanceRow, ExposureRow, ExposureTotalRow
from ingestor.pipeline.state import Exposure, ExposureTotal, Holding, Stream

_GONE = Holding(Decimal(0), Decimal(0), reported=False)
_UNKNOWN = Exposure(None, None)


def apply_balances(
    key: StreamKey, stream: Stream, arrived: Arrived, snapshot: BalanceSnapshot, rules: Rules
) -> tuple[Stream, Finding, list[Change]]:
    """The stream after this snapshot, the finding, and the rows."""
    assets, changed, missing = _compared(stream, snapshot)
    request = arrived.answers(Kind.BALANCES)
    event = arrived.key
    incoming = Incoming(
        event,
        arrived.record.received_at,
        arrived.arrival,
        snapshot.sequence,
        Content(snapshot),
        snapshot.deleted,
        bool(missing) and _shrinks(stream, snapshot, missing, rules),
        None if request is None else request.arrival,
    )
    decision = decide(stream.state, incoming, rules.policy)
    finding, changes, base = record_decision(arrived, key, stream, incoming, decision)
    version = decision.state.watermark
    holdings, exposures, total = stream.holdings, stream.exposures, stream.exposure_total
    newest, observed_at = stream.assets, stream.observed_at
    is_new = version is not None and version.event is event
    if version is not None and (is_new or decision.outcome is Outcome.DUPLICATE):
        if is_new:
            newest = snapshot.assets
            if changed:
                holdings = {**holdings, **dict(changed)}
                changes += _balance_rows(snapshot.user_id, changed, version)
        observed_at = max(observed_at, version.confirmed_until)
        exposures, total = _exposures(changes, stream, snapshot, assets, missing, event, observed_at)
    after = Stream(decision.state, holdings, exposures, total, observed_at, assets=newest, base=base)
    return after, finding, changes


def _compared(
    stream: Stream, snapshot: BalanceSnapshot
) -> tuple[Sequence[Asset], list[tuple[str, Holding]], Collection[str]]:
    """The assets that may differ from the newest version; those that do, in order, with those that are no
    longer named; and the known ones that are not named.
    """
    before, assets = stream.assets, snapshot.assets
    changed: list[tuple[str, Holding]] = []
    if before and len(before) == len(assets):  # nearly always, with the same names
        read_anew = []
        # The decoder keeps an asset that has not changed, so most are the very same objects.
        for old, new in compress(zip(before, assets, strict=True), map(is_not, before, assets)):
            if old.name != new.name:
                break
            read_anew.append(new)
            if old.available != new.available or old.allocated != new.allocated:
                changed.append((new.name, Holding(new.available, new.allocated, True)))
        else:
            return read_anew, changed, ()
        changed = []
    known = stream.holdings
    for asset in assets:
        now = Holding(asset.available, asset.allocated, True)
        if known.get(asset.name) != now:
            changed.append((asset.name, now))
    missing = known.keys() - [asset.name for asset in assets]
    # Rule 13: an asset that is not named any more is zero from here on, and known to be unreported.
    changed += [(name, _GONE) for name in sorted(missing) if known[name].reported]
    return assets, changed, missing


def _shrinks(stream: Stream, snapshot: BalanceSnapshot, missing: Collection[str], rules: Rules) -> bool:
    """Whether no asset is left, or too few of those with an amount (rule 12)."""
    if not snapshot.assets:
        return any(held.reported for held in stream.holdings.values())
    funded = {name for name, held in stream.holdings.items() if held.available or held.allocated}
    return rules.loses_too_much(len(funded), len(funded.intersection(missing)))


def _balance_rows(user: str, changed: list[tuple[str, Holding]], version: Watermark) -> list[BalanceRow]:
    number, since = version.number, version.valid_from
    epoch, sequence, revision = number.epoch, number.sequence, number.revision
    return [
        BalanceRow(user, name, since, epoch, sequence, revision, now.available, now.allocated, now.reported)
        for name, now in changed
    ]


def _has_exposure(snapshot: BalanceSnapshot, assets: Sequence[Asset]) -> bool:
    if (
        snapshot.total_current_exposure is not None
        or snapshot.total_max_exposure is not None
        or snapshot.base_currency is not None
    ):
        return True
    for asset in assets:  # noqa: SIM110 - `any` would make a generator for each event
        if asset.current_exposure is not None or asset.max_exposure is not None:
            return True
    return False


def _exposures(
    changes: list[Change],
    stream: Stream,
    snapshot: BalanceSnapshot,
    assets: Sequence[Asset],
    missing: Collection[str],
    event: EventKey,
    observed_at: datetime,
) -> tuple[Mapping[str, Exposure], ExposureTotal | None]:
    """Exposure moves with prices, so it is recorded as observed, whether or not the sequence moved."""
    known, total = stream.exposures, stream.exposure_total
    # Where none was ever reported, the assets that have not moved have none.
    reports = _has_exposure(snapshot, assets if total is None else snapshot.assets)
    if not reports and not missing:
        return known, total  # nearly all of them
    # An asset that is not named any more has none, even if the optional block is not there for the others.
    moved = [(name, _UNKNOWN) for name in sorted(missing) if known.get(name, _UNKNOWN) != _UNKNOWN]
    if reports:
        for asset in snapshot.assets:
            now = Exposure(asset.current_exposure, asset.max_exposure)
            if known.get(asset.name, _UNKNOWN) != now:
                moved.append((asset.name, now))
        total = ExposureTotal(
            snapshot.base_currency, snapshot.total_current_exposure, snapshot.total_max_exposure
        )
    place = (observed_at, event.session, event.ordinal, event.position)
    user = snapshot.user_id
    changes.extend(ExposureRow(user, name, *place, now.current, now.maximum) for name, now in moved)
    if total is not None and total != stream.exposure_total:
        changes.append(ExposureTotalRow(user, *place, *astuple(total)))
    return ({**known, **dict(moved)} if moved else known), total
