"""The command line: light to start, and honest about failures."""

import errno
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

import ingestor
from ingestor import logs
from ingestor.cli.errors import present
from ingestor.cli.exits import Exit
from ingestor.cli.main import COMMANDS, program, run
from ingestor.config.keys import all_keys
from ingestor.domain.errors import (
    BadConfiguration,
    CredentialRefused,
    Fatal,
    LinkDown,
    OutcomeUnknown,
    SchemaMismatch,
    Transient,
)
from ingestor.domain.redaction import Redactor
from tests.support.daemon import command, surroundings
from tests.support.documents import document_of

ROOT = Path(__file__).parents[2]
HEAVY = {
    "sqlalchemy",
    "pydantic",
    "signalrcore",
    "rich",
    "structlog",
    "alembic",
    "psycopg",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("INGESTOR_", "HERCLE_", "CREDENTIALS_", "CONFIGURATION_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("ingestor.logs.redaction._of_this_process", Redactor())


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def imported_by(*arguments: str) -> set[str]:
    """The packages that this command line has imported when it ends."""
    code = (
        "import sys\n"
        f"sys.argv = {['ingestor', *arguments]!r}\n"
        "from ingestor.__main__ import main\n"
        "try:\n    main()\n"
        "finally:\n    print('\\nMODULES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("MODULES")[2].split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_no_library_but_click(option: str) -> None:
    loaded = imported_by(option)
    assert "click" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("command", "needed", "spared"),
    [
        (
            "run",
            {"signalrcore", "psycopg", "apscheduler"},
            {"sqlalchemy", "alembic", "rich", "prometheus_client"},
        ),
        ("status", {"psycopg"}, {"sqlalchemy", "alembic", "rich", "signalrcore", "apscheduler"}),
        ("db", {"psycopg"}, {"sqlalchemy", "rich", "signalrcore", "apscheduler", "websockets"}),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(
    command: str, needed: set[str], spared: set[str]
) -> None:
    """The tools of migrations and of a terminal would be a third of an idle daemon's memory, and half the
    time of a look."""
    loaded = imported_by(command, "--help")
    assert needed <= loaded
    assert not loaded & spared


def test_the_module_runs_and_tells_its_version() -> None:
    done = process("-m", "ingestor", "--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"ingestor {ingestor.__version__}\n", "", 0)


def test_the_version_is_the_packages() -> None:
    """The distribution takes its version from the package, so there is one place to change it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "ingestor/__init__.py"
    assert ingestor.__version__.count(".") == 2


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_of_the_table_exists_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: ingestor" in capsys.readouterr().out
    context = click.Context(program)
    command = program.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str(200) == COMMANDS[name]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["confg"], "Did you mean config?"),
        (["config", "--confg", "x"], "No such option"),
        (["zzz"], "There is no command 'zzz'."),
        (["config", "explain"], "Missing argument 'KEY'"),
        (["config", "show", "--set", "account"], "KEY=VALUE"),
    ],
)
def test_a_slip_on_the_command_line_is_exit_2_with_three_lines(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    what, why, fix = shown.err.splitlines()
    assert what.startswith("error: ")
    assert hint in what
    assert why.startswith("  why: Usage: ingestor")
    assert re.search("see `ingestor.* --help`", fix)


def test_no_command_at_all_is_exit_2_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == Exit.USAGE
    shown = capsys.readouterr()
    assert (shown.out, shown.err[:15]) == ("", "Usage: ingestor")


def test_config_example_is_data_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "example"]) == 0
    shown = capsys.readouterr()
    assert tomllib.loads(shown.out)["account"] == "main"
    assert shown.err == ""


@pytest.mark.parametrize("before", [True, False])
def test_options_are_understood_before_and_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: bool
) -> None:
    file = tmp_path / "x.toml"
    file.write_text("account = 'filed'\n")
    options = ["--config", str(file), "--set", "log.level=debug"]
    assert run([*options, "config", "show"] if before else ["config", "show", *options]) == 0
    values = tomllib.loads(capsys.readouterr().out)
    assert (values["account"], values["log"]["level"]) == ("filed", "debug")


def test_config_explain_of_a_wrong_key_suggests_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "explain", "drain.deadline"]) == Exit.CONFIGURATION
    assert "did you mean drain.deadline_seconds?" in capsys.readouterr().err
    assert run(["config", "explain", "drain.deadline_seconds"]) == 0
    assert "INGESTOR_DRAIN__DEADLINE_SECONDS" in capsys.readouterr().out


def test_settings_as_json_are_what_the_schemas_say_and_hold_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERCLE_API_KEY", "canary-key")
    monkeypatch.setenv("INGESTOR_DATABASE__URL", "postgresql://u:canary-pw@h/d")

    def printed(of: str, *words: str) -> Any:
        assert run([*of.split(), *words, "--json"]) == 0
        text = capsys.readouterr().out
        assert "canary" not in text
        return document_of(of, text)

    shown = {each["name"]: each for each in printed("config show")}
    assert list(shown) == list(all_keys())
    assert printed("config explain", "database.url") == shown["database.url"]
    assert shown["database.url"]["value"] == "postgresql://u:********@h/d"
    assert shown["database.url"]["origin"] == "environment variable INGESTOR_DATABASE__URL"
    assert (shown["inbox.max_bytes"]["value"], shown["log.level"]["value"]) == (33_554_432, "info")
    assert (shown["hub.url"]["value"], shown["hub.backoff_cap_seconds"]["value"]) == (None, 60.0)
    valid = printed("config validate")
    assert (valid["file"], valid["key_source"]) == (None, "environment variable HERCLE_API_KEY")
    assert printed("config validate", "--no-environment")["database"] is None


def test_config_validate_tells_key_source_and_database_but_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERCLE_API_KEY", "canary-key")
    monkeypatch.setenv("INGESTOR_DATABASE__URL", "postgresql://u:canary-pw@h/d")
    assert run(["config", "validate"]) == 0
    shown = capsys.readouterr()
    assert "environment variable HERCLE_API_KEY" in shown.out
    assert "postgresql://u:********@h/d" in shown.out
    assert "canary" not in shown.out + shown.err


def test_config_validate_rejects_what_is_missing_unless_told_not_to_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGESTOR_DATABASE__URL", "postgresql:///ingestor")
    assert run(["config", "validate"]) == Exit.CONFIGURATION
    assert "there is no Hercle API key" in capsys.readouterr().err
    assert run(["config", "validate", "--no-environment"]) == 0
    assert run(["config", "validate", "--set", "hub.ca_file=/nonexistent"]) == Exit.CONFIGURATION
    assert "\n  why: set by command line\n  fix: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("status",),
        ("check", "--config-only"),
        ("db", "upgrade"),
        ("db", "status"),
        ("config", "validate"),
        ("config", "validate", "--no-environment"),
    ],
    ids=" ".join,
)
def test_a_forgotten_database_is_no_hidden_one(words: tuple[str, ...], tmp_path: Path) -> None:
    """As under systemd, with a directory that a private Postgres could be made in."""
    env = surroundings() | {"STATE_DIRECTORY": str(tmp_path), "HERCLE_API_KEY": "a-key"}
    done = command(*words, env=env)
    assert (done.returncode, list(tmp_path.iterdir())) == (Exit.CONFIGURATION, [])
    assert "database.url is not set" in done.stdout + done.stderr


@pytest.mark.parametrize("words", ["demo --for 2", "hub --port 0"])
def test_without_the_demo_extra_its_commands_say_so(words: str) -> None:
    without = "import sys; sys.modules['aiohttp'] = None"
    program = f"{without}\nfrom ingestor.cli.main import run\nsys.exit(run({words.split()}))"
    done = process("-c", program)
    assert done.returncode == Exit.CONFIGURATION, done.stderr
    assert "pip install 'hercle-ingestor[demo]'" in done.stderr


def test_a_process_that_may_start_no_thread_says_which_limits_to_raise() -> None:
    """For a stack of this size no machine has the addresses."""
    done = process(
        "-c",
        "import sys, threading; threading.stack_size(1 << 50)\n"
        "from ingestor.cli.main import run\nsys.exit(run(['run']))",
    )
    assert done.returncode == Exit.OS, done.stderr
    assert "error: can't start new thread\n" in done.stderr
    assert "TasksMax=" in done.stderr


def test_without_the_files_extra_a_statement_says_so() -> None:
    without = "import sys; sys.modules['matplotlib'] = None"
    words = ["statement", "--month", "2025-03"]
    done = process("-c", f"{without}\nfrom ingestor.cli.main import run\nsys.exit(run({words}))")
    assert done.returncode == Exit.CONFIGURATION, done.stderr
    assert "it needs matplotlib" in done.stderr
    assert "pip install 'hercle-ingestor[files]'" in done.stderr


@pytest.mark.parametrize("url", ["postgresql://u:canary@h/d", "postgresql://h/d?password=canary"])
def test_a_password_on_the_command_line_is_rejected(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--set", f"database.url={url}"]) == Exit.USAGE
    shown = capsys.readouterr()
    assert "all users of this machine" in shown.err
    assert "canary" not in shown.err + shown.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadConfiguration("x"), 78),
        (SchemaMismatch("x"), 78),
        (CredentialRefused("x"), 77),
        (Fatal("x"), 70),
        (LinkDown("x"), 69),
        (Transient("x"), 69),
        (OutcomeUnknown("x"), 69),
        (OSError(errno.EMFILE, "too many"), 71),
        (MemoryError(), 71),
        (RuntimeError("can't start new thread"), 71),
        (RuntimeError("another"), 70),
        (FileExistsError(errno.EEXIST, "x"), 73),
        (OSError(errno.EROFS, "x"), 73),
        (OSError(errno.ENOSPC, "x"), 74),
        (PermissionError(errno.EACCES, "x"), 74),
        (ValueError("x"), 70),
        (ExceptionGroup("x", [ValueError()]), 70),
    ],
)
def test_each_class_of_failure_has_its_code_and_three_lines(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert present(error, debug=False) == code
    what, why, fix = capsys.readouterr().err.splitlines()
    assert re.match("error: .", what)
    assert re.match("  why: .", why)
    assert re.match("  fix: .", fix)


def test_a_traceback_is_shown_only_on_debug_and_secrets_never(capsys: pytest.CaptureFixture[str]) -> None:
    logs.register_secret("canary-0123456789")
    with pytest.raises(ValueError, match="canary") as caught:
        raise_with("canary-0123456789\x1b[2J")
    present(caught.value, debug=False)
    quiet = capsys.readouterr().err
    present(caught.value, debug=True)
    loud = capsys.readouterr().err
    assert "Traceback" not in quiet
    assert "in raise_with" in loud
    assert "canary" not in quiet + loud
    assert "\x1b" not in quiet + loud


def raise_with(text: str) -> None:
    raise ValueError(text)


def test_a_configuration_error_tells_every_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INGESTOR_ACOUNT", "x")
    assert run(["config", "show", "--set", "log.level=loud"]) == 78
    shown = capsys.readouterr().err
    assert "2 settings are wrong" in shown
    assert "INGESTOR_ACCOUNT" in shown
    assert "log.level" in shown


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ingestor.cli.config.example", interrupted)
    assert run(["config", "example"]) == 130


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_cannot_be_one_is_a_slip_on_the_command_line(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["hub", "--port", port]) == Exit.USAGE
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fault", ["rst", "soon:rst", "1:thunder", "1:rst colour=red", "1:rst count=many", ""]
)
def test_a_fault_that_cannot_be_one_is_a_slip_on_the_command_line(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["hub", "--port", "0", "--fault", fault]) == Exit.USAGE
    assert "--fault" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = process("-m", "ingestor", "hub", "--port", str(port))
    assert (done.stdout, done.returncode) == ("", Exit.CONFIGURATION)
    what, why, fix = done.stderr.splitlines()
    assert what == f"error: port {port} on 127.0.0.1 is in use"
    assert why.startswith("  why: ")
    assert "--port 0" in fix


def test_a_reader_that_has_gone_is_141_and_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ingestor", "config", "example"]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT, check=False
    )
    os.close(writer)
    assert (done.stderr, done.returncode) == ("", Exit.BROKEN_PIPE)


@pytest.mark.parametrize(
    ("command", "redirection", "code", "printed"),
    [
        ("config example", ">&-", Exit.IO, "error: standard output cannot be written"),
        ("config example", ">/dev/full", Exit.IO, "error: standard output cannot be written"),
        ("--version", ">/dev/full", Exit.IO, "error: standard output cannot be written"),
        ("config example", ">&- 2>&-", Exit.IO, ""),
        ("config example", ">/dev/full 2>/dev/full", Exit.IO, ""),
        ("config example", "2>&- >/dev/null", Exit.OK, ""),
        ("config explain x", "2>&-", Exit.CONFIGURATION, ""),
        ("config explain x", "2>/dev/full", Exit.CONFIGURATION, ""),
        ("config explain x", "<&- >&-", Exit.CONFIGURATION, "error: there is no setting x"),
        ("check --config-only --json", ">/dev/full", Exit.IO, "error: standard output cannot be written"),
    ],
)
def test_lost_standard_streams_end_in_three_lines_or_in_a_code_alone(
    command: str, redirection: str, code: Exit, printed: str
) -> None:
    line = f'exec "$0" -m ingestor {command} {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(printed)
    assert len(done.stderr.splitlines()) == (3 if printed else 0)


def test_the_journal_shows_a_failure_as_one_error(tmp_path: Path) -> None:
    """Of any command that a unit runs, as the migration's does."""
    with (tmp_path / "journal").open("w+") as stderr:
        status = os.fstat(stderr.fileno())
        subprocess.run(
            [sys.executable, "-m", "ingestor", "config", "explain", "x"],
            stderr=stderr,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            timeout=60,
            cwd=ROOT,
            check=False,
        )
        stderr.seek(0)
        lines = stderr.read().splitlines()
    (line,) = lines
    assert line.startswith("<3>error: there is no setting x; why: ")
    assert "; fix: " in line


def test_the_shell_can_ask_for_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_INGESTOR_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ingestor con")
    monkeypatch.setenv("COMP_CWORD", "1")
    done = process("-m", "ingestor")
    assert (done.stdout.strip(), done.returncode) == ("plain,config", 0)
