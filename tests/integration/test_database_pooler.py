"""Behind a pooler: one session for as long as we stay is fine, anything else is rejected."""

import threading

import psycopg
import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.domain.errors import BadConfiguration
from ingestor.simulator import HubConfig, SimulatedHub
from tests.integration.test_database_session import SETTINGS, pid, session_at, shown
from tests.support.daemon import command, environment
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def test_session_pooling_works_as_installed(database: str) -> None:
    with (
        pgbouncer(database, pool_mode="session") as url,
        SimulatedHub(HubConfig(seed=3, changes_per_second=20)) as hub,
    ):
        with session_at(url) as session:
            assert shown(session, SETTINGS) == SETTINGS
        settings = Settings(account="pooled", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
        ingestor = Ingestor(settings, url, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            eventually(lambda: ingestor.daemon_status().records > 20, within=20)
            with psycopg.connect(libpq_url(database)) as direct:
                locks = direct.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
                assert locks.fetchone() == (1,)
            assert ingestor.dead() is None
        finally:
            assert ingestor.stop(10.0)


def test_a_pool_of_one_session_is_ours_alone(empty_database: str) -> None:
    with (
        pgbouncer(empty_database, pool_mode="session", default_pool_size="1") as url,
        session_at(url) as session,
    ):
        assert pid(session) == pid(session)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize(
    "ignored", [{}, {"ignore_startup_parameters": "options"}], ids=["", "options ignored"]
)
def test_transaction_pooling_is_rejected(mode: str, ignored: dict[str, str], empty_database: str) -> None:
    with (
        pgbouncer(empty_database, pool_mode=mode, **ignored) as url,
        session_at(url) as session,
        pytest.raises(BadConfiguration, match="shares sessions"),
        session.use(),
    ):
        pass


@pytest.mark.parametrize(
    "words", [("run",), ("status",), ("db", "status"), ("db", "upgrade"), ("check",)], ids=" ".join
)
def test_every_command_rejects_it_alike(words: tuple[str, ...], database: str) -> None:
    with pgbouncer(database, pool_mode="transaction") as url:
        done = command(*words, env=environment("http://127.0.0.1:1/hub", url, "a-key"))

    assert done.returncode == 78, done.stderr
    assert "pool_mode = session" in done.stdout + done.stderr


def test_pooling_that_begins_while_we_run_is_noticed(
    empty_database: str,
) -> None:
    """Other clients had the spare sessions when we connected."""
    with pgbouncer(empty_database, pool_mode="transaction") as url, session_at(url) as session:
        session._connector._require_session_of_our_own = lambda *_: None  # type: ignore[method-assign]
        pid(session)
        with psycopg.connect(libpq_url(url)) as other:
            other.execute("SELECT 1")  # and holds the session that was ours in its transaction
            with pytest.raises(BadConfiguration, match="shares sessions"):
                pid(session)
