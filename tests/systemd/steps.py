"""What is observed on the machine, in this order; each step goes on where the one before it has ended."""

import base64
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.daemon import ROOT
from tests.support.waiting import eventually
from tests.systemd.bed import ACCOUNTS, Bed, unit
from tests.systemd.guide import block, log_commands, runbook
from tests.systemd.operating import (
    a_check_as_root_in_the_units_sandbox,
    an_account_is_paused_and_resumed,
    an_upgrade_is_planned_and_not_made,
    install_and_uninstall_leave_the_package_alone,
    old_rows_are_pruned_by_a_user_of_their_own,
    old_rows_are_removed_each_night,
    records_are_partitioned_under_running_daemons,
    the_local_socket_answers_root_and_the_group,
)

Figures = dict[str, object]
Step = Callable[[Bed, dict[str, Path], Figures], None]
FIRST, SECOND = ACCOUNTS


def _hub_settings(bed: Bed, account: str) -> None:
    """Point an account's file at its simulated hub."""
    file = bed.machine.root / "etc" / "ingestor" / f"{account}.toml"
    address = f'environment = "custom"\nurl = "http://127.0.0.1:{ACCOUNTS[account]}/ExecutionLiveServer/v1"'
    text = re.sub(r'(?m)^(environment|url) = "(custom|sandbox|http:[^"]*)"\n', "", file.read_text())
    file.write_text(text.replace("[hub]\n", f"[hub]\n{address}\n"))


def _write_key(bed: Bed, account: str) -> None:
    """As an editor does, into the file that is there."""
    with (bed.machine.root / "etc" / "ingestor" / f"{account}.key").open("w") as file:
        file.write(bed.keys[account] + "\n")


def from_a_clean_root_to_the_first_snapshot(bed: Bed, packages: dict[str, Path], figures: Figures) -> None:
    """By the guide's own commands, with the package of the version before."""
    machine = bed.machine
    bed.start_hubs()
    shutil.copy(packages["old"], machine.root / "root")
    started = time.monotonic()
    machine.shell("cd /root; " + block("Install", 0))
    machine.shell(block("First account", 0))
    machine.shell(block("First account", 1))
    machine.shell(block("First account", 2))
    machine.shell(block("First account", 3))
    _hub_settings(bed, FIRST)
    _write_key(bed, FIRST)
    machine.shell(block("First account", 4))
    machine.run("runuser", "-u", "postgres", "--", "createuser", "--superuser", "root")
    eventually(lambda: machine.ask("SELECT count(*) FROM report.balance_current"), within=60, every=0.05)
    figures["clean_root_to_first_snapshot_seconds"] = seconds = round(time.monotonic() - started, 1)
    assert seconds <= 60


def a_second_account(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """By the guide's commands too; READY makes `systemctl start` return, and both accounts fill."""
    *prepare, enable = block("Second account", 0).splitlines()
    bed.machine.shell("\n".join(prepare))
    _hub_settings(bed, SECOND)
    _write_key(bed, SECOND)
    bed.machine.shell(enable)
    for account in ACCOUNTS:
        assert bed.machine.show(unit(account), "ActiveState") == "active"
        bed.streaming(account)
        bed.says(account, r"up · sequence \d+ · commit .* ago · 0 gaps")


def peer_authentication_as_the_dynamic_user(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """No password anywhere: PostgreSQL asks the kernel, and systemd, who it is."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ingestor' AND client_addr IS NULL"
    assert bed.machine.ask(query) >= len(ACCOUNTS)
    for account in ACCOUNTS:
        user, uid = bed.machine.run("ps", "-o", "user=,uid=", "-p", str(bed.pid(account))).split()
        assert user == "ingestor"
        assert 61184 <= int(uid) <= 65519  # systemd's range for dynamic users
    assert "ingestor:" not in (bed.machine.root / "etc" / "passwd").read_text()
    status = block("Is it well?", 0)
    eventually(lambda: "problem" not in bed.machine.shell(f"{status.strip()} || true"), within=30, every=1)


def one_account_cannot_read_the_others_key(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """Though both run as one user."""
    for account in ACCOUNTS:
        seen = bed.machine.run("nsenter", "-t", str(bed.pid(account)), "-m", "ls", "/run/credentials")
        assert seen.split() == [unit(account)]


def the_exposure_is_at_most_1_2(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """As the running system computes it, drop-ins included."""
    for name in (
        unit(FIRST),
        "hercle-ingestor-migrate@main.service",
        "hercle-ingestor-prune@main.service",
    ):
        printed = bed.machine.run("systemd-analyze", "security", "--no-pager", "--threshold=12", name)
        (score,) = re.findall(r"exposure level for \S+: ([\d.]+)", printed)
        figures[f"exposure_{name.partition('@')[0].replace('-', '_')}"] = float(score)


def sigkill_is_restarted_and_its_gap_closed(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    pid, started = bed.pid(FIRST), time.monotonic()
    bed.machine.run("kill", "-KILL", str(pid))
    eventually(lambda: bed.pid(FIRST) not in {0, pid}, within=20, every=0.1)
    query = "SELECT count(*) FROM report.gap WHERE account = %s AND kind = 'unclean_end' AND NOT is_open"
    eventually(lambda: bed.machine.ask(query, FIRST), within=30, every=0.1)
    figures["sigkill_to_gap_closed_seconds"] = round(time.monotonic() - started, 1)


def sigstop_is_noticed_by_the_watchdog(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """The other account goes on meanwhile."""
    pid, started = bed.pid(SECOND), time.monotonic()
    bed.machine.run("kill", "-STOP", str(pid))
    bed.streaming(FIRST)
    eventually(lambda: bed.pid(SECOND) not in {0, pid}, within=60, every=0.2)
    bed.streaming(SECOND)
    figures["sigstop_to_streaming_seconds"] = round(time.monotonic() - started, 1)
    said = bed.machine.run("journalctl", "--no-pager", "-u", unit(SECOND))
    assert "Watchdog timeout" in said


def postgres_is_restarted_under_it(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    pids = {account: bed.pid(account) for account in ACCOUNTS}
    bed.machine.run("systemctl", "restart", bed.machine.postgres_unit)
    for account in ACCOUNTS:
        bed.streaming(account)
        assert bed.pid(account) == pids[account]


def the_volume_of_postgres_fills_and_is_emptied(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    """Nobody is needed: what was received meanwhile is written afterwards."""
    machine = bed.machine
    pids = {account: bed.pid(account) for account in ACCOUNTS}
    delays = _journal(bed, FIRST).count("commit_delayed")
    machine.shell("cat /dev/zero > /var/lib/postgresql/ballast 2>/dev/null || true")
    eventually(lambda: _journal(bed, FIRST).count("commit_delayed") > delays, within=90, every=0.5)
    assert "No space left on device" in machine.shell("cat /var/log/postgresql/*")
    machine.run("rm", "/var/lib/postgresql/ballast")
    machine.run(
        "systemctl", "start", machine.postgres_unit
    )  # does nothing, unless it was the log that was full
    for account in ACCOUNTS:
        bed.streaming(account, within=60)
        assert bed.pid(account) == pids[account]


def _journal(bed: Bed, account: str) -> str:
    return bed.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", unit(account))


def a_reboot(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    bed.machine.power_off()
    bed.stop_hubs()
    started = time.monotonic()
    bed.machine.boot()
    bed.start_hubs()
    for account in ACCOUNTS:
        eventually(lambda: bed.machine.show(unit(account), "ActiveState") == "active", within=60, every=0.2)  # noqa: B023
        bed.streaming(account)
    figures["boot_to_streaming_seconds"] = round(time.monotonic() - started, 1)


def a_key_is_rotated_by_a_restart(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    _rotate(bed, FIRST)
    _write_key(bed, FIRST)
    bed.machine.shell(block("Rotate the key", 0))
    bed.streaming(FIRST)


def a_key_is_rotated_without_a_restart(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """With the guide's group and drop-in; the hub has refused the old key before the new one is there."""
    bed.machine.shell(block("Rotate the key", 1))
    drop_in = bed.machine.root / "etc" / "systemd" / "system" / f"{unit(SECOND)}.d" / "key.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(block("Rotate the key", 0, "ini"))
    settings = bed.machine.root / "etc" / "ingestor" / f"{SECOND}.toml"
    (line,) = re.findall(r"key_file = .*\n", block("Rotate the key", 0, "toml"))
    settings.write_text(settings.read_text().replace("[hub]\n", f"[hub]\n{line}"))
    bed.machine.shell(f"systemctl daemon-reload; systemctl restart {unit(SECOND)}")
    bed.streaming(SECOND)

    pid = bed.pid(SECOND)
    _rotate(bed, SECOND)
    bed.says(SECOND, "key refused by the hub .*", within=60)
    _write_key(bed, SECOND)
    started = time.monotonic()
    bed.streaming(SECOND)
    figures["new_key_to_streaming_seconds"] = round(time.monotonic() - started, 1)
    assert bed.pid(SECOND) == pid


def _rotate(bed: Bed, account: str) -> None:
    """The hub accepts another key from now on, and cuts its connections."""
    bed.old_keys.append(bed.keys[account])
    bed.keys[account] = bed.keys[account].swapcase()
    bed.tell_hub(account, "key", bed.keys[account])
    bed.tell_hub(account, "restart")


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
        eventually(lambda: said in _journal(bed, FIRST), within=10, every=0.2)  # noqa: B023
    settings.write_text(before)
    bed.machine.shell(block("Reload", 0))
    bed.streaming(FIRST)
    assert (bed.pid(FIRST), bed.machine.ask(sessions, FIRST)) == (pid, begun)


def an_upgrade_with_data_in_it(bed: Bed, packages: dict[str, Path], figures: Figures) -> None:
    """From the package of the version before; changed settings stay, and both accounts are restarted."""
    machine = bed.machine
    before = {account: (bed.pid(account), bed.stored(account)) for account in ACCOUNTS}
    settings = (machine.root / "etc" / "ingestor" / "main.toml").read_bytes()
    machine.shell("rm /root/*.deb")
    shutil.copy(packages["new"], machine.root / "root")
    started = time.monotonic()
    machine.shell("cd /root; " + block("Upgrade", 0))
    for account, (pid, stored) in before.items():
        eventually(lambda: bed.pid(account) not in {0, pid}, within=40, every=0.2)  # noqa: B023
        bed.streaming(account)
        assert bed.stored(account) > stored
    figures["upgrade_to_streaming_seconds"] = round(time.monotonic() - started, 1)
    machine.shell(block("Upgrade", 1))
    assert (machine.root / "etc" / "ingestor" / "main.toml").read_bytes() == settings
    version = machine.run("dpkg-query", "--show", "--showformat=${Version}", "hercle-ingestor")
    assert version == packages["new"].name.split("_")[1]


def a_forgotten_database_is_said(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """Exit code 78, no restart, no hidden database; one record that a filter for errors shows."""
    machine = bed.machine
    (machine.root / "etc" / "ingestor" / "third.toml").write_text('account = "third"\n')
    (machine.root / "etc" / "ingestor" / "third.key").write_text("some-key\n")
    failed = machine.shell(f"systemctl start {unit('third')} 2>&1 || true")
    assert "failed" in failed
    eventually(lambda: machine.show(unit("third"), "SubState") == "failed", within=10)
    assert machine.show(unit("third"), "ExecMainStatus") == "78"
    assert machine.show(unit("third"), "NRestarts") == "0"
    said = machine.run("journalctl", "--no-pager", "-o", "cat", "-p", "err", "-u", unit("third"))
    assert "database.url is not set" in said
    machine.shell(f"systemctl reset-failed {unit('third')}; rm /etc/ingestor/third.*")


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
    eventually(lambda: "most recent call first" in _journal(bed, FIRST), within=20, every=0.2)
    assert bed.pid(FIRST) == pid


def peer_authentication_without_its_library_is_said(
    bed: Bed, _packages: dict[str, Path], _figures: Figures
) -> None:
    machine = bed.machine
    machine.shell("mkdir /root/kept; mv /usr/lib/*/libnss_systemd.so.2 /root/kept")
    try:
        for name in (unit(FIRST), "hercle-ingestor-migrate@main.service"):
            assert "Assertion failed" in machine.shell(f"systemctl restart {name} 2>&1 || true")
        status = machine.shell(f"systemctl status --no-pager {unit(FIRST)} || true")
        assert "libnss_systemd.so.2 was not met" in status, status
    finally:
        machine.shell('mv /root/kept/* "$(dirname /usr/lib/*/libnss_files.so.2)"')
    machine.run("systemctl", "start", unit(FIRST))


def a_database_over_tls_with_a_password(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """With the drop-in for a remote Postgres, as a third account; and with a wrong authority, not."""
    machine, etc = bed.machine, bed.machine.root / "etc" / "ingestor"
    machine.shell(
        f"""
        cd /etc/ingestor
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \\
            -addext subjectAltName=DNS:localhost -keyout server.key -out database-ca.pem 2>/dev/null
        install -o postgres -m 0600 server.key database-ca.pem /var/lib/postgresql
        chmod 0644 database-ca.pem
        runuser -u postgres -- psql -q \\
            -c "ALTER SYSTEM SET ssl_cert_file = '/var/lib/postgresql/database-ca.pem'" \\
            -c "ALTER SYSTEM SET ssl_key_file = '/var/lib/postgresql/server.key'" \\
            -c "ALTER SYSTEM SET ssl = on"
        systemctl restart {machine.postgres_unit}
        install -m 0600 /dev/null third.password
        install -m 0600 second.key third.key
        install -D -m 0644 -t /etc/systemd/system/{unit("third")}.d \\
            /usr/share/hercle-ingestor/systemd/drop-ins/remote-postgres.conf
        systemctl daemon-reload
        """
    )
    with psycopg.connect(machine.dsn) as connection:  # on a command line, the journal would keep it
        connection.execute(f"ALTER ROLE ingestor PASSWORD '{bed.password}'".encode())
    (etc / "third.password").write_text(bed.password + "\n")
    settings = (etc / "main.toml").read_text().replace("5081", "5082").replace('"main"', '"third"')
    url = "postgresql://ingestor@localhost/ingestor?sslmode=verify-full&sslrootcert=/etc/ingestor/database-ca.pem"
    (etc / "third.toml").write_text(re.sub(r'"postgresql:.*"', f'"{url}"', settings))
    machine.run("systemctl", "start", unit("third"))
    bed.streaming("third")
    assert machine.ask("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl") >= 1
    machine.run("systemctl", "stop", unit("third"))

    machine.shell("cp /etc/ssl/certs/ca-certificates.crt /etc/ingestor/database-ca.pem")
    machine.run("systemctl", "start", "--no-block", unit("third"))
    eventually(lambda: "sslrootcert" in _journal(bed, "third"), within=30, every=0.2)
    assert machine.show(unit("third"), "ActiveState") == "activating"
    machine.shell(f"systemctl stop {unit('third')}; rm /etc/ingestor/third.toml")


def a_stop_within_its_limit(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    started = time.monotonic()
    bed.machine.run("systemctl", "stop", unit(FIRST))
    figures["stop_seconds"] = seconds = round(time.monotonic() - started, 1)
    assert seconds < 20
    assert bed.machine.show(unit(FIRST), "Result") == "success"
    assert bed.machine.ask("SELECT count(*) FROM report.unaccounted") == 0
    bed.machine.run("systemctl", "start", unit(FIRST))
    bed.streaming(FIRST)


def no_key_is_found_anywhere(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """Whole, in parts, or encoded; the files that hold the keys are the only ones left out."""
    machine = bed.machine
    pid = bed.pid(FIRST)
    machine.run("kill", "-ABRT", str(pid))  # what the watchdog sends, and what would leave a core file
    eventually(lambda: bed.pid(FIRST) not in {0, pid}, within=20, every=0.1)
    bed.streaming(FIRST)
    places = {
        "systemctl show": machine.shell("systemctl show 'hercle-ingestor*'"),
        "systemctl cat": machine.shell("systemctl cat 'hercle-ingestor*'"),
        "systemctl status": machine.shell("systemctl status --no-pager -l 'hercle-ingestor*' || true"),
        "environment of all processes": machine.shell("cat /proc/[0-9]*/environ | tr '\\0' '\\n'"),
        "command lines of all processes": machine.shell("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'"),
        "journal": machine.run("journalctl", "--no-pager", "-a", "-o", "export"),
        "log of PostgreSQL": machine.shell("cat /var/log/postgresql/*"),
        "database": machine.shell("cd /; runuser -u postgres -- pg_dump ingestor"),
        "status": machine.shell(block("Is it well?", 0).strip() + " || true"),
    }
    for each in ("/run", "/tmp", "/var", "/root"):
        left_out = "! -path '/run/credentials/*' ! -path '/proc/*' ! -name '*.deb'"
        files = f"find {each} -xdev -type f -size -64M {left_out}"
        places[f"files below {each}"] = machine.shell(
            f"{files} -print0 | xargs -0 -r cat 2>/dev/null || true"
        )
    cores = machine.shell("find / -xdev -name 'core*' -type f -newer /root -size +100k || true").split()
    assert [each for each in cores if not each.startswith(("/usr", "/opt", "/proc"))] == []
    keys = [*bed.keys.values(), *bed.old_keys, bed.password]
    hits = [
        f"{place}: {form}"
        for place, text in places.items()
        for key in keys
        for form in _forms(key)
        if form in text
    ]
    figures["canary_places_searched"] = len(places)
    figures["canary_hits"] = len(hits)
    planted = machine.shell("cat /etc/ingestor/main.key")  # what is there is found
    assert any(form in planted for form in _forms(bed.keys[FIRST]))
    assert all(places[each] for each in ("journal", "database", "systemctl show", "files below /var"))
    assert hits == [], hits


def _forms(key: str) -> list[str]:
    pieces = [key[n : n + 12] for n in range(len(key) - 11)]
    encoded = [base64.b64encode(b"\0" * n + key.encode()).decode()[4:-4] for n in range(3)]
    return [*pieces, *encoded, quote(key)]


def nothing_is_lost_doubled_or_invented(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    """What the hubs sent in all of this, against what is stored."""
    bed.machine.run("systemctl", "stop", *map(unit, ACCOUNTS))
    for account in ACCOUNTS:
        eventually(
            lambda: bed.machine.ask("SELECT count(*) FROM report.unaccounted") == 0, within=90, every=1
        )
        verdict = bed.verdict(account)
        figures[f"records_{account}"] = {
            "sent": verdict.sent,
            "stored": verdict.stored,
            "in_gaps": verdict.covered,
        }
        assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0), verdict
    bed.machine.run("systemctl", "start", *map(unit, ACCOUNTS))


def a_backup_and_a_restore(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    before = bed.stored(FIRST)
    bed.machine.shell("cd /tmp; " + block("Back up and restore", 0))
    bed.machine.shell("cd /tmp; " + block("Back up and restore", 1))
    for account in ACCOUNTS:
        bed.streaming(account)
    assert bed.stored(FIRST) >= before


def a_support_bundle_with_the_journal(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """By the guide's command, as the database's role: with the log, what the daemon says, and no key."""
    bed.machine.shell("cd /root; " + block("Is it well?", 2))
    (path,) = (bed.machine.root / "root").glob("ingestor-support-main-*.tar.gz")
    with tarfile.open(path) as archive:
        members = {each.name.rpartition("/")[2]: archive.extractfile(each) for each in archive}
        parts = {name: file.read() for name, file in members.items() if file is not None}
    path.unlink()
    found = {name: json.loads(text) for name, text in parts.items()}
    assert found["live.json"]["picture"]["link"] == "up"
    assert found["status.json"]["daemon"] == "running"
    assert found["outcomes.json"]["applied"] > 0
    assert len(found["log.json"]) > 10
    text = b"".join(parts.values()).decode()
    keys = [*bed.keys.values(), *bed.old_keys, bed.password]
    assert [form for key in keys for form in _forms(key) if form in text] == []


def an_uninstall_leaves_nothing(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    machine = bed.machine
    machine.shell(block("Uninstall", 0))
    machine.shell("rm -f /tmp/ingestor.dump /root/*.deb")
    assert _left(bed) == []
    machine.shell("cd /; " + block("Uninstall", 1))


def _left(bed: Bed) -> list[str]:
    """What the machine has of us, but for logs and what dpkg remembers."""
    return bed.machine.shell(
        "find / -xdev ( -path /proc -o -path /sys -o -path /var/lib/dpkg -o -path /var/log ) -prune -o "
        "( -iname '*ingestor*' -print )".replace("(", "'('").replace(")", "')'")
    ).split()


def an_install_without_the_package(bed: Bed, packages: dict[str, Path], figures: Figures) -> None:
    """The same virtual environment, not installed by dpkg, with database and roles; then all goes again."""
    machine = bed.machine
    with tempfile.TemporaryDirectory() as unpacked:
        subprocess.run(["dpkg-deb", "-x", packages["new"], unpacked], check=True)
        shutil.copytree(Path(unpacked) / "opt", machine.root / "opt", symlinks=True, dirs_exist_ok=True)
    program = "/opt/ingestor/venv/bin/ingestor"
    before = machine.shell("find /etc /usr /var/lib/systemd | sort")
    started = time.monotonic()
    machine.run(program, "install", "--local-database", "--dry-run")
    assert machine.shell("find /etc /usr /var/lib/systemd | sort") == before
    machine.run(program, "install", "--local-database")
    linked = "/usr/local/bin/ingestor"
    assert "files      0 of " in machine.run(linked, "install", "--local-database")
    _hub_settings(bed, FIRST)
    machine.shell("install -m 0600 /dev/null /etc/ingestor/main.key")
    _write_key(bed, FIRST)
    machine.run("systemctl", "enable", "--now", unit(FIRST))
    bed.streaming(FIRST)
    figures["install_without_the_package_to_streaming_seconds"] = round(time.monotonic() - started, 1)

    machine.run(linked, "uninstall", "--yes")
    assert machine.shell("cat /etc/ingestor/main.key").strip() == bed.keys[FIRST], "a key stays until a purge"
    machine.run(program, "uninstall", "--yes", "--purge", "--drop-database")
    machine.shell("rm -r /opt/ingestor")
    assert _left(bed) == []
    assert machine.shell("find /etc /usr /var/lib/systemd | sort") == before
    roles = machine.shell('cd /; runuser -u postgres -- psql -qtAc "SELECT rolname FROM pg_roles"').split()
    assert [each for each in roles if "ingestor" in each] == []


def the_package_is_the_same_when_built_again(_bed: Bed, packages: dict[str, Path], figures: Figures) -> None:
    """And its bill of materials names every Python package inside."""
    assert packages["new"].read_bytes() == packages["again"].read_bytes()
    figures["package_megabytes"] = round(packages["new"].stat().st_size / 1e6, 1)
    bill = json.loads((packages["new"].parent / "hercle-ingestor.cdx.json").read_text())
    listing = subprocess.run(
        ["dpkg-deb", "-c", packages["new"]], capture_output=True, text=True, check=True
    ).stdout
    inside = set(re.findall(r"/site-packages/([^/]+)-[^-/]+\.dist-info/$", listing, re.MULTILINE))
    named = {each["name"].replace("-", "_").lower() for each in bill["components"]}
    assert {each.replace("-", "_").lower() for each in inside} == named
    assert str(ROOT) not in listing


STEPS: list[Step] = [
    the_package_is_the_same_when_built_again,
    from_a_clean_root_to_the_first_snapshot,
    a_second_account,
    peer_authentication_as_the_dynamic_user,
    old_rows_are_removed_each_night,
    the_local_socket_answers_root_and_the_group,
    an_account_is_paused_and_resumed,
    one_account_cannot_read_the_others_key,
    the_exposure_is_at_most_1_2,
    sigkill_is_restarted_and_its_gap_closed,
    sigstop_is_noticed_by_the_watchdog,
    postgres_is_restarted_under_it,
    the_volume_of_postgres_fills_and_is_emptied,
    a_reboot,
    a_key_is_rotated_by_a_restart,
    a_key_is_rotated_without_a_restart,
    settings_are_reloaded_and_wrong_ones_refused,
    an_upgrade_with_data_in_it,
    an_upgrade_is_planned_and_not_made,
    install_and_uninstall_leave_the_package_alone,
    a_forgotten_database_is_said,
    the_documented_log_commands_show_what_they_are_for,
    the_runbooks_commands_run,
    the_stacks_on_request,
    records_are_partitioned_under_running_daemons,
    old_rows_are_pruned_by_a_user_of_their_own,
    peer_authentication_without_its_library_is_said,
    a_stop_within_its_limit,
    nothing_is_lost_doubled_or_invented,
    # From here on the hubs serve others, too, whose records nobody stores.
    a_check_as_root_in_the_units_sandbox,
    a_support_bundle_with_the_journal,
    a_database_over_tls_with_a_password,
    no_key_is_found_anywhere,
    a_backup_and_a_restore,
    an_uninstall_leaves_nothing,
    an_install_without_the_package,
]
