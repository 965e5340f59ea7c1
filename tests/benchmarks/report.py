"""The figures for programs (`bench.json`) and for people (a table)."""

import json
from pathlib import Path

from tests.benchmarks.figures import FIGURE_TARGETS, TARGETS, Results


def as_json(results: Results, facts: dict[str, object]) -> dict[str, object]:
    """`facts` (machine, versions, seed and the like) and all figures."""
    return {
        **facts,
        "steal_percent_by_round": {str(number): round(share, 2) for number, share in results.steal.items()},
        "void_rounds": sorted(results.void),
        "figures": _rounded(results.figures()),
        "ratios": _rounded(results.ratios()),
        "problems": results.problems,
    }


def write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def table(results: Results) -> str:
    """Figures, then what has a target, with what it must reach and what is aimed at."""
    lines = [f"{'figure':44} {'median':>10} {'min':>10} {'max':>10}   n"]
    for name, figure in sorted(results.figures().items()):
        lines.append(f"{name:44} {_row(figure)}   {figure['n']} {figure['unit']}")
    head = f"{'with a target':44} {'median':>10} {'min':>10} {'max':>10}   n {'must':>7} {'aim':>6}  reached"
    lines += ["", head]
    known = results.ratios() | results.figures()
    for name, target in (TARGETS | FIGURE_TARGETS).items():
        sign = "<=" if target.lower_is_better else ">="
        bounds = f"{sign}{target.must:>5g} {target.aim:>6g}"
        if name in known:
            reached = target.reached(float(known[name]["median"]))
            lines.append(f"{target.text:44} {_row(known[name])}   {known[name]['n']} {bounds}  {reached}")
        else:
            lines.append(f"{target.text:44} {'no figure':>32}     {bounds}")
    lines += ["", *(f"PROBLEM {problem}" for problem in results.problems)]
    return "\n".join(lines).rstrip()


def _row(figure: dict[str, float | int | str]) -> str:
    return " ".join(f"{_short(float(figure[each])):>10}" for each in ("median", "min", "max"))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _rounded(
    figures: dict[str, dict[str, float | int | str]],
) -> dict[str, dict[str, float | int | str]]:
    return {
        name: {key: float(f"{each:.5g}") if isinstance(each, float) else each for key, each in figure.items()}
        for name, figure in figures.items()
    }
