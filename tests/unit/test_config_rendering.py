"""Settings as text: the example is the defaults, and what is shown can be read back."""

import tomllib
from pathlib import Path

import pytest

from ingestor.config import Settings, load
from ingestor.config.keys import all_keys, sections, value_of
from ingestor.config.rendering import example, explain, show
from ingestor.domain.errors import BadConfiguration

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_parses_and_equals_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(example())
    loaded = load(file, environ={})
    assert loaded.settings == Settings()
    assert set(loaded.origins) == {name for name, key in all_keys().items() if key.default is not None}


def test_each_line_of_the_example_that_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    """An operator removes the `# ` and nothing else."""
    for key in (key for key in all_keys().values() if key.default is None):
        table, _, leaf = key.name.rpartition(".")
        section = example().partition(f"[{table}]\n")[2].partition("\n[")[0]
        lines = [line for line in section.splitlines() if line.startswith(f"# {leaf} = ")]
        assert len(lines) == 1, key.name
        (value,) = tomllib.loads(lines[0].removeprefix("# ")).values()
        prerequisite = {"database.url": "postgresql:///x"} if key.name == "database.password_file" else {}
        load(overrides={key.name: value, **prerequisite}, environ={})


def test_the_deployed_example_is_current() -> None:
    """Renew it with `ingestor config example > deploy/ingestor.toml.example`."""
    assert (DEPLOY / "ingestor.toml.example").read_text() == example()


def test_every_setting_and_section_is_described_and_every_setting_names_its_unit() -> None:
    for key in all_keys().values():
        assert key.description.endswith("."), key.name
        if isinstance(key.default, float):
            assert key.name.endswith(("_seconds", "_factor", "_share")), key.name
    assert all(section.__doc__ for section in sections().values())


def test_shown_settings_are_toml_with_origins_and_without_passwords(tmp_path: Path) -> None:
    file = tmp_path / "ingestor.toml"
    file.write_text('account = "requests-2"\n')
    loaded = load(
        file,
        overrides={"hub.ca_file": '/x/"quoted"'},
        environ={"INGESTOR_DATABASE__URL": "postgresql://u:canary-pw@h/d?sslpassword=canary-2"},
    )
    text = show(loaded)
    values = tomllib.loads(text)
    assert values["account"] == "requests-2"
    assert values["hub"]["ca_file"] == '/x/"quoted"'
    assert values["inbox"]["max_bytes"] == 32 * 1024 * 1024
    assert f'account = "requests-2"  # {file}:1' in text
    assert "# environment variable INGESTOR_DATABASE__URL" in text
    assert "canary" not in text
    assert "u:********@h" in text


def test_explain_tells_value_origin_kind_default_and_variable() -> None:
    loaded = load(environ={"INGESTOR_DRAIN__DEADLINE_SECONDS": "6.5"})
    text = explain(loaded, "drain.deadline_seconds")
    for piece in ("6.5", "environment variable INGESTOR_DRAIN__DEADLINE_SECONDS", "at most", "8", "SIGTERM"):
        assert piece in text
    assert value_of(loaded.settings, all_keys()["drain.deadline_seconds"]) == 6.5


def test_explain_suggests_the_nearest_setting() -> None:
    with pytest.raises(BadConfiguration, match=r"did you mean hub.negotiate"):
        explain(load(environ={}), "hub.negociate")


def test_explain_knows_a_setting_by_its_other_name() -> None:
    loaded = load(environ={})

    assert explain(loaded, "database.dsn") == explain(loaded, "database.url")
