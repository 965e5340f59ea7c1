"""Secrets: where they are taken from, that they are read anew, and that descriptions hold none (I18)."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from ingestor.config import (
    EmbeddedDatabase,
    ExternalDatabase,
    Settings,
    database_password,
    database_target,
    load,
    resolve_key,
)
from ingestor.domain.errors import BadConfiguration


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def with_key_file(path: Path) -> Settings:
    return load(overrides={"hub.key_file": str(path)}, environ={}).settings


def test_credential_goes_before_key_file_goes_before_variable(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    secret_file(credentials / "hercle_api_key", "from-credential", 0o444)
    settings = with_key_file(secret_file(tmp_path / "key", "from-file"))
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "HERCLE_API_KEY": "from-variable"}

    assert resolve_key(settings, environ).read() == "from-credential"
    del environ["CREDENTIALS_DIRECTORY"]
    assert resolve_key(settings, environ).read() == "from-file"
    assert resolve_key(Settings(), environ).read() == "from-variable"


def test_the_description_names_the_source_and_never_the_value(tmp_path: Path) -> None:
    settings = with_key_file(secret_file(tmp_path / "key", "canary-1234"))
    source = resolve_key(settings, {})
    assert str(tmp_path / "key") in source.where
    assert "canary" not in source.where + repr(source)
    assert "HERCLE_API_KEY" in resolve_key(Settings(), {"HERCLE_API_KEY": "canary-1234"}).where


def test_a_rotated_key_is_seen_without_a_restart_and_white_space_is_stripped(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "key", "\ufeff old-key \n")
    source = resolve_key(with_key_file(path), {})
    assert source.read() == "old-key"
    secret_file(path, "new-key\n")
    assert source.read() == "new-key"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o777])
def test_a_key_file_open_to_others_is_rejected_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path / "key", "canary-1234", mode)
    with pytest.raises(BadConfiguration, match="chmod 0600") as caught:
        resolve_key(with_key_file(path), {})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_key_file_for_owner_and_group_is_accepted(tmp_path: Path, mode: int) -> None:
    assert resolve_key(with_key_file(secret_file(tmp_path / "key", "k", mode)), {}).read() == "k"


@pytest.mark.parametrize("text", ["", " \n", "Bearer canary", "canary\ncanary", "canary\x00", "canäry"])
def test_a_key_that_cannot_be_one_is_rejected_without_repeating_it(tmp_path: Path, text: str) -> None:
    path = secret_file(tmp_path / "key", text)
    with pytest.raises(BadConfiguration, match=r"key (is empty|is not valid)") as caught:
        resolve_key(with_key_file(path), {})
    assert "can" not in str(caught.value).replace("cannot", "")


def test_a_missing_key_names_all_places_to_put_one() -> None:
    with pytest.raises(BadConfiguration, match="LoadCredential=hercle_api_key") as caught:
        resolve_key(Settings(), {})
    assert "hub.key_file" in str(caught.value)
    assert "HERCLE_API_KEY" in str(caught.value)


def test_a_missing_key_file_is_not_passed_over_for_a_weaker_source(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="No such file"):
        resolve_key(with_key_file(tmp_path / "missing"), {"HERCLE_API_KEY": "weaker"})


def test_the_database_password_comes_from_credential_then_file_then_url(tmp_path: Path) -> None:
    url = "postgresql://u:p%40ss@h/d"
    secret_file(tmp_path / "database_password", "from-credential")
    path = secret_file(tmp_path / "pw", "from/file@x")
    settings = load(overrides={"database.url": url, "database.password_file": str(path)}, environ={}).settings
    in_url = load(overrides={"database.url": url}, environ={}).settings

    def read(settings: Settings, environ: dict[str, str]) -> str | None:
        source = database_password(settings, environ)
        return source.read() if source else None

    assert read(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "from-credential"
    assert read(settings, {}) == "from/file@x"
    assert read(in_url, {}) == "p@ss"
    assert read(load(overrides={"database.url": "postgresql:///d"}, environ={}).settings, {}) is None
    assert read(Settings(), {}) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:old@h:5433/d?sslmode=require", ("u", "h", "5433", "d")),
        ("postgresql://u@h/d", ("u", "h", None, "d")),
        ("postgres:///d?host=/run/postgresql", (None, "/run/postgresql", None, "d")),
    ],
)
def test_the_password_finds_its_place_in_the_url(
    tmp_path: Path, url: str, expected: tuple[str | None, str | None, str | None, str]
) -> None:
    path = secret_file(tmp_path / "pw", "a/b@c:d%e?f")
    settings = load(overrides={"database.url": url, "database.password_file": str(path)}, environ={}).settings
    target = database_target(settings, {})
    assert isinstance(target, ExternalDatabase)
    parsed = conninfo_to_dict(target.url)
    assert parsed["password"] == "a/b@c:d%e?f"
    assert tuple(parsed.get(name) for name in ("user", "host", "port", "dbname")) == expected
    assert "a%2Fb" not in target.describe() + repr(target)


def test_a_private_postgres_is_meant_only_where_it_is_asked_for(tmp_path: Path) -> None:
    chosen = load(overrides={"database.embedded_directory": str(tmp_path)}, environ={}).settings
    assert database_target(chosen, {}) == EmbeddedDatabase(tmp_path)


@pytest.mark.parametrize("environ", [{}, {"STATE_DIRECTORY": "/var/lib/ingestor"}, {"HOME": "/home/me"}])
def test_a_forgotten_url_is_said(environ: dict[str, str]) -> None:
    with pytest.raises(BadConfiguration, match=r"database\.url is not set") as caught:
        database_target(Settings(), environ)
    assert caught.value.exit_code == 78
