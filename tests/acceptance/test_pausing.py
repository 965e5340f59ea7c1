"""An account that an operator pauses, by the command or by SQL: no link, a gap with its cause, remembered."""

import json
import re
import tempfile
import urllib.error
import urllib.request

import psycopg
import pytest

from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.acceptance.test_local_socket import document
from tests.support.daemon import ACCOUNT, ROOT, Daemon, command, environment
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

STATE = "SELECT link_state FROM ingest.heartbeat WHERE heartbeat_at > now() - interval '8 seconds'"
GAPS = "SELECT kind, cause, ended_at IS NULL FROM ingest.gap WHERE cause = 'paused' ORDER BY opened_at"


def ready(address: str) -> tuple[int, str]:
    """What the daemon's page of readiness says."""
    try:
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_a_pause_is_said_everywhere_and_remembered_and_its_gap_ends_by_proof(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    """I11, I12."""
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        sent = document("pause", "pause", env=env, code=0)
        assert sent == {"account": ACCOUNT, "signal": "pause", "read_within_seconds": 5}
        eventually(lambda: sql(STATE) == [("paused",)], within=10)
        assert sql(GAPS) == [("disconnected", "paused", True)]
        assert sql("SELECT ending, cause FROM ingest.session") == [("clean", "paused")]

        status = command("status", "--json", env=env)
        assert status.returncode == 1
        told = json.loads(status.stdout)
        assert told["daemon"] == "running"
        assert "no link to the hub: paused by an operator; `ingestor resume` ends it" in told["problems"]

        first = sql("SELECT heartbeat_at FROM ingest.heartbeat")
        eventually(lambda: sql("SELECT heartbeat_at FROM ingest.heartbeat") > first, within=10)
        assert daemon.terminate() == 0

    sessions = sql("SELECT count(*) FROM ingest.session")
    with Daemon(env) as daemon:
        with psycopg.connect(libpq_url(database)) as other:
            # So that no heartbeat comes through: it has to know before the first one.
            other.execute("LOCK TABLE ingest.heartbeat IN EXCLUSIVE MODE")
            eventually(lambda: daemon.events("link_paused"), within=30)
            eventually(lambda: daemon.events("daemon_started"), within=30)
        eventually(lambda: sql(STATE) == [("paused",)], within=10)
        assert not daemon.events("link_up")
        assert sql("SELECT count(*) FROM ingest.session") == sessions

        assert document("resume", "resume", env=env, code=0)["signal"] == "resume"
        eventually(lambda: sql(GAPS) == [("disconnected", "paused", False)], within=20)
        proof = "SELECT 1 FROM ingest.gap WHERE cause = 'paused' AND balances_confirmed_at IS NOT NULL"
        assert sql(proof)
        eventually(lambda: sql(STATE) == [("up",)], within=10)
        assert daemon.terminate() == 0
    who = "SELECT signal, sent_by FROM ingest.signal ORDER BY sent_at"
    assert sql(who) == [("pause", "postgres"), ("resume", "postgres")]


def test_sql_pauses_too_and_readiness_says_so(hub: SimulatedHub, database: str) -> None:
    """As the operator's guide has it."""
    guide = (ROOT / "deploy" / "README.md").read_text()
    (statement,) = re.findall(r"```sql\n(INSERT INTO ingest\.signal [^`]*)```", guide)
    more = {"INGESTOR_METRICS__LISTEN": "127.0.0.1:0"}
    env = environment(hub.url, database, hub.config.api_key, **more)
    with Daemon(env) as daemon:
        (listening,) = eventually(lambda: daemon.events("metrics_listening"), within=30)
        address = listening["address"]
        eventually(lambda: ready(address)[0] == 200, within=30)
        with psycopg.connect(libpq_url(database), autocommit=True) as admin:
            admin.execute(statement.replace("'main'", f"'{ACCOUNT}'").encode())
        eventually(lambda: "\npaused: by an operator" in ready(address)[1], within=10)
        assert ready(address)[0] == 503
        assert daemon.terminate() == 0


def test_a_paused_daemon_does_not_reconnect_and_says_why(hub: SimulatedHub, database: str) -> None:
    with tempfile.TemporaryDirectory() as runtime:
        env = environment(hub.url, database, hub.config.api_key, XDG_RUNTIME_DIR=runtime)
        with Daemon(env) as daemon:
            eventually(lambda: daemon.events("link_up"), within=30)
            assert command("pause", env=env).returncode == 0
            eventually(lambda: daemon.events("link_paused"), within=10)
            done = command("reconnect", "--json", env=env)
            assert done.returncode == 69
            assert json.loads(done.stdout)["advice"][-1] == "fix: `ingestor resume`"
            shown = command("top", "--once", env=env).stdout
            assert "link      paused" in shown
            assert "paused: by an operator; `ingestor resume` ends it" in shown
            assert "disconnected, paused, open for" in shown
            assert daemon.terminate() == 0


def test_an_account_that_nobody_knows_cannot_be_paused(database: str) -> None:
    done = command("pause", "--json", env=environment("http://127.0.0.1:1/hub", database, "a-key"))

    assert done.returncode == 78
    assert f"there is no account {ACCOUNT} in this database" in json.loads(done.stdout)["error"]
