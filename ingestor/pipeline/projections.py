"""Rows for the tables that people report from: what changed between one version and the next."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec.structs import astuple, replace

from ingestor.domain.decision import Decision, Offer, Outcome
from ingestor.domain.events import BalanceSnapshot, PairList
from ingestor.domain.streams import EventKey, Watermark
from ingestor.pipeline.batch import BalanceRow, Batch, ExposureRow, ExposureTotalRow, PairRow
from ingestor.pipeline.books import Exposure, ExposureTotal, Holding, Stream

_GONE = Holding(Decimal(0), Decimal(0), reported=False)
_UNKNOWN = Exposure(None, None)


def project_balances(
    batch: Batch,
    stream: Stream,
    snapshot: BalanceSnapshot,
    missing: Collection[str],
    offer: Offer,
    decision: Decision,
) -> Stream:
    """Add the rows by which this snapshot differs from the stream's content; returns the new content.

    Args:
        missing: the held assets that the snapshot does not name.
    """
    version = decision.state.watermark
    if version is not None and version.event == offer.key:
        stream = replace(stream, holdings=_holdings(batch, stream.holdings, snapshot, missing, version))
    elif decision.outcome is not Outcome.DUPLICATE:
        return stream
    # The watermark's time never steps back, and at this point the snapshot has just set or confirmed it.
    observed_at = offer.received_at if version is None else version.confirmed_until
    return _exposures(batch, stream, snapshot, missing, offer.key, observed_at)


def _holdings(
    batch: Batch,
    held: Mapping[str, Holding],
    snapshot: BalanceSnapshot,
    missing: Collection[str],
    version: Watermark,
) -> dict[str, Holding]:
    holdings = dict(held)
    changed: list[tuple[str, Holding]] = []
    for asset in snapshot.assets:
        now = Holding(asset.available, asset.allocated, True)
        if holdings.get(asset.name) != now:
            changed.append((asset.name, now))
    # Rule 16: an asset that is not named any more is zero from here on, and known to be unreported.
    changed.extend((name, _GONE) for name in sorted(missing) if holdings[name].reported)
    mark = version.mark
    for name, now in changed:
        holdings[name] = now
        batch.balances.append(
            BalanceRow(
                snapshot.user_id,
                name,
                version.valid_from,
                mark.epoch,
                mark.sequence,
                mark.revision,
                now.available,
                now.allocated,
                now.reported,
            )
        )
    return holdings


def _tells_exposure(snapshot: BalanceSnapshot) -> bool:
    if (
        snapshot.total_current_exposure is not None
        or snapshot.total_max_exposure is not None
        or snapshot.base_currency is not None
    ):
        return True
    for asset in snapshot.assets:  # `any` would make a generator for each event
        if asset.current_exposure is not None or asset.max_exposure is not None:
            return True
    return False


def _exposures(
    batch: Batch,
    stream: Stream,
    snapshot: BalanceSnapshot,
    missing: Collection[str],
    key: EventKey,
    observed_at: datetime,
) -> Stream:
    """Exposure moves with prices, so it is recorded as observed, whether or not the sequence moved."""
    tells = _tells_exposure(snapshot)
    if not tells and not missing:
        return stream  # nearly all of them
    known = stream.exposures
    # An asset that is not named any more has none, even if the optional block is not there for the others.
    moved = [(name, _UNKNOWN) for name in sorted(missing) if known.get(name, _UNKNOWN) != _UNKNOWN]
    total = stream.exposure_total
    if tells:
        for asset in snapshot.assets:
            now = Exposure(asset.current_exposure, asset.max_exposure)
            if known.get(asset.name, _UNKNOWN) != now:
                moved.append((asset.name, now))
        total = ExposureTotal(
            snapshot.base_currency, snapshot.total_current_exposure, snapshot.total_max_exposure
        )
    for name, now in moved:
        batch.exposures.append(ExposureRow(snapshot.user_id, name, observed_at, *astuple(key), *astuple(now)))
    if total is not None and total != stream.exposure_total:
        batch.exposure_totals.append(
            ExposureTotalRow(snapshot.user_id, observed_at, *astuple(key), *astuple(total))
        )
    elif not moved:
        return stream
    return replace(stream, exposures={**known, **dict(moved)}, exposure_total=total)


def project_pairs(
    batch: Batch, stream: Stream, listing: PairList, offer: Offer, decision: Decision
) -> Stream:
    """Add the rows by which this list differs from the stream's content; returns the new content."""
    version = decision.state.watermark
    if version is None or version.event != offer.key:
        return stream
    listed = {pair.name: pair for pair in listing.pairs}
    unlisted = [pair for name, pair in stream.pairs.items() if name not in listed]
    changed = [(pair, True) for pair in listing.pairs if stream.pairs.get(pair.name) != pair]
    for pair, is_listed in (*changed, *((pair, False) for pair in unlisted)):
        batch.pairs.append(
            PairRow(
                pair.name,
                version.valid_from,
                version.mark.epoch,
                version.mark.sequence,
                version.mark.revision,
                pair.asset,
                pair.currency,
                pair.min_size,
                pair.max_size,
                pair.min_quote_size,
                pair.max_quote_size,
                is_listed,
            )
        )
    return replace(stream, pairs=listed)
