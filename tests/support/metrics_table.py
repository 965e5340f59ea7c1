"""The table of metrics in `deploy/METRICS.md`: `python -m tests.support.metrics_table` prints it."""

import sys

from ingestor.app.metrics import EXPOSED, PREFIX


def metrics_table() -> str:
    """Markdown: a row for each metric, in order."""
    lines = ["| metric | type | label | meaning |", "|---|---|---|---|"]
    for each in EXPOSED:
        label = "" if each.label is None else f"`{each.label}`"
        lines.append(f"| `{PREFIX}{each.name}` | {each.kind} | {label} | {each.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(metrics_table())
