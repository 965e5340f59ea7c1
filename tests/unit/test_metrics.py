"""What `/metrics` exposes is what the operator's table lists; off, it costs nothing."""

import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingestor.app.metrics import EXPOSED, PREFIX, page
from tests.support.daemon import ROOT, surroundings
from tests.support.daemon_status import daemon_status
from tests.support.metrics_table import metrics_table

DOCUMENT = (ROOT / "deploy" / "METRICS.md").read_text()
UNITS = ("_seconds", "_bytes", "_records", "_total", "_info")


def test_the_table_of_metrics_is_current() -> None:
    """Renew it by the command that stands in its marker."""
    marker = "<!-- generated: python -m tests.support.metrics_table -->\n\n"
    assert DOCUMENT.partition(marker)[2].partition("\n## ")[0].rstrip() == metrics_table().rstrip()


def test_each_metric_is_exposed_once_under_the_name_of_the_table() -> None:
    names = [f"{PREFIX}{each.name}" for each in EXPOSED]
    families = list(text_string_to_metric_families(page(daemon_status).decode()))
    assert len(names) == len(set(names))
    assert {sample.name for family in families for sample in family.samples} == set(names)
    for each in EXPOSED:
        assert re.fullmatch(r"[a-z][a-z_]*", each.name)
        assert each.meaning.endswith(".")
        if "Age" in each.meaning or each.meaning.startswith(("Seconds", "Bytes")):
            assert each.name.endswith(UNITS), each.name


def test_labels_are_few_and_from_fixed_sets() -> None:
    samples = [
        s for family in text_string_to_metric_families(page(daemon_status).decode()) for s in family.samples
    ]
    assert f"\n{len(samples)} series for an account." in DOCUMENT
    assert len(samples) <= 200
    assert max(len(sample.labels) for sample in samples) == 1


def test_what_is_not_known_yet_has_no_sample() -> None:
    text = page(lambda: daemon_status(seconds_since_commit=None, clock_offset_seconds=None)).decode()
    assert f"\n{PREFIX}last_commit_age_seconds " not in text
    assert f"\n{PREFIX}clock_offset_seconds " not in text


@pytest.mark.parametrize("listen", [None, "127.0.0.1:0"])
def test_the_library_is_imported_only_where_metrics_are_on(listen: str | None) -> None:
    code = (
        "import sys; from ingestor.adapters.clock import DatabaseClock; from ingestor.cli import run\n"
        "from ingestor.app.endpoint import metrics_server\n"
        f"made = metrics_server({listen!r}, lambda: None, DatabaseClock())\n"
        "print(made is not None, any(name.startswith(('prometheus', 'http.server')) for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**surroundings(), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == [str(listen is not None)] * 2
