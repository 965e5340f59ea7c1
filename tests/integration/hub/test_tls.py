"""Only a hub that proves its name receives the key, and only loopback is connected to without TLS (I18)."""

import ssl
import warnings
from pathlib import Path

import pytest

from ingestor.domain.errors import BadConfiguration
from ingestor.domain.requests import ArgumentForm, Command
from tests.support.certificates import certificate
from tests.support.fault_hub import FaultHub, Peer, invocation, stay
from tests.support.hub_listener import RecordingListener, linked, make_link, quick
from tests.support.waiting import eventually


def test_a_certificate_of_our_own_authority_is_trusted_and_the_link_works(tmp_path: Path) -> None:
    """With a reader and several writers on one TLS connection at once."""
    cert, context = certificate(tmp_path, "IP:127.0.0.1")
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        for number in range(500):
            peer.records(invocation(number, 20_000))
            peer.message()
        peer.listen()

    with (
        FaultHub([act, stay], tls=context) as hub,
        linked(hub.url, listener, quick(ping_seconds=0.001), ca_file=cert) as link,
    ):
        eventually(lambda: listener.opened)
        while len(listener.received) < 500:
            link.request(listener.opened[0].session, Command.GET_PAIRS, "i" * 3000, ArgumentForm.POSITIONAL)
        assert listener.closed == []


def test_a_self_signed_certificate_is_refused_and_hears_nothing(tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "IP:127.0.0.1")
    listener = RecordingListener()
    with FaultHub(tls=context) as hub, linked(hub.url, listener) as link:
        eventually(lambda: link.state.connection_error == "tls")
        assert hub.requests == []


@pytest.mark.parametrize("negotiation", ["auto", "never"])
def test_a_certificate_of_another_host_is_refused_and_hears_nothing(tmp_path: Path, negotiation: str) -> None:
    cert, context = certificate(tmp_path, "DNS:elsewhere.example")
    listener = RecordingListener()
    with (
        FaultHub(tls=context) as hub,
        linked(hub.url, listener, ca_file=cert, negotiation=negotiation) as link,
    ):
        eventually(lambda: link.state.connection_error == "tls")
        assert hub.requests == []


def test_tls_below_1_2_is_refused(tmp_path: Path) -> None:
    cert, context = certificate(tmp_path, "IP:127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is deprecated is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    listener = RecordingListener()
    with FaultHub(tls=context) as hub, linked(hub.url, listener, ca_file=cert) as link:
        eventually(lambda: link.state.connection_error is not None)
        assert link.state.connection_error == "tls"
        assert hub.requests == []


def test_a_tls_handshake_that_hangs_is_cut_at_its_deadline() -> None:
    """The hub takes the connection and says nothing: no thread may be left behind."""
    listener = RecordingListener()

    with FaultHub() as plain:  # waits for a request that a TLS client never sends
        url = plain.url.replace("http:", "https:")
        with linked(url, listener, quick(negotiate_seconds=0.2)) as link:
            eventually(lambda: link.state.attempts > 3)
            assert link.state.abandoned_threads == 0


def test_a_tls_hub_that_ends_a_session_is_named_and_followed_by_another(tmp_path: Path) -> None:
    cert, context = certificate(tmp_path, "IP:127.0.0.1")
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.records(invocation(1))

    with FaultHub([act, stay], tls=context) as hub, linked(hub.url, listener, ca_file=cert):
        eventually(lambda: len(listener.opened) == 2)
        assert listener.closed[0].cause == "eof"
        assert listener.raws == [invocation(1)]


@pytest.mark.parametrize(
    "url", ["http://hub.example/v1", "ws://10.0.0.1/v1", "ftp://localhost/", "localhost"]
)
def test_an_address_that_would_show_the_key_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadConfiguration):
        make_link(url, RecordingListener())


@pytest.mark.parametrize(
    "url", ["http://localhost/v1", "ws://127.0.0.1:1/v1", "http://[::1]:1/", "wss://hub.example/"]
)
def test_loopback_may_be_plain(url: str) -> None:
    assert not make_link(url, RecordingListener()).alive()
