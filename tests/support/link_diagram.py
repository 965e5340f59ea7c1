"""Draws the link's table into STATES.md: `python -m tests.support.link_diagram`."""

from pathlib import Path

from ingestor.adapters.hub import states
from ingestor.adapters.hub.states import TRANSITIONS, LinkState

PAGE = Path(states.__file__).with_name("STATES.md")
_BEGIN, _END = "<!-- drawn from states.py: begin -->", "<!-- drawn from states.py: end -->"


def drawn(page: str) -> str:
    """`page` with the table as a Mermaid state diagram between its markers."""
    lines = ["stateDiagram-v2", f"    [*] --> {LinkState.IDLE}"]
    lines += [f"    {state} --> {to}: {event}" for (state, event), to in TRANSITIONS.items()]
    lines.append(f"    {LinkState.STOPPED} --> [*]")
    before, _, rest = page.partition(_BEGIN)
    diagram = "\n".join(lines)
    return f"{before}{_BEGIN}\n```mermaid\n{diagram}\n```\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text("utf-8")), "utf-8")
