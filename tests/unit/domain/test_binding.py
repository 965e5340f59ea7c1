"""Only what ASP.NET Core says of arguments that do not fit is a reason to try another form of them."""

import pytest

from ingestor.domain.binding import is_binding_error

SERVER = "due to an error on the server."


@pytest.mark.parametrize(
    ("error", "binding"),
    [
        (f"Failed to invoke 'GetBalances' {SERVER}", True),
        (f"Failed to invoke 'GetBalances' {SERVER} InvalidDataException: Error binding arguments.", True),
        (f"Failed to invoke 'GetBalances' {SERVER} HubException: no permission", False),
        ("An unexpected error occurred invoking 'GetBalances' on the server.", False),
        ("Failed to invoke", False),
        ("", False),
    ],
)
def test_what_is_a_matter_of_form(error: str, binding: bool) -> None:
    assert is_binding_error(error) is binding
