"""The link behind a real nginx: affinity by cookie, and a rule against clients without a name."""

import itertools
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingestor.adapters.hub.causes import advice
from tests.support.fault_hub import FaultHub, Peer, http_answer, stay
from tests.support.hub_listener import RecordingListener, linked
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream a {{ server 127.0.0.1:{a}; }}
  upstream b {{ server 127.0.0.1:{b}; }}
  upstream any {{ server 127.0.0.1:{a}; server 127.0.0.1:{b}; }}
  map $cookie_route $server {{ a a; b b; default any; }}
  server {{
    listen 127.0.0.1:{port};
    if ($http_user_agent = "") {{ return 403; }}
    location / {{
      proxy_pass http://$server; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
    }}
    location /closed {{ return 403; }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def nginx(folder: Path, a: int, b: int) -> Iterator[int]:
    """Runs in front of two hubs; gives its port."""
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, a=a, b=b, port=port))
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(file)], stderr=subprocess.PIPE)
    try:
        eventually(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def sticky_hub(name: str) -> FaultHub:
    """Sets its cookie at negotiate, and knows only the connections that it has negotiated itself."""
    numbers = itertools.count()

    def negotiate(peer: Peer) -> None:
        body = f'{{"negotiateVersion":1,"connectionId":"i","connectionToken":"{name}{next(numbers)}"}}'
        peer.raw(http_answer("200 OK", body.encode(), f"Set-Cookie: route={name}; Path=/"))

    def upgrade(peer: Peer) -> None:
        if f"id={name}" in peer.request.line:
            peer.shake()  # and gone: the next session follows
        else:
            peer.raw(http_answer("404 Not Found"))

    return FaultHub([upgrade], [negotiate])


def test_affinity_by_cookie_leads_every_upgrade_to_its_hub(tmp_path: Path) -> None:
    listener = RecordingListener()
    with sticky_hub("a") as a, sticky_hub("b") as b, nginx(tmp_path, a.port, b.port) as port:
        with linked(f"http://127.0.0.1:{port}/hub", listener):
            eventually(lambda: len(listener.opened) > 10)
        assert a.upgrades
        assert b.upgrades
    assert {opened.connection_errors for opened in listener.opened} == {()}


def test_a_page_of_nginx_is_not_taken_for_a_word_of_the_hub(tmp_path: Path) -> None:
    listener = RecordingListener()
    with FaultHub([stay]) as hub, nginx(tmp_path, hub.port, hub.port) as port:
        with linked(f"http://127.0.0.1:{port}/closed", listener) as link:
            failure = eventually(lambda: link.state.failure)
        assert failure
        assert failure.cause == "http_403"
        assert not failure.refuses_key
        assert "before the hub" in advice(failure)
        assert hub.requests == []


def test_a_rule_against_clients_without_a_name_lets_us_pass(tmp_path: Path) -> None:
    listener = RecordingListener()
    with FaultHub() as hub, nginx(tmp_path, hub.port, hub.port) as port:
        with linked(f"http://127.0.0.1:{port}/hub", listener):
            eventually(lambda: listener.opened)
        assert listener.opened[0].attempts == 1
