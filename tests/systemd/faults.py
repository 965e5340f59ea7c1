"""What goes wrong on a machine, and what is done about it without an operator."""

import time
from pathlib import Path

from tests.support.waiting import eventually
from tests.systemd.bed import ACCOUNTS, Bed, Figures, unit

FIRST, SECOND = ACCOUNTS


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
    delays = bed.logged(FIRST).count("commit_delayed")
    machine.shell("cat /dev/zero > /var/lib/postgresql/ballast 2>/dev/null || true")
    eventually(lambda: bed.logged(FIRST).count("commit_delayed") > delays, within=90, every=0.5)
    assert "No space left on device" in machine.shell("cat /var/log/postgresql/*")
    machine.run("rm", "/var/lib/postgresql/ballast")
    machine.run(
        "systemctl", "start", machine.postgres_unit
    )  # does nothing, unless it was the log that was full
    for account in ACCOUNTS:
        bed.streaming(account, within=60)
        assert bed.pid(account) == pids[account]


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


def a_stop_within_its_limit(bed: Bed, _packages: dict[str, Path], figures: Figures) -> None:
    started = time.monotonic()
    bed.machine.run("systemctl", "stop", unit(FIRST))
    figures["stop_seconds"] = seconds = round(time.monotonic() - started, 1)
    assert seconds < 20
    assert bed.machine.show(unit(FIRST), "Result") == "success"
    assert bed.machine.ask("SELECT count(*) FROM report.unaccounted") == 0
    bed.machine.run("systemctl", "start", unit(FIRST))
    bed.streaming(FIRST)


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
