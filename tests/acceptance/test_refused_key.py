"""A key that the hub refuses ends the first start of an account, and nothing later."""

import pytest

from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

REFUSED = "SELECT 1 FROM ingest.heartbeat WHERE key_refused AND next_attempt_at IS NOT NULL"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_at_the_first_start_exits_77(
    status: int, hub: SimulatedHub, database: str
) -> None:
    hub.inject(Fault.NEGOTIATE_STATUS, status=status, count=None)
    env = environment(hub.url, database, "not-the-hubs-key")
    with Daemon(env) as daemon:
        assert daemon.process.wait(20) == 77

        (failed,) = daemon.events("daemon_failed")
        assert failed["error"] == "the hub refuses the key"
        assert failed["advice"][0].startswith(f"why: http_{status}: negotiate was answered {status}")
        assert failed["advice"][1].startswith("fix: the")
        assert "not-the-hubs-key" not in daemon.log()
    said = command("status", env=env).stdout
    assert "daemon    stopped" in said
    assert f"the hub refused the key: http_{status}" in said


def test_a_hub_that_refuses_for_another_reason_is_waited_for(hub: SimulatedHub, database: str) -> None:
    hub.inject(Fault.NEGOTIATE_STATUS, status=503, count=2)
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("link_up"), within=20)
        assert daemon.terminate() == 0


def test_a_key_that_is_refused_later_is_tried_again(hub: SimulatedHub, database: str, sql: Query) -> None:
    """In the process in which it worked, and in the next one."""
    env = environment(hub.url, database, hub.config.api_key, INGESTOR_HUB__REFUSED_INTERVAL_SECONDS="60")
    with Daemon(env) as daemon:
        eventually(lambda: daemon.events("link_up"), within=20)
        hub.inject(Fault.NEGOTIATE_STATUS, status=401, count=None)
        hub.inject(Fault.RST)
        _is_refused_and_goes_on(daemon, env, sql)
    with Daemon(env) as daemon:
        _is_refused_and_goes_on(daemon, env, sql)


def _is_refused_and_goes_on(daemon: Daemon, env: dict[str, str], sql: Query) -> None:
    of_this_one = f"{REFUSED} AND pid = %s"
    eventually(lambda: sql(of_this_one, daemon.process.pid), within=20)
    said = command("status", env=env).stdout
    assert "problem   the hub refused the key: http_401" in said
    assert "(next attempt " in said
    assert daemon.terminate() == 0
