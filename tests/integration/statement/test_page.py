"""The page says what the figures say, exactly, and nothing in it is foreign."""

import re
from dataclasses import replace
from datetime import UTC
from html import unescape

import pytest

from ingestor.statement import page
from ingestor.statement.figures import GapShown
from tests.integration.statement.story import HOUR, SINCE, UNTIL, cells, figures

THIN = "\N{NARROW NO-BREAK SPACE}"
DASH = "\N{EN DASH}"


def test_amounts_keep_all_their_digits() -> None:
    html = page(figures())

    assert f"1{THIN}234{THIN}567.123456789012345678" in html
    assert ">12.50000000<" in html
    assert f">1{THIN}234{THIN}554.623456789012345678<" in html, "the change"
    assert ">0.10<" in html


def test_what_was_not_seen_is_a_dash_and_no_zero() -> None:
    row = next(line for line in page(figures()).split("<tr>") if "<td>ETH" in line)

    assert row.count("\N{EN DASH}") == 2, "opening and change"
    assert ">0<" not in row.split("Available")[0].split("in gap")[0]


def test_coverage_is_rounded_down_so_that_100_percent_means_all() -> None:
    html = page(figures())

    hours = 31 * 24 - 1
    assert (hours - 6.5) / hours == pytest.approx(0.991252, abs=1e-6)
    assert "known for <strong>99.12 %</strong> of this time" in html
    rows = cells(html)
    head = rows.index(["Balances", "Time", "Share"])
    assert rows[head + 1 : head + 4] == [
        ["known", "736.5 h", "99.12 %"],
        ["disconnected", "5.0 h", "0.67 %"],
        ["unanswered", "90.0 min", "0.20 %"],
    ]


def test_each_table_has_its_figures() -> None:
    """Times in the statement's zone, gaps cut to its period."""
    utc = replace(figures(), movements=[replace(figures().movements[0], observed_at=SINCE.astimezone(UTC))])
    rows = cells(page(utc))

    for head, body in (
        (["Observed", "Asset", "Change", "Total after", ""], [
            ["2026-03-01 00:00:00", "BTC", "-3.25", "9.25", "confirmed"],
        ]),
        (["Observed", "Pair", "What", "Before", "After"], [
            ["2026-03-01 09:00:00", "BTCUSDT", "min size", "0.0001", "0.001"],
        ]),
        (["Kind", "Cause", "Gaps", "Time"], [
            ["disconnected", "eof", "1", "3.0 h"],
            ["disconnected", "silent", "1", "5.0 h"],
            ["unanswered", "timed out", "1", "90.0 min"],
        ]),
        (["From", "Confirmed again", "Kind", "Cause", "Affects"], [
            ["2026-03-04 04:00:00", "2026-03-04 09:00:00", "disconnected", "silent", "balances, pairs"],
            ["2026-03-31 22:30:00", DASH, "unanswered", "timed out", "balances"],
            ["2026-02-28 22:00:00", "2026-03-01 03:00:00", "disconnected", "eof", "pairs"],
        ]),
        (["Command", "Requests", "Unanswered", "Median", "Worst daily p99"], [
            ["GetBalances", "2440", "5", "51 ms", "220 ms"],
            ["GetPairs", "288", "288", DASH, DASH],
        ]),
    ):  # fmt: skip
        begin = rows.index(head) + 1
        assert rows[begin : begin + len(body)] == body


def test_a_gap_across_a_change_of_the_clocks_has_its_true_length() -> None:
    """Rome's clocks go forward in the night to the 29th; this gap is longer than the month."""
    gap = GapShown("disconnected", "eof", SINCE - HOUR, UNTIL + HOUR, ["balances"])

    assert ["disconnected", "eof", "1", f"{31 * 24 - 1}.0 h"] in cells(page(replace(figures(), gaps=[gap])))


def test_of_many_rows_the_first_are_shown_and_the_rest_counted() -> None:
    one = figures()
    many = page(replace(one, limit_changes=[*one.limit_changes] * 41, gaps=[one.gaps[0]] * 42))

    assert many.count("BTCUSDT") == 40
    assert many.count(">silent</td>") == 1 + 40
    assert "The first 40 of 41; all are in the view report.pair_change" in many
    assert "The first 40 of 42; all are in the view report.gap" in many


def test_nothing_to_tell_is_told() -> None:
    empty = replace(figures(), balances=[], series=[], gaps=[], movements=[], limit_changes=[], latency=[])
    html = page(empty)

    for said in ("No balance had been seen", "No balance changed", "No limit changed", "Nothing was"):
        assert said in html
    assert ["None."] in cells(html)


def test_a_former_user_is_marked() -> None:
    assert "former user left-user; do not add" in page(figures())


def test_a_name_from_the_hub_is_text_and_no_markup() -> None:
    """In the tables and in the charts."""
    html = page(figures("<script>alert(1)</script>"))

    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = page(figures())

    names = r"https?://www\.w3\.org/|http://purl\.org/|http://creativecommons\.org/|https://matplotlib\.org/"
    assert not [url for url in re.findall(r"\w+://[^\s\"'<>]+", unescape(html)) if not re.match(names, url)]
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|\bon\w+=|@import|url\((?!#)", html)


def test_a_chart_for_each_asset_and_a_strip_of_days() -> None:
    assert page(figures()).count("<svg") == 3


def test_a_gap_of_the_pairs_shades_no_balance() -> None:
    def charts(*gaps: GapShown) -> list[str]:
        return re.findall("<figure>.*?</figure>", page(replace(figures(), gaps=gaps)), re.DOTALL)

    balances, _, pairs = figures().gaps
    assert charts(pairs) == charts() != charts(balances)


def test_the_same_figures_give_the_same_page() -> None:
    assert page(figures()) == page(figures())
