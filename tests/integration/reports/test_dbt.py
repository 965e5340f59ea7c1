"""The package of deploy/dbt, built by the real dbt: figures, increments, and how a dead account shows."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.daemon import ROOT, surroundings
from tests.support.environments import environment
from tests.support.rows import Query
from tests.support.story import tell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PACKAGE = ROOT / "deploy" / "dbt"
QUIET = {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}

Dbt = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("dbt") / "venv", PACKAGE / "requirements.txt")


@pytest.fixture
def dbt(programs: Path, database: str, tmp_path: Path) -> Dbt:
    """Run a command of dbt; gives its exit code and the status of each node by its short name."""
    project = tmp_path / "package"
    shutil.copytree(PACKAGE, project)
    url = urlsplit(database)
    query = parse_qs(url.query)
    target = {
        "type": "postgres",
        "host": query["host"][0],
        "port": int(query["port"][0]),
        "user": "postgres",
        "password": "",
        "dbname": url.path.lstrip("/"),
        "schema": "analytics",
        "threads": 1,
    }
    profiles = {"hercle_ingestor": {"target": "test", "outputs": {"test": target}}}
    (project / "profiles.yml").write_text(json.dumps(profiles))
    # Without a network but the server's socket, where that can be arranged.
    alone = ["unshare", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        alone = []

    def run(*arguments: str) -> tuple[int, dict[str, str]]:
        command = [*alone, str(programs / "dbt"), "--no-version-check", *arguments]
        done = subprocess.run(
            command,
            cwd=project,
            env={**surroundings(), **QUIET, "DBT_PROFILES_DIR": str(project)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        name = "sources.json" if arguments[0] == "source" else "run_results.json"
        assert (project / "target" / name).exists(), done.stdout + done.stderr
        results: list[dict[str, Any]] = json.loads((project / "target" / name).read_text())["results"]
        assert results, done.stdout + done.stderr
        return done.returncode, {each["unique_id"].split(".", 2)[2]: each["status"] for each in results}

    return run


def differences(sql: Query, zone: str) -> list[tuple[Any, ...]]:
    """Rows that are in one only: the model, and what the function says now."""
    return sql(
        "WITH model AS (SELECT day, account, user_id, asset, total, certainty "
        "FROM analytics.balance_end_of_day), "
        "said AS (SELECT day, account, user_id, asset, total, certainty "
        "FROM report.balance_eod('2025-03-03', current_date, %s)) "
        "(TABLE model EXCEPT TABLE said) UNION ALL (TABLE said EXCEPT TABLE model)",
        zone,
    )


def test_it_builds_tests_and_follows_a_late_correction(dbt: Dbt, sql: Query) -> None:
    tell(sql)
    code, statuses = dbt("build", "--vars", "{hercle_zone: Europe/Rome}")

    assert set(statuses.values()) == {"success", "pass"}, statuses
    assert code == 0
    assert sum(status == "pass" for status in statuses.values()) >= 20
    assert differences(sql, "Europe/Rome") == []
    ((unchanged,),) = sql(
        "SELECT changed_at FROM analytics.balance_end_of_day WHERE day = '2025-03-04' LIMIT 1"
    )

    # The 10th is corrected today: it is built anew from then on, and nothing before it.
    sql("UPDATE ingest.balance SET available = 6 WHERE valid_from = '2025-03-10 12:00+00'")
    sql("UPDATE ingest.version SET recorded_at = now() WHERE valid_from = '2025-03-10 12:00+00'")
    assert len(differences(sql, "Europe/Rome")) > 0
    code, statuses = dbt("build", "--vars", "{hercle_zone: Europe/Rome}")
    assert code == 0, statuses
    assert differences(sql, "Europe/Rome") == []
    assert sql(
        "SELECT DISTINCT changed_at FROM analytics.balance_end_of_day "
        "WHERE day BETWEEN '2025-03-04' AND '2025-03-05'"
    ) == [(unchanged,)]


def test_a_dead_account_is_seen_behind_a_live_one(dbt: Dbt, sql: Query) -> None:
    tell(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = NULL, heartbeat_at = now() WHERE account = 'main'")
    sql("UPDATE ingest.watermark SET confirmed_until = now() WHERE account = 'main'")
    sql(
        "UPDATE ingest.gap SET ended_at = now(), balances_confirmed_at = now(), pairs_confirmed_at = now() "
        "WHERE ended_at IS NULL"
    )
    code, statuses = dbt("source", "freshness")
    assert (code, statuses) == (0, {"report.freshness": "pass"})

    sql("UPDATE ingest.heartbeat SET stopped_at = NULL WHERE account = 'polled'")
    code, statuses = dbt("source", "freshness")
    assert (code, statuses) == (1, {"report.freshness": "error"})
    code, statuses = dbt("test", "--select", "stale_streams", "source_returns_no_rows_report_data_quality_")
    assert code == 1
    assert list(statuses.values()) == ["fail", "fail"], statuses
