"""The commands of the operator's guide."""

import re

from tests.support.daemon import ROOT

GUIDE = (ROOT / "deploy" / "README.md").read_text()


def block(section: str, number: int, language: str = "sh") -> str:
    """The n-th code block of a section, from 0. Without the editor: a test writes the file that it is for."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return "".join(line for line in found[number].splitlines(keepends=True) if not line.startswith("editor "))
