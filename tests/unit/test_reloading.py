"""Which settings count without a restart: exactly those that the operator's guide lists."""

import re
from dataclasses import fields
from typing import Any

from ingestor.app.reloading import reloaded
from ingestor.config import Settings, differing
from ingestor.config.keys import all_keys, sections
from tests.support.daemon import ROOT


def others() -> Settings:
    """Each setting has another value than its default."""
    whole: dict[str, Any] = {
        name: model(**{each.name: object() for each in fields(model)}) for name, model in sections().items()
    }
    return Settings(account="another", **whole)


def test_what_a_reload_changes_is_what_the_guide_lists() -> None:
    guide = (ROOT / "deploy" / "README.md").read_text()
    listed = guide.partition("These settings take effect:")[2].partition("All other settings")[0]
    names = set(re.findall(r"`([\w.]+)`", listed)) & set(all_keys())
    for section in re.findall(r"`\[(\w+)\]`", listed):
        names |= {name for name in all_keys() if name.startswith(f"{section}.")}

    assert set(differing(Settings(), others())) == set(all_keys())
    assert set(differing(Settings(), reloaded(Settings(), others()))) == names
