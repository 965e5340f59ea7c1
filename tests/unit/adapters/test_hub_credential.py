"""No stretch of the key that gives it away leaves the link (I18)."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.adapters.hub.negotiate import fits_a_header, without

KEY = "eyJhbGciOi.Canary+4f1d/9a77c2==.end"
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@given(
    key=st.text(visible, min_size=8, max_size=60),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
    data=st.data(),
)
def test_no_piece_of_eight_survives(key: str, before: str, after: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(key) - 8))
    end = data.draw(st.integers(begin + 8, len(key)))
    clean = without(key, before + key[begin:end] + after)
    assert key[begin:end] not in clean.replace("[redacted]", "\0")


@pytest.mark.parametrize("form", [KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode()])
def test_every_form_is_masked_as_a_whole(form: str) -> None:
    assert without(KEY, f"bad key {form}!") == "bad key [redacted]!"


def test_what_is_not_the_key_stays() -> None:
    assert without(KEY, "the hub said eyJhbGc and no more") == "the hub said eyJhbGc and no more"
    assert without(KEY, "") == ""


def test_a_short_key_is_masked_whole() -> None:
    assert without("abc", "xabcx ab") == "x[redacted]x ab"


@pytest.mark.parametrize(
    ("key", "fits"), [(KEY, True), ("", False), ("a b", False), ("a\n", False), ("\u00e9", False)]
)
def test_only_visible_ascii_fits_a_header(key: str, *, fits: bool) -> None:
    assert fits_a_header(key) is fits
