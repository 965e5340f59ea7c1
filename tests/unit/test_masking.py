"""What is shown of a hub's record: the user is masked, however the record writes it."""

import json

import pytest

from ingestor.app.masking import masked


@pytest.mark.parametrize("user", ["anna", "anna+test@example.com", "Müller", 'a"b', "a\\b", 'a\\"b', ""])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("quoted", [0, 1, 2])
def test_the_whole_user_is_masked_and_nothing_after_it(user: str, ascii_only: bool, quoted: int) -> None:
    def record(name: str) -> str:
        text = json.dumps({"userId": name, "sequence": 7}, ensure_ascii=ascii_only)
        for _ in range(quoted):
            text = json.dumps({"data": text}, ensure_ascii=ascii_only)
        return text

    assert masked(record(user).encode()) == record("[redacted]")


def test_escapes_of_the_hubs_library_are_part_of_the_user() -> None:
    """.NET writes every character outside of ASCII, and a plus sign, as an escape."""
    assert masked(rb'{"userId":"anna\u002Btest","sequence":7}') == '{"userId":"[redacted]","sequence":7}'


@pytest.mark.parametrize("record", [b'{"userId":"anna', rb'{"data":"{\"userId\":\"anna\u002'])
def test_a_user_that_does_not_end_is_masked_up_to_the_end(record: bytes) -> None:
    assert "anna" not in masked(record)
    assert "002" not in masked(record)
