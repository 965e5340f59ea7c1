"""Applies a pair list: the decision on it, and what has changed in it."""

from ingestor.domain.content import Content
from ingestor.domain.decision import Incoming
from ingestor.domain.events import PairList
from ingestor.domain.sequencer import decide_by_arrival
from ingestor.domain.streams import Kind, StreamKey, Watermark
from ingestor.pipeline.apply.decisions import record_decision
from ingestor.pipeline.apply.finding import Arrived, Finding
from ingestor.pipeline.apply.rules import Rules
from ingestor.pipeline.batch import Change
from ingestor.pipeline.rows import PairRow
from ingestor.pipeline.state import Stream


def apply_pairs(
    key: StreamKey, stream: Stream, arrived: Arrived, listing: PairList, rules: Rules
) -> tuple[Stream, Finding, list[Change]]:
    """The stream after this list, the finding, and the rows."""
    present = {pair.name for pair in listing.pairs}
    request = arrived.answers(Kind.PAIRS)
    incoming = Incoming(
        arrived.key,
        arrived.record.received_at,
        arrived.arrival,
        0,
        Content(listing),
        False,
        rules.loses_too_much(len(stream.pairs), sum(name not in present for name in stream.pairs)),
        None if request is None else request.arrival,
    )
    decision = decide_by_arrival(stream.state, incoming)
    finding, changes, base = record_decision(arrived, key, stream, incoming, decision)
    version = decision.state.watermark
    pairs = stream.pairs
    if version is not None and version.event is incoming.key:
        changes += _changed(stream, listing, version)
        pairs = {pair.name: pair for pair in listing.pairs}
    return Stream(decision.state, pairs=pairs, base=base), finding, changes


def _changed(stream: Stream, listing: PairList, version: Watermark) -> list[PairRow]:
    """A row for each pair that is new, has other limits, or is no longer listed."""
    changed = [(pair, True) for pair in listing.pairs if stream.pairs.get(pair.name) != pair]
    listed = {pair.name for pair in listing.pairs}
    changed += [(pair, False) for name, pair in stream.pairs.items() if name not in listed]
    number = version.number
    return [
        PairRow(
            pair.name,
            version.valid_from,
            number.epoch,
            number.sequence,
            number.revision,
            pair.asset,
            pair.currency,
            pair.min_size,
            pair.max_size,
            pair.min_quote_size,
            pair.max_quote_size,
            is_listed,
        )
        for pair, is_listed in changed
    ]
