"""What an operator does beside a running daemon: look into it, pause it, reload it, plan an upgrade, prune,
back up."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.waiting import eventually
from tests.systemd.bed import ACCOUNTS, Bed, Figures, unit
from tests.systemd.guide import block, commands, log_commands, runbook

FIRST, SECOND = ACCOUNTS
SETTINGS = "--config /etc/ingestor/main.toml"


@contextmanager
def settings_for_a_moment(bed: Bed, text: str) -> Iterator[None]:
    """Of the first account; its daemon does not read them meanwhile."""
    file = bed.machine.root / "etc" / "ingestor" / f"{FIRST}.toml"
    before = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)


def install_and_uninstall_leave_the_package_alone(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """They are for machines without it."""
    for command in ("install", "uninstall --yes"):
        said = bed.machine.shell(f"ingestor {command} 2>&1 || echo code $?")
        assert "hercle-ingestor" in said
        assert said.endswith("code 78\n"), said


def an_upgrade_is_planned_and_not_made(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """Of a database that is up to date, and of an empty one, as the migrator and by the guide's command."""
    machine = bed.machine
    (plan,) = commands(block("Upgrade", 0, "console"))
    assert re.fullmatch(r"schema: at \d+, nothing to do\n", machine.shell(plan))
    machine.shell(
        """
        cd /
        runuser -u postgres -- createdb -E UTF8 -T template0 planned
        ingestor db roles | runuser -u postgres -- psql -q -d planned -v ON_ERROR_STOP=1
        """
    )
    text = (machine.root / "etc" / "ingestor" / f"{FIRST}.toml").read_text()
    with settings_for_a_moment(bed, text.replace("postgresql:///ingestor?", "postgresql:///planned?")):
        said = machine.shell(plan)
    assert re.search(r"(?m)^0001 .* \([\d.]+ s\)$", said), said
    assert "all in one transaction" in said
    with psycopg.connect(machine.dsn.replace("dbname=ingestor", "dbname=planned")) as connection:
        assert connection.execute("SELECT to_regclass('ingest.raw_event')").fetchone() == (None,)
    machine.shell("cd /; runuser -u postgres -- dropdb planned")


def the_local_socket_answers_root_and_the_group(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """And nobody else: `games` is a user of every Debian."""
    machine = bed.machine
    for who in ("", "runuser -u games -G ingestor -- "):
        live = json.loads(machine.shell(f"cd /; {who}ingestor top --once --json {SETTINGS}"))
        assert (live["account"], live["daemon_status"]["link"], live["not_ready"]) == (FIRST, "up", {}), who
        assert live["records_per_second"] > 0, who
        (event,) = machine.shell(f"cd /; {who}ingestor tail -n 1 --json {SETTINGS}").splitlines()
        shown = json.loads(event)
        stored = "SELECT count(*) FROM ingest.outcome WHERE session_id = %s AND ordinal = %s AND outcome = %s"
        assert machine.ask(stored, shown["session_id"], shown["ordinal"], shown["outcome"]) == 1, shown
    refused = machine.shell(f"cd /; runuser -u games -- ingestor top --once {SETTINGS} 2>&1 || echo code $?")
    assert "run this as root or as a member of the daemon's group" in refused
    assert refused.endswith("code 69\n")

    asked = "SELECT count(*) FROM report.request WHERE account = %s AND outcome = 'answered'"
    before = machine.ask(asked, FIRST)
    machine.shell(f"ingestor snapshot {SETTINGS}")
    eventually(lambda: machine.ask(asked, FIRST) >= before + 2, within=20, every=0.2)
    sessions = "SELECT count(*) FROM report.session WHERE account = %s"
    begun = machine.ask(sessions, FIRST)
    machine.shell(f"ingestor reconnect {SETTINGS}")
    eventually(lambda: machine.ask(sessions, FIRST) == begun + 1, within=20, every=0.2)
    bed.streaming(FIRST)


def an_account_is_paused_and_resumed(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """By the guide's SQL, as a member of the group of operators; also across a restart."""
    pause = block("Is it well?", 0, "sql")
    with psycopg.connect(bed.machine.dsn) as connection:
        connection.execute("CREATE ROLE alice IN ROLE ingestor_operator")
        connection.execute("SET ROLE alice")
        connection.execute(pause.encode())
    bed.says(FIRST, "paused by an operator.*")
    bed.machine.run("systemctl", "restart", unit(FIRST))
    bed.says(FIRST, "paused by an operator.*")
    bed.machine.shell(f"cd /; runuser -u ingestor -- ingestor resume {SETTINGS}")
    bed.streaming(FIRST)
    paused = "SELECT count(*) FROM report.gap WHERE account = %s AND cause = 'paused' AND NOT is_open"
    assert bed.machine.ask(paused, FIRST) >= 1
    with psycopg.connect(bed.machine.dsn) as connection:
        connection.execute("DROP ROLE alice")


def old_rows_are_removed_each_night(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """The guide's timer, and its service by hand: without `[retention]` it removes nothing."""
    machine = bed.machine
    listed = machine.shell("\n".join(commands(block("Retention", 1, "console"))))
    assert re.search(r" 0[34]:\d\d:\d\d .*hercle-ingestor-prune@main\.timer", listed), listed
    assert machine.show("hercle-ingestor-prune@main.timer", "UnitFileState") == "enabled"
    machine.run("systemctl", "start", "hercle-ingestor-prune@main.service")
    said = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "hercle-ingestor-prune@main.service")
    assert "nothing to remove: [retention] is not set" in said


def old_rows_are_pruned_by_a_user_of_their_own(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """Nothing is that old; and the daemon runs meanwhile."""
    settings = (bed.machine.root / "etc" / "ingestor" / f"{FIRST}.toml").read_text()
    with settings_for_a_moment(bed, settings + block("Retention", 0, "toml")):
        bed.machine.shell("\n".join(commands(block("Retention", 0, "console"))))
    bed.streaming(FIRST)


def records_are_partitioned_under_running_daemons(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """By the guide's commands; the same processes go on."""
    machine = bed.machine
    pids = {account: bed.pid(account) for account in ACCOUNTS}
    kind = "SELECT relkind::text FROM pg_class WHERE oid = 'ingest.raw_event'::regclass"
    dry, partition, roles = commands(block("Retention", 2, "console"))
    assert "ingest.raw_event" in machine.shell(dry)
    assert machine.ask(kind) == "r"
    assert "created " in machine.shell(partition)
    assert machine.ask(kind) == "p"
    machine.shell(f"cd /; {roles}")
    for account in ACCOUNTS:
        bed.streaming(account)
        assert bed.pid(account) == pids[account]


def a_check_as_root_in_the_units_sandbox(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """By the guide's command: it sees the credential and the unit, and is the database's role. While the
    daemon runs, that commits what an analyst's role then reads; while it is stopped, nothing stays."""
    machine = bed.machine
    for account in ACCOUNTS:
        bed.streaming(account)
        bed.says(account, "up .*")
    assert _check(bed, FIRST)["disk"]["verdict"] == "note"
    machine.enlarge_volume(2 * 1024**3)
    started = time.monotonic()
    printed = machine.shell(block("Is it well?", 1))
    figures["doctor_seconds"] = seconds = round(time.monotonic() - started, 1)
    assert seconds <= 15
    assert {line.split()[0] for line in printed.splitlines()} == {"ok"}, printed
    assert "read from systemd credential hercle_api_key" in printed
    assert "ingestor may do what the daemon does; all roles exist" in printed
    assert f"{unit(FIRST)} is active: up" in printed, printed
    assert "committed by the running daemon, and read as ingestor_analyst" in printed

    file = _check(bed, SECOND)  # with a key in a file that only its group may read
    assert file["key"]["what"] == "read from file /etc/ingestor/second.key (hub.key_file)"
    assert "by the running daemon" in file["stored"]["what"]

    machine.run("systemctl", "stop", unit(SECOND))
    before = bed.stored(SECOND)
    stopped = _check(bed, SECOND)
    assert stopped["unit"]["verdict"] == "note"
    assert "read as ingestor_analyst" in stopped["stored"]["what"]
    assert "rolled back" in stopped["stored"]["what"]
    assert bed.stored(SECOND) == before
    machine.run("systemctl", "start", unit(SECOND))
    bed.streaming(SECOND)

    assert "choose one with --instance" in machine.shell("ingestor check 2>&1 || true")
    line = machine.shell(f"ingestor check --nagios --instance {FIRST} || true")
    assert re.fullmatch(r"INGESTOR OK - .* \| time=[\d.]+s;;;0;15 .*\n", line), line
    lost = machine.root / "etc" / "ingestor" / f"{FIRST}.key"
    lost.rename(lost.with_suffix(".lost"))
    said = machine.shell(f"ingestor check --instance {FIRST} 2>&1 || echo code $?")
    lost.with_suffix(".lost").rename(lost)
    assert "LoadCredential=" in said
    assert said.endswith("code 78\n")


def _check(bed: Bed, account: str) -> dict[str, dict[str, str]]:
    """The findings by step."""
    document = json.loads(bed.machine.shell(f"ingestor check --json --instance {account}"))
    return {each["name"]: each for each in document["findings"]}


def settings_are_reloaded_and_wrong_ones_refused(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """The same process goes on, in its session."""
    pid, settings = bed.pid(FIRST), bed.machine.root / "etc" / "ingestor" / "main.toml"
    before = settings.read_text()
    sessions = "SELECT count(*) FROM report.session WHERE account = %s"
    begun = bed.machine.ask(sessions, FIRST)
    for text, said in (('level = "debug"', '"changed":["log.level"]'), ('level = "loud"', "")):
        settings.write_text(f"{before}\n[log]\n{text}\n")
        failed = bed.machine.shell(f"{block('Reload', 0).strip()} || echo failed").strip()
        assert (failed == "failed") == (said == "")
        eventually(lambda: said in bed.logged(FIRST), within=10, every=0.2)  # noqa: B023
    settings.write_text(before)
    bed.machine.shell(block("Reload", 0))
    bed.streaming(FIRST)
    assert (bed.pid(FIRST), bed.machine.ask(sessions, FIRST)) == (pid, begun)


def the_documented_log_commands_show_what_they_are_for(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """Each of them, but for following, and for what filters its lines: no other program is in this machine.
    On 80 columns, where nothing follows the beginning of a line, the event is to be seen."""
    for command in log_commands():
        alone = re.split(r" [|>#]", command.replace(" -f ", " "))[0]
        assert '{"event":"' in bed.machine.shell(alone), command
    look = f"COLUMNS=80 SYSTEMD_COLORS=0 systemctl status --no-pager {unit(FIRST)}"
    status = bed.machine.run("script", "-qec", look, "/dev/null").replace("\r\n", "\n")  # as on a terminal
    assert max(map(len, status.partition("\n\n")[2].splitlines())) <= 80, status
    assert re.search(r'ingestor@main\[\d+\]: \{"event":"\w+"', status), status


NOT_IN_THE_MACHINE = {
    "curl ": "not installed",
    "editor ": "the test writes the file",
    "ingestor check": "a step of its own",
    "systemctl restart systemd-timesyncd": "the machine has its host's clock",
}


def the_runbooks_commands_run(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """While nothing is wrong; what they show then is another matter."""
    for alert, lines in runbook().items():
        commands = [line for line in lines if not line.startswith(tuple(NOT_IN_THE_MACHINE))]
        assert commands, alert
        for command in commands:
            bed.machine.shell(f"cd /; {command}")
    bed.machine.run("rm", "/unaccounted.log")
    for account in ACCOUNTS:
        bed.streaming(account)


def the_stacks_on_request(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """In the journal, and the process goes on."""
    pid = bed.pid(FIRST)
    bed.machine.shell(block("Signals", 0))
    eventually(lambda: "most recent call last" in bed.logged(FIRST), within=20, every=0.2)
    assert bed.pid(FIRST) == pid


def a_backup_and_a_restore(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    before = bed.stored(FIRST)
    bed.machine.shell("cd /tmp; " + block("Back up and restore", 0))
    bed.machine.shell("cd /tmp; " + block("Back up and restore", 1))
    for account in ACCOUNTS:
        bed.streaming(account)
    assert bed.stored(FIRST) >= before
