"""Settings: which source wins, what is rejected, and what the error says."""

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import psycopg
import pytest

import ingestor
from ingestor.config import Environment, Settings, load
from ingestor.config.keys import all_keys, value_of
from ingestor.domain.errors import BadConfiguration


def toml(directory: Path, text: str) -> Path:
    path = directory / "ingestor.toml"
    path.write_text(text)
    return path


def rejected(**arguments: object) -> str:
    with pytest.raises(BadConfiguration) as caught:
        load(**{"environ": {}, **arguments})  # type: ignore[arg-type]
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_without_any_source_all_values_are_defaults(tmp_path: Path) -> None:
    loaded = load(environ={"XDG_CONFIG_HOME": str(tmp_path)})
    assert loaded.settings == Settings()
    assert loaded.origin("hub.url") == "default"
    assert loaded.settings.hub.address.startswith("https://publicapi.sandbox.")


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        "account = 'file'\n[hub]\nenvironment = 'production'\n[log]\nlevel = 'error'\nformat='json'\n",
    )
    loaded = load(
        file,
        overrides={"account": "flag"},
        environ={"INGESTOR_ACCOUNT": "variable", "INGESTOR_LOG__LEVEL": "debug"},
    )
    assert loaded.settings.account == "flag"
    assert loaded.settings.log.level == "debug"
    assert loaded.settings.log.format == "json"
    assert loaded.settings.hub.environment is Environment.PRODUCTION
    assert loaded.origin("account") == "command line"
    assert loaded.origin("log.level") == "environment variable INGESTOR_LOG__LEVEL"
    assert loaded.origin("hub.environment") == f"{file}:3"
    assert loaded.origin("drain.deadline_seconds") == "default"


def test_the_environment_of_the_process_alone_does_not_change_a_bare_settings_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INGESTOR_ACCOUNT", "elsewhere")
    assert Settings().account == "main"


@pytest.mark.parametrize("variable", ["CONFIGURATION_DIRECTORY", "XDG_CONFIG_HOME", "HOME"])
def test_the_file_is_found_in_its_usual_places(tmp_path: Path, variable: str) -> None:
    below = {"CONFIGURATION_DIRECTORY": "", "XDG_CONFIG_HOME": "ingestor", "HOME": ".config/ingestor"}[
        variable
    ]
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    file = toml(tmp_path / below, "account = 'found'\n")
    loaded = load(environ={variable: str(tmp_path)})
    assert (loaded.settings.account, loaded.file) == ("found", file)


def test_a_variable_can_name_the_file_and_the_flag_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    by_variable = toml(tmp_path / "a", "account = 'a'\n")
    by_flag = toml(tmp_path / "b", "account = 'b'\n")
    environ = {"INGESTOR_CONFIG": str(by_variable)}
    assert load(environ=environ).settings.account == "a"
    assert load(by_flag, environ=environ).settings.account == "b"


def test_a_file_that_was_asked_for_and_is_missing_is_an_error(tmp_path: Path) -> None:
    assert "no configuration file" in rejected(config_file=tmp_path / "missing.toml")


def test_all_mistakes_are_named_at_once_with_key_origin_and_fix(tmp_path: Path) -> None:
    file = toml(tmp_path, "acount = 'x'\n\n[hub]\n# a comment\nping_interval_seconds = 'often'\n")
    text = rejected(
        config_file=file,
        overrides={"drain.deadline_seconds": -1},
        environ={"INGESTOR_HUB__PING_INTERVAL_SECOND": "1", "INGESTOR_LOG__LEVEL": "loud"},
    )
    assert "5 settings are wrong" in text
    unknown = f"acount: this setting does not exist\n  why: set by {file}:1\n  fix: did you mean account?"
    assert unknown in text
    assert f"set by {file}:5" in text
    assert "did you mean INGESTOR_HUB__PING_INTERVAL_SECONDS?" in text
    assert "set by environment variable INGESTOR_LOG__LEVEL" in text
    assert "one of debug, info, warning, error" in text
    assert "drain.deadline_seconds" in text
    assert "command line" in text


@pytest.mark.parametrize(
    ("given", "guess"),
    [
        ("hub.pings", None),
        ("writer.max_bytes", "inbox.max_bytes"),
        ("databse.url", "database.url"),
        ("database.zzz", None),
        ("hub.flavour", None),
        ("inbox.max_record", "inbox.max_records"),
    ],
)
def test_an_unknown_key_gets_a_suggestion_where_there_is_a_near_one(given: str, guess: str | None) -> None:
    text = rejected(overrides={given: 1})
    assert (f"did you mean {guess}?" in text) if guess else ("did you mean" not in text)


@pytest.mark.parametrize(
    "variable", ["INGESTOR_HUB_URL", "INGESTOR_hub__url", "ingestor_hub__url", "INGESTOR_HUB__URL_"]
)
def test_a_misspelt_variable_is_rejected_and_the_right_one_suggested(variable: str) -> None:
    text = rejected(environ={variable: "https://hub.example.net"})
    assert variable in text
    assert "did you mean INGESTOR_HUB__URL?" in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INGESTOR_SERVICE_HOST", "10.96.0.7"),
        ("INGESTOR_SERVICE_PORT", "5432"),
        ("INGESTOR_SERVICE_PORT_METRICS", "9090"),
        ("INGESTOR_PORT", "tcp://10.96.0.7:5432"),
        ("INGESTOR_PORT_5432_TCP", "tcp://10.96.0.7:5432"),
        ("INGESTOR_PORT_5432_TCP_PROTO", "tcp"),
        ("INGESTOR_PORT_5432_TCP_PORT", "5432"),
        ("INGESTOR_PORT_5432_TCP_ADDR", "10.96.0.7"),
        ("INGESTOR_PORT_53_UDP_ADDR", "10.96.0.7"),
        ("INGESTOR_HUB_SERVICE_HOST", "10.96.0.7"),
        ("INGESTOR_HUB_PORT", "tcp://10.96.0.7:80"),
        ("INGESTOR_DATABASE_POOLER_SERVICE_PORT", "6432"),
    ],
)
def test_the_service_links_of_kubernetes_are_not_ours(variable: str, value: str) -> None:
    """A service named `ingestor`, or `ingestor-hub`, gives them to every pod of its namespace."""
    assert load(environ={variable: value}) == load(environ={})


@pytest.mark.parametrize(
    ("variable", "value"),
    [("INGESTOR_PORT", "5432"), ("INGESTOR_HUB_PORT", "443"), ("INGESTOR_SERVICE_HOSTS", "x")],
)
def test_what_only_looks_like_a_service_link_is_a_mistake(variable: str, value: str) -> None:
    assert variable in rejected(environ={variable: value})


@pytest.mark.parametrize("variable", ["INGESTOR_HOME", "INGESTOR_HUB__FLAVOUR", "INGESTOR_DATABASE__ZZZ"])
def test_a_variable_that_is_like_none_gets_no_suggestion(variable: str) -> None:
    text = rejected(environ={variable: "x"})
    assert variable in text
    assert "did you mean" not in text


def test_an_empty_variable_is_rejected_rather_than_taken_for_a_value() -> None:
    assert "is empty" in rejected(environ={"INGESTOR_HUB__CA_FILE": ""})


@pytest.mark.parametrize("name", ["hub.api_key", "hub.token", "key"])
def test_a_key_among_the_settings_is_rejected_and_not_repeated(name: str) -> None:
    text = rejected(overrides={name: "sk-canary-9f8e7d6c"})
    assert "secrets are not settings" in text
    assert "canary" not in text


def test_no_error_repeats_a_database_url() -> None:
    for url in ("mysql://u:canary-pw@h/d", "postgresql://u:canary/pw@h/d", "postgresql://u:canary-pw@h:x/d"):
        text = rejected(environ={"INGESTOR_DATABASE__URL": url})
        assert "canary" not in text
        assert "database.url" in text


def test_broken_toml_names_the_line_and_quotes_nothing(tmp_path: Path) -> None:
    file = toml(tmp_path, "account = 'x'\n[database]\nurl = \"canary-pw\n")
    text = rejected(config_file=file)
    assert f"{file}:3" in text
    assert "canary" not in text


def test_the_line_is_right_below_dotted_keys_and_quoted_names(tmp_path: Path) -> None:
    file = toml(
        tmp_path, '\nhub.environment = "production"\n"log".level = "error"\n\n[ drain ] # end\n"x" = 1\n'
    )
    text = rejected(config_file=file)
    assert f"drain.x: this setting does not exist\n  why: set by {file}:6" in text


@pytest.mark.parametrize(
    "url",
    [
        "http://hub.example.net/x",
        "ws://10.0.0.1/x",
        "http://127.0.0.1.example.net/",
        "ftp://hub.example.net/",
        "hub.example.net",
        "https://",
        "https://user:pw@hub.example.net/",
        "https://hub.example.net/?access_token=x",
        "https://hub.example.net:port/",
        "https://hub.example.net/\nx",
    ],
)
def test_a_hub_address_that_could_expose_the_key_is_rejected(url: str) -> None:
    assert "hub.url" in rejected(overrides={"hub.url": url})


@pytest.mark.parametrize(
    "url", ["https://h/x", "wss://h/x", "http://localhost:1/x", "ws://127.0.0.9/x", "http://[::1]:80/x"]
)
def test_encrypted_addresses_and_loopback_are_accepted(url: str) -> None:
    loaded = load(overrides={"hub.url": url + "/"}, environ={})
    assert loaded.settings.hub.address == url


def test_the_presets_are_the_vendors_hubs() -> None:
    production = load(overrides={"hub.environment": "production"}, environ={}).settings
    assert production.hub.address == "https://publicapi.hercle.financial/ExecutionLiveServer/v1"
    assert Settings().hub.address == "https://publicapi.sandbox.hercle.financial/ExecutionLiveServer/v1"


def test_the_custom_environment_needs_an_address() -> None:
    assert "set hub.url" in rejected(overrides={"hub.environment": "custom"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("account", "Main"),
        ("account", "a" * 33),
        ("account", ""),
        ("account", "main\n"),
        ("hub.receive_deadline_seconds", float("nan")),
        ("hub.receive_deadline_seconds", float("inf")),
        ("hub.receive_deadline_seconds", 9),
        ("hub.ping_interval_seconds", True),
        ("hub.max_record_bytes", 17 * 1024 * 1024),
        ("hub.ca_file", "relative.pem"),
        ("database.statement_deadline_seconds", 16),
        ("database.password_file", "/x"),
        ("snapshots.balances_interval_seconds", 14),
        ("inbox.max_records", 0),
        ("writer.batch_max_records", 1.5),
        ("sequence.reset_confirmations", 1),
        ("sequence.mass_delete_share", 1.01),
        ("log.format", "xml"),
    ],
)
def test_values_outside_their_range_are_rejected(key: str, value: object) -> None:
    assert key.split(".", maxsplit=1)[0] in rejected(overrides={key: value})


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("inbox.max_records", "10_000", 10_000),
        ("inbox.max_records", 20.0, 20),
        ("drain.deadline_seconds", "6.5", 6.5),
        ("drain.deadline_seconds", 86_400, 86_400.0),
        ("inbox.put_timeout_seconds", "0", 0.0),
        ("sequence.mass_delete_share", "1", 1.0),
        ("hub.ca_file", "/etc/ssl/hub.pem", Path("/etc/ssl/hub.pem")),
    ],
)
def test_text_and_toml_are_read_as_the_kind_of_the_setting(key: str, given: object, read: object) -> None:
    found = value_of(load(overrides={key: given}, environ={}).settings, all_keys()[key])
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("drain.deadline_seconds", "soon", "the value is not a number"),
        ("drain.deadline_seconds", 0, "the value is outside the range"),
        ("drain.deadline_seconds", "nan", "the value is outside the range"),
        ("inbox.max_records", "1.5", "the value is not a whole number"),
        ("inbox.max_records", [1], "the value is not a whole number"),
        ("inbox.max_records", 1.5, "the value is not a whole number"),
        ("log.level", "loud", "the value is not one of the choices"),
        ("account", 7, "the value is not text"),
    ],
)
def test_a_value_of_another_kind_is_told_what_is_expected(key: str, value: object, what: str) -> None:
    setting = all_keys()[key]
    assert rejected(overrides={key: value}) == (
        f"{key}: {what}\n  why: set by command line\n"
        f"  fix: expected: {setting.kind.words}; the default is {setting.default!s}"
    )


def test_a_server_and_a_private_postgres_exclude_each_other() -> None:
    text = rejected(overrides={"database.url": "postgresql:///x", "database.embedded_directory": "/var/x"})
    assert "database.embedded_directory" in text


def test_dsn_is_another_name_for_url_but_not_beside_it() -> None:
    url = load(environ={"INGESTOR_DATABASE__DSN": "postgres://u@h/d"}).settings.database.url
    assert url is not None
    assert url.text == "postgresql://u@h/d"
    both = {"INGESTOR_DATABASE__DSN": "postgres://u@h/d", "INGESTOR_DATABASE__URL": "postgres://u@h/d"}
    assert "set twice" in rejected(environ=both)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:pw@h1:5432,h2:5433/d?sslmode=require", ("u", "pw", ["h1", "h2"], ["5432", "5433"])),
        ("postgresql://h1,h2:5433/d", (None, None, ["h1", "h2"], ["", "5433"])),
        ("postgresql://u@[::1]:5432,10.0.0.2/d", ("u", None, ["::1", "10.0.0.2"], ["5432", ""])),
        ("postgresql://h1,h2/d", (None, None, ["h1", "h2"], None)),
    ],
)
def test_several_hosts_are_understood_by_libpq(
    given: str, read: tuple[str | None, str | None, list[str], list[str] | None]
) -> None:
    url = load(overrides={"database.url": given}, environ={}).settings.database.url
    assert url is not None
    known = psycopg.conninfo.conninfo_to_dict(url.text)
    port = str(known.get("port") or "").split(",")
    login = (known.get("user"), known.get("password"))
    assert (*login, str(known["host"]).split(","), port if any(port) else None) == read
    assert known["dbname"] == "d"


@pytest.mark.parametrize(
    "url", ["postgresql://u@h1:p,h2/d", "postgresql://h1:1:2,h2/d", "postgresql://u:canary@pw@h1,h2/d"]
)
def test_hosts_that_cannot_be_told_apart_are_rejected(url: str) -> None:
    text = rejected(overrides={"database.url": url})
    assert "are ambiguous" in text
    assert "canary" not in text


def test_settings_that_contradict_each_other_are_all_named_at_once() -> None:
    text = rejected(
        overrides={"hub.environment": "custom", "database.lock_deadline_seconds": 16},
        environ={"INGESTOR_HUB__PING_INTERVAL_SECONDS": "35", "INGESTOR_HUB__FLAVOUR": "x"},
    )
    assert "4 settings are wrong" in text
    assert "hub.environment: is custom, which has no address of its own" in text
    assert "set by environment variable INGESTOR_HUB__PING_INTERVAL_SECONDS" in text
    assert "database.lock_deadline_seconds" in text


def test_settings_are_frozen_and_show_no_password() -> None:
    settings = load(environ={"INGESTOR_DATABASE__URL": "postgresql://u:canary-pw@h/d"}).settings
    assert "canary" not in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.account = "other"  # type: ignore[misc]


def test_every_setting_is_used_by_somebody() -> None:
    """A knob that nothing reads is a promise that nothing keeps."""
    package = Path(ingestor.__file__).parent
    model = package / "config" / "model.py"
    code = "\n".join(path.read_text() for path in package.rglob("*.py") if path != model)
    names = {name: name.rpartition(".")[2] for name in all_keys()}
    # As an attribute, or by its name in SQL and in the rules of retention.
    assert [key for key, name in names.items() if not re.search(rf'[.("]{name}\b', code)] == []


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "127.0.0.2:1", "localhost:0", "[::1]:65535"])
def test_metrics_can_be_served_on_loopback(address: str) -> None:
    assert load(overrides={"metrics.listen": address}, environ={}).settings.metrics.listen == address


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "127.0.0.1", "9464", "127.0.0.1:65536", ":9464"]
)
def test_metrics_are_served_nowhere_else(address: str) -> None:
    text = rejected(overrides={"metrics.listen": address})
    assert "the value is not a loopback address with a port" in text
    assert "write it like 127.0.0.1:9464" in text


def test_a_setting_without_a_default_is_not_said_to_have_one() -> None:
    text = rejected(overrides={"retention.history_days": 1})

    assert text.endswith("whole number of at least 2 and at most 36_500; there is no default")
