"""What the operator's guide says of pandas, polars, duckdb and Excel, by the real ones."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, surroundings
from tests.support.environments import environment
from tests.support.rows import Query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXACT = "0.123456789012345678"
PROGRAM = """
import io, json, sys
import duckdb, openpyxl, pandas, polars, sqlalchemy

query = sqlalchemy.text("SELECT amount, amount::text AS exact, at, session_id FROM told ORDER BY at")
with sqlalchemy.create_engine(sys.argv[1]).connect() as connection:
    rounded = pandas.read_sql(query, connection)
    exact = pandas.read_sql(query, connection, coerce_float=False)
    frame = polars.read_database(query, connection)

def written(frame):
    file = io.BytesIO()
    frame.to_excel(file, index=False)
    return [cell.value for cell in list(openpyxl.load_workbook(file).active.rows)[1]]

try:
    written(exact[["at"]])
    refused = None
except ValueError as error:
    refused = str(error)
print(json.dumps({
    "pandas": [str(rounded.amount.dtype), str(exact.amount[0]), str(exact["at"].dtype)],
    "polars": [str(frame.schema["amount"]), str(frame["amount"][0]), str(frame.schema["at"]),
        str(frame.schema["session_id"])],
    "duckdb": duckdb.sql("SELECT typeof(amount), typeof(exact) FROM rounded").fetchall()[0],
    "duckdb exact": [str(value) for value in duckdb.sql("SELECT amount, exact FROM exact").fetchall()[0]],
    "excel": written(exact[["amount", "exact"]]),
    "excel refuses": refused,
}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tools") / "venv"
    return environment(directory, Path(__file__).with_name("other_tools.txt")) / "python"


def test_numeric_and_timestamptz_become_what_the_guide_says(python: Path, database: str, sql: Query) -> None:
    sql("CREATE TABLE told (amount numeric, at timestamptz, session_id uuid)")
    sql(f"INSERT INTO told VALUES ({EXACT}, '2025-03-30 00:30+00', gen_random_uuid())")
    sql(f"INSERT INTO told VALUES ({EXACT}, '2025-03-30 01:30+00', gen_random_uuid())")
    sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET timezone = UTC', current_database()); END $$")
    done = subprocess.run(
        [str(python), "-c", PROGRAM, database],
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    excel, refused = said.pop("excel"), said.pop("excel refuses")
    assert said == {
        "pandas": ["float64", EXACT, "datetime64[us, UTC]"],
        "polars": [
            "Decimal(precision=38, scale=18)",
            EXACT,
            "Datetime(time_unit='us', time_zone='UTC')",
            "Object",
        ],
        "duckdb": ["DOUBLE", "VARCHAR"],
        "duckdb exact": [EXACT, EXACT],
    }
    assert "timezone" in refused
    assert (excel[0], excel[1]) == (pytest.approx(float(EXACT), abs=1e-15), EXACT)
    assert isinstance(excel[0], float)


def test_the_guide_names_them() -> None:
    section = (
        (ROOT / "deploy" / "README.md").read_text().partition("## Other tools\n")[2].partition("\n## ")[0]
    )
    for word in ("pandas", "polars", "duckdb", "Excel", "Metabase", "coerce_float=False", "Decimal(38)"):
        assert word in section
