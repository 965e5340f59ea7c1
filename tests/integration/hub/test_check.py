"""The hub's part of `ingestor check`: what it says of hubs that answer, refuse, or are not hubs at all."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.app.check.findings import Finding, Verdict
from ingestor.app.check.hub import HubCheck
from ingestor.app.check.steps import Chain
from ingestor.config import Environment, Negotiate, Settings
from ingestor.config.model import Hub
from tests.support.certificates import certificate
from tests.support.fault_hub import END, TEXT, Act, FaultHub, Peer, http_answer
from tests.support.hub_listener import KEY
from tests.support.hub_records import account, asset, envelope, listing, pair, quoted, record

clock = DatabaseClock()
BINDING = "Failed to invoke '{}' due to an error on the server."
Answer = Callable[[str, list[object]], str | list[bytes]]
"""From target and arguments: an error, or the records that answer."""


def answering(answer: Answer) -> Act:
    """A session that answers each request."""

    def act(peer: Peer) -> None:
        peer.shake()
        while True:
            opcode, payload = peer.message()
            message = json.loads(payload.rstrip(END)) if opcode == TEXT else {}
            if message.get("type") != 1:
                continue
            given = answer(message["target"], message["arguments"])
            completion = {"type": 3, "invocationId": message["invocationId"]}
            if isinstance(given, str):
                completion["error"] = given
            else:
                peer.records(*given)
            peer.records(json.dumps(completion).encode())

    return act


def event(target: str, client_id: object) -> list[bytes]:
    balances = target == "GetBalances"
    data = account(asset(), asset('"ETH"')) if balances else listing(pair())
    subject = "account.balances.snapshot" if balances else "execution.pairs"
    return [record(envelope(quoted(data), quoted(subject), f',"clientId":{json.dumps(client_id)}'))]


def good(target: str, arguments: list[object]) -> str | list[bytes]:
    """A hub that takes positional arguments."""
    return BINDING.format(target) if isinstance(arguments[0], list) else event(target, arguments[0])


@contextmanager
def checked(
    hub: FaultHub, monkeypatch: pytest.MonkeyPatch, *, key: str = KEY, **settings: object
) -> Iterator[Callable[[], dict[str, Finding]]]:
    """Gives what tries the hub: the findings by the names of their steps."""
    monkeypatch.setenv("HERCLE_API_KEY", key)
    with hub:
        given = {"environment": Environment.CUSTOM, "url": hub.url, **settings}
        tried = HubCheck(Settings(hub=Hub(**given)), clock)  # type: ignore[arg-type] # settings of the test
        try:
            yield lambda: {
                each.name: each
                for each in Chain(tried.steps(), set(), clock.monotonic() + 20, clock).findings()
            }
        finally:
            tried.close()


def problem(hub: FaultHub, monkeypatch: pytest.MonkeyPatch, *, key: str = KEY, **settings: object) -> Finding:
    """The first of the steps that fail: the others need it."""
    with checked(hub, monkeypatch, key=key, **settings) as check:
        found = check()
    failed = [each for each in found.values() if each.verdict is Verdict.FAILED]
    assert all(key not in each.what + (each.fix or "") for each in failed)
    return failed[0]


def test_a_good_hub_is_asked_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    with checked(FaultHub([answering(good)]), monkeypatch) as check:
        found = check()
    assert {each.verdict for name, each in found.items() if name != "hub-clock"} == {Verdict.OK}
    assert found["balances"].what == "GetBalances answered with 2 assets (arguments positional)"
    assert found["pairs"].what == "GetPairs answered with 1 pairs (arguments positional)"


def test_a_hub_that_wants_nested_arguments_gets_them_after_its_binding_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nested(target: str, arguments: list[object]) -> str | list[bytes]:
        first = arguments[0]
        return event(target, first[0]) if isinstance(first, list) else BINDING.format(target)

    with checked(FaultHub([answering(nested)]), monkeypatch) as check:
        found = check()
    assert all("(arguments nested)" in found[name].what for name in ("balances", "pairs"))


@pytest.mark.parametrize(
    "reason",
    [
        "An unexpected error occurred invoking 'GetBalances' on the server. HubException: KYC?",
        "An unexpected error occurred invoking 'GetBalances' on the server.",
        "Failed to invoke 'GetBalances' due to an error on the server. HubException: No such method.",
    ],
)
def test_a_reason_of_the_hubs_own_is_shown_and_nothing_else_is_tried(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[object]] = []

    def refuses(target: str, arguments: list[object]) -> str:
        seen.append(arguments)
        return BINDING.format(target) if isinstance(arguments[0], list) else reason

    failed = problem(FaultHub([answering(refuses)]), monkeypatch)
    assert failed.what == f"GetBalances was not answered: {reason}"
    assert failed.exit_code == 76
    assert len(seen) == 2, "one form of each command"


def test_the_reason_behind_a_binding_error_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(target: str, arguments: list[object]) -> str:
        return "KYC is not complete" if isinstance(arguments[0], list) else BINDING.format(target)

    failed = problem(FaultHub([answering(refuses)]), monkeypatch)
    assert failed.what == "GetBalances was not answered: KYC is not complete"


@pytest.mark.parametrize("key", [KEY, "open-the-door"])  # which looks like no credential
def test_a_reason_never_brings_the_key_back(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a Completion nor in an error event, which the link does not read (I18)."""
    reason = f"no rights for {key}, sorry"

    def as_event(_: str, arguments: list[object]) -> list[bytes]:
        client = f',"clientId":{json.dumps(arguments[0])}'
        return [record(envelope(quoted(reason), '"preChecksError"', client))]

    for answer in (lambda *_: reason, as_event):
        failed = problem(FaultHub([answering(answer)]), monkeypatch, key=key)
        assert failed.what == "GetBalances was not answered: no rights for [redacted], sorry"


def test_an_answer_above_the_limit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(_: str, arguments: list[object]) -> list[bytes]:
        data = account(*(asset(f'"A{number}"') for number in range(100)))
        client = f',"clientId":{json.dumps(arguments[0])}'
        return [record(envelope(quoted(data), '"account.balances.snapshot"', client))]

    failed = problem(FaultHub([answering(large)]), monkeypatch, max_record_bytes=4096)
    assert "bytes, hub.max_record_bytes is 4096" in failed.what


def answers(status: str, body: bytes = b"", *headers: str) -> Act:
    return lambda peer: peer.raw(http_answer(status, body, *headers))


PAGE = answers("403 Forbidden", b"<html>Forbidden</html>", "Content-Type: text/html")


@pytest.mark.parametrize(
    ("hub", "what", "fix", "exit_code"),
    [
        (FaultHub(negotiations=[answers("401 No")]), "http_401", "refuses the key", 77),
        (FaultHub(negotiations=[answers("403 No", b"KYC?")]), "403: KYC?", "KYC state", 77),
        (FaultHub(negotiations=[PAGE]), "before the hub", "before the hub", 69),
        (FaultHub(negotiations=[answers("503 No")]), "http_503", "gateway", 69),
        (FaultHub([answers("200 OK")]), "http_200", "opens no WebSocket", 69),
        (FaultHub([answers("404 No")]), "http_404", "load balancer", 69),
        (
            FaultHub(negotiations=[lambda peer: peer.negotiate(availableTransports=[{"transport": "SSE"}])]),
            "no WebSockets",
            "WebSockets only",
            69,
        ),
    ],
)
def test_a_hub_that_cannot_be_reached_is_explained(
    hub: FaultHub, what: str, fix: str, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = problem(hub, monkeypatch)
    assert failed.what.startswith("no link: ")
    assert what in failed.what
    assert fix in (failed.fix or "")
    assert failed.exit_code == exit_code


# --- connection and clock ---


def tried(hub: FaultHub, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Finding]:
    with checked(hub, monkeypatch, **settings) as check:
        return check()


def test_a_certificate_that_is_trusted_and_ends_soon_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = certificate(tmp_path, "IP:127.0.0.1")
    found = tried(FaultHub([answering(good)], tls=context), monkeypatch, ca_file=authority)
    assert re.search(r"TLSv1\.3, certificate valid until 2\d{3}-\d\d-\d\d$", found["connection"].what)
    assert found["connection"].verdict is Verdict.NOTE
    assert found["pairs"].verdict is Verdict.OK


def test_a_certificate_that_is_not_trusted_ends_it_before_the_key_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I18."""
    _, context = certificate(tmp_path, "IP:127.0.0.1")
    hub = FaultHub([answering(good)], tls=context)
    found = tried(hub, monkeypatch)
    assert found["connection"].what.startswith("no link: tls: ")
    assert "hub.ca_file" in (found["connection"].fix or "")
    assert found["handshake"].what == "not tried: needs negotiate"
    assert hub.requests == []


def test_authorities_that_cannot_be_read_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tried(FaultHub([answering(good)]), monkeypatch, ca_file=Path("/nonexistent.pem"))
    assert (found["connection"].exit_code, found["connection"].verdict) == (78, Verdict.FAILED)
    assert "/nonexistent.pem" in found["connection"].what


@pytest.mark.parametrize(
    ("ahead", "verdict", "said"),
    [(0, Verdict.OK, r"0\.\d{3} s (ahead of|behind)"), (3600, Verdict.NOTE, r"(3599|3600)\.\d{3} s behind")],
)
def test_the_hubs_clock_is_read_in_its_answer(
    ahead: int, verdict: Verdict, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dated(peer: Peer) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        peer.raw(http_answer("200 OK", b'{"connectionToken":"t"}', f"Date: {date}"))

    found = tried(FaultHub([answering(good)], [dated]), monkeypatch)
    assert re.search(f"clock is {said} the hub's", found["hub-clock"].what)
    assert found["hub-clock"].verdict is verdict
    assert "time service" in (found["hub-clock"].fix or "time service")


def test_a_hub_without_negotiate_is_connected_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    never = tried(FaultHub([answering(good)]), monkeypatch, negotiate=Negotiate.NEVER)
    assert never["negotiate"].verdict is Verdict.SKIPPED
    assert never["pairs"].verdict is Verdict.OK
    auto = tried(FaultHub([answering(good)], [answers("404 No")]), monkeypatch)
    assert "no negotiate page" in auto["negotiate"].what
    assert auto["pairs"].verdict is Verdict.OK


def test_a_name_without_an_address_is_told_from_a_port_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = problem(FaultHub(), monkeypatch, url="https://hub.invalid/v1")
    assert (unknown.name, unknown.exit_code) == ("dns", 69)
    assert "DNS" in (unknown.fix or "")
    refused = problem(FaultHub(), monkeypatch, url="http://127.0.0.1:1/v1")
    assert (refused.name, refused.exit_code) == ("connection", 69)
    assert "no server listens" in (refused.fix or "")


def test_a_key_that_cannot_be_read_spares_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FaultHub()
    missing = problem(hub, monkeypatch, key_file=Path("/nonexistent.key"))
    assert (missing.name, missing.exit_code) == ("key", 78)
    assert hub.requests == []
