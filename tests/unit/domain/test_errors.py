"""An error's text is told in its parts."""

import pytest

from ingestor.domain.errors import BadConfiguration, parts_of


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            BadConfiguration("no key\nwhy: it is: gone\nfix: write one"),
            ("no key", "it is: gone", "write one"),
        ),
        (BadConfiguration("no key\n  fix: write one\nand so on"), ("no key", "", "write one")),
        (OSError("gone"), ("gone", "", "")),
        (TimeoutError(), ("TimeoutError", "", "")),
    ],
)
def test_what_why_and_fix(error: Exception, parts: tuple[str, str, str]) -> None:
    assert parts_of(error) == parts
