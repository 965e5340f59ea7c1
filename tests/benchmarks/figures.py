"""Figures of all rounds, and the ratios that count.

Ratios are taken within a round, where both sides met the same weather; what is stated is their median.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio must reach, and what we aim at."""

    must: float
    aim: float
    text: str
    lower_is_better: bool = False

    def reached(self, value: float) -> str:
        if self._holds(value, self.aim):
            return "aim"
        return "must" if self._holds(value, self.must) else "MISSED"

    def _holds(self, value: float, bound: float) -> bool:
        return value <= bound if self.lower_is_better else value >= bound


TARGETS = {
    "events_per_s_vs_script": Target(38, 50, "events/s, 5 assets, against SCRIPT"),
    "events_per_s_vs_copy": Target(0.8, 0.95, "events/s, 5 assets, against COPY at its best size"),
    "fat_events_per_s_vs_script": Target(75, 100, "events/s, 50 assets, against SCRIPT"),
    "p50_200_vs_floor": Target(1.65, 1.4, "p50 at 200/s against FLOOR", lower_is_better=True),
    "p50_burst_vs_script": Target(0.4, 0.33, "p50 in bursts of 20 against SCRIPT", lower_is_better=True),
    "cpu_vs_copy_plus_noop": Target(1.1, 0.9, "CPU per event against COPY + NOOP", lower_is_better=True),
    "throughput_10m_vs_empty": Target(0.8, 0.95, "events/s with the largest history against none"),
    "rss_500k_vs_100k": Target(1.05, 1.01, "memory at half a million against a fifth", lower_is_better=True),
    "duplicates_vs_new": Target(3, 4.5, "events/s, all of them duplicates, against new ones"),
}

FIGURE_TARGETS = {
    "status_seconds": Target(0.4, 0.4, "seconds of `ingestor status`", lower_is_better=True),
    "idle_rss_mib": Target(65, 65, "MiB of an idle daemon", lower_is_better=True),
    "bytes_per_idle_day": Target(1.2e6, 0.8e6, "bytes of an idle day, six assets", lower_is_better=True),
    "wakeups_per_s": Target(3, 3, "wake-ups a second of an idle daemon", lower_is_better=True),
}
"""What figures must reach that stand for themselves, compared with nobody."""


@dataclass(slots=True)
class Results:
    """What was measured, by round; what failed has no figure but a line in `problems`."""

    round: int = 0
    values: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    units: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    steal: dict[int, float] = field(default_factory=dict)
    void: set[int] = field(default_factory=set)

    def add(self, name: str, value: float, unit: str) -> None:
        self.values[name][self.round] = value
        self.units[name] = unit

    def ratio(self, name: str, over: float, under: float) -> None:
        """One of `TARGETS`, of this round."""
        self.add(name, over / under, "ratio")

    def has(self, *names: str) -> bool:
        """Whether this round has all of these."""
        return all(self.round in self.values[name] for name in names)

    def now(self, name: str) -> float:
        """This round's value."""
        return self.values[name][self.round]

    def figures(self) -> dict[str, dict[str, float | int | str]]:
        """Median, min, max, n and unit of all but the ratios."""
        return {
            name: {**self.summary(name), "unit": self.units[name]}
            for name in self.values
            if name not in TARGETS and self.values[name]
        }

    def ratios(self) -> dict[str, dict[str, float | int | str]]:
        """The same of the ratios, with what they must reach."""
        return {
            name: {
                **self.summary(name),
                "target": target.aim,
                "must": target.must,
                "better": "lower" if target.lower_is_better else "higher",
            }
            for name, target in TARGETS.items()
            if self.values.get(name)
        }

    def summary(self, name: str) -> dict[str, float | int]:
        kept = list(self._kept(self.values[name]))
        return {"median": median(kept), "min": min(kept), "max": max(kept), "n": len(kept)}

    def _kept(self, by_round: dict[int, float]) -> Iterable[float]:
        """Without void rounds, unless nothing else is left."""
        quiet = [value for number, value in by_round.items() if number not in self.void]
        return quiet or by_round.values()

    def missed(self) -> list[str]:
        """Ratios and figures that do not reach what they must."""
        return [
            name
            for name, target in (TARGETS | FIGURE_TARGETS).items()
            if self.values.get(name) and target.reached(self.summary(name)["median"]) == "MISSED"
        ]
