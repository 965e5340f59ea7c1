"""The commands of the operator's guide and of the runbook."""

import re

from tests.support.daemon import ROOT

GUIDE = (ROOT / "deploy" / "README.md").read_text()


def block(section: str, number: int, language: str = "sh") -> str:
    """The n-th code block of a section, from 0. Without the editor: a test writes the file that it is for."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return "".join(line for line in found[number].splitlines(keepends=True) if not line.startswith("editor "))


def log_commands() -> list[str]:
    """Each command of the guide and of the runbook that reads the journal."""
    text = GUIDE + (ROOT / "deploy" / "RUNBOOK.md").read_text()
    return re.findall(r"(?m)^journalctl .*$", text)
