"""The page says what the figures say, exactly, and nothing in it is foreign."""

import re
from html import unescape

from ingestor.statement import page
from tests.integration.statement.story import figures

THIN = "\N{NARROW NO-BREAK SPACE}"


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
    assert f"{int((hours - 6) / hours * 10_000) / 100:.2f} %" in html
    assert "disconnected</td>" in html
    assert "5.0 h" in html


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


def test_the_same_figures_give_the_same_page() -> None:
    assert page(figures()) == page(figures())
