"""The guide's statements for TimescaleDB, on a server that has a function of that name and nothing behind it.

The extension is in no package of Debian's, so this shows only which tables it would be asked to take.
"""

import re

from tests.support.daemon import ROOT
from tests.support.rows import Query

GUIDE = (ROOT / "deploy" / "README.md").read_text()
GROWING = {
    ("raw_event", "received_at"),
    ("outcome", "received_at"),
    ("balance", "valid_from"),
    ("exposure", "observed_at"),
    ("exposure_total", "observed_at"),
    ("pair", "valid_from"),
    ("request", "requested_at"),
}


def test_each_table_that_grows_is_named_with_a_time_of_its_key(sql: Query) -> None:
    (statements,) = re.findall(r"```sql\n(.*?)```", GUIDE.partition("## TimescaleDB")[2], re.DOTALL)
    take, analyze, rest = statements.split(";")
    sql(
        "CREATE FUNCTION create_hypertable(t regclass, c name, migrate_data boolean) RETURNS text "
        "LANGUAGE sql RETURN t || ' ' || c"
    )
    sql("SET search_path = public, ingest")

    taken = [each.split() for (each,) in sql(take)]

    assert {tuple(each) for each in taken} == GROWING
    assert len(taken) == len(GROWING)
    sql(analyze)
    assert rest.strip() == ""
