"""Runs the shipped alert rules on series, by promtool."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import ROOT

DIRECTORY = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed; Debian's package prometheus has it"
)
STEP_SECONDS = 15
QUIET_STEPS = 8
_TARGET = {"job": "hercle-ingestor", "instance": "main"}
Series = dict[str, str]
"""Values in promtool's notation, by series; one value a step."""


@dataclass(frozen=True)
class Firing:
    """What must be firing at a moment, and nothing else."""

    minutes: float
    firing: frozenset[str]


def firing_at(minutes: float, *firing: str) -> Firing:
    return Firing(minutes, frozenset(f"HercleIngestor{name}" for name in firing))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)


def check(folder: Path, series: Series, expected: Iterable[Firing], step: int = STEP_SECONDS) -> None:
    """Raises AssertionError with promtool's words if anything else is firing."""
    tests = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{round(each.minutes * 60)}s",
            "exp_samples": [
                {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(each.firing)
            ],
        }
        for each in expected
    ]
    file = folder / "test.json"  # which is YAML too
    file.write_text(
        json.dumps(
            {
                "rule_files": [str(DIRECTORY / "alerts.yml")],
                "evaluation_interval": f"{step}s",
                "tests": [
                    {
                        "interval": f"{step}s",
                        "input_series": [
                            {"series": name, "values": values} for name, values in series.items()
                        ],
                        "promql_expr_test": tests,
                    }
                ],
            }
        )
    )
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def scraped(text: str) -> dict[str, float]:
    """Each series of a scrape, as Prometheus names it, with `up`."""
    found = {_name("up", {}): 1.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[_name(sample.name, sample.labels)] = sample.value
    return found


def history(before: str, during: tuple[str, str] | None, minutes: float, step: int = STEP_SECONDS) -> Series:
    """`QUIET_STEPS` as in the first scrape, then so many minutes as in the other two.

    Args:
        during: two scrapes, a second apart at least: an age that grows from one to the other grows on, and
            everything else stays. None where the daemon did not answer.
    """
    well, count = scraped(before), round(minutes * 60 / step)
    first, second = map(scraped, during) if during else ({_name("up", {}): 0.0},) * 2
    series = {}
    for name in well.keys() | second.keys():
        quiet = f"{well[name]}+0x{QUIET_STEPS - 1}" if name in well else f"_x{QUIET_STEPS}"
        value = second.get(name)
        grows = "_age_seconds" in name and value is not None and value > first.get(name, value) + 0.9
        trouble = "stale" if value is None else f"{value}+{step if grows else 0}x{count}"
        series[name] = f"{quiet} {trouble}"
    return series


def _name(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ", ".join(f'{key}="{value}"' for key, value in {**_TARGET, **labels}.items()) + "}"
