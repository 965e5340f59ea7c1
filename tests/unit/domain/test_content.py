"""Digests that are stored must not change by accident, and zeros of any make are one zero."""

from decimal import Decimal

import pytest

from ingestor.domain.content import Content, balance_content, pairs_content
from ingestor.domain.events import Asset, BalanceSnapshot, Pair, PairList


def of(*amounts: str, deleted: bool = False) -> bytes:
    assets = tuple(Asset(f"A{at}", Decimal(text), Decimal("0.50")) for at, text in enumerate(amounts))
    return balance_content(BalanceSnapshot("u", 1, assets, deleted))


@pytest.mark.parametrize(
    "spellings",
    [
        ["0", "-0", "0.00", "-0.0", "0E+7", "0E-40"],
        ["0.5", "0.50", "5E-1", "0.005E2"],
        ["100", "1E2", "1E+2", "100.000", "0.1E3"],
        ["-1200000", "-1200000.0", "-1.2E6"],
        ["0.0000000010", "1E-9"],
        ["9" * 40, "9" * 40 + ".0"],
    ],
)
def test_one_value_has_one_content_however_it_is_written(spellings: list[str]) -> None:
    assert len({of(text) for text in spellings}) == 1


def test_values_that_look_alike_have_contents_of_their_own() -> None:
    texts = [
        "0",
        "1",
        "10",
        "100",
        "1E3",
        "0.1",
        "0.01",
        "-1",
        "9" * 40,
        "9" * 39 + "8",
        "1." + "0" * 38 + "1",
    ]
    assert len({of(text) for text in texts}) == len(texts)


def test_deleted_and_the_borders_between_assets_count() -> None:
    contents = {
        of(),
        of("0"),
        of("0", "0"),
        of(deleted=True),
        of("0", deleted=True),
        pairs_content(PairList(())),
    }
    assert len(contents) == 6


def test_the_encoding_is_the_one_that_is_stored() -> None:
    """Older digests stand in the database: with another encoding, repeats would look like conflicts."""
    pair = Pair("BTCUSDT", "BTC", "USDT", Decimal("0.0001"), None, Decimal("100.0"))
    assert of("1.0", "2").hex() == "6636c4fd1916a2446125a2e8ba7c0d9b096b66aa921476171a053716bfe1b096"
    assert (
        pairs_content(PairList((pair,))).hex()
        == "0b624b619c47c747ec9e5f7a4ef7fad5acd4fe3ca5d44b472b1952bb7b33eab8"
    )


def content(*assets: Asset) -> Content:
    return Content(BalanceSnapshot("u", 1, assets, deleted=False))


def test_a_content_equals_what_was_stored_of_it_and_the_same_assets_in_another_order() -> None:
    one, two = Asset("A", Decimal(1), Decimal(0)), Asset("B", Decimal(2), Decimal(0))
    kept = Content.stored(content(one, two).digest)

    assert content(one, two) == content(one, two) == kept == content(two, one)
    assert len({content(one, two), kept, content(two, one)}) == 1
    assert content(one, two) != content(one)
    assert Content(PairList(())) != content()
    assert content() != content().digest, "a digest is not a content"
    assert repr(content()) == f"Content({content().digest.hex()[:8]})"
