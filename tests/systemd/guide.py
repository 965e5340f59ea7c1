"""The commands of the operator's guide and of the runbook."""

import re

from tests.support.daemon import ROOT

GUIDE = (ROOT / "deploy" / "README.md").read_text()


def block(section: str, number: int, language: str = "sh") -> str:
    """The n-th code block of a section, from 0. Without the editor: a test writes the file that it is for."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return "".join(line for line in found[number].splitlines(keepends=True) if not line.startswith("editor "))


def commands(console: str) -> list[str]:
    """Each command of a block of language `console`, without its prompt."""
    return [each.rstrip("\n") for each in re.split(r"(?m)^\$ ", console)[1:]]


def runbook() -> dict[str, list[str]]:
    """Of each alert the commands."""
    entries = (ROOT / "deploy" / "RUNBOOK.md").read_text().split("\n## ")[1:]
    found = {entry.splitlines()[0]: re.findall(r"```sh\n(.*?)```", entry, re.DOTALL) for entry in entries}
    return {alert: "".join(blocks).splitlines() for alert, blocks in found.items()}


def log_commands() -> list[str]:
    """Each command of the guide and of the runbook that reads the journal."""
    text = GUIDE + (ROOT / "deploy" / "RUNBOOK.md").read_text()
    return re.findall(r"(?m)^journalctl .*$", text)
