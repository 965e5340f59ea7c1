"""The package is installed, upgraded and removed; and the same is done without it."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.daemon import ROOT
from tests.support.waiting import eventually
from tests.systemd.bed import ACCOUNTS, Bed, Figures, unit
from tests.systemd.guide import block

FIRST, SECOND = ACCOUNTS


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
    bed.write_key(FIRST)
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
    bed.write_key(SECOND)
    bed.machine.shell(enable)
    for account in ACCOUNTS:
        assert bed.machine.show(unit(account), "ActiveState") == "active"
        bed.streaming(account)
        bed.says(account, r"up · sequence \d+ · commit .* ago · 0 gaps")


def _hub_settings(bed: Bed, account: str) -> None:
    """Point an account's file at its simulated hub."""
    file = bed.machine.root / "etc" / "ingestor" / f"{account}.toml"
    address = f'environment = "custom"\nurl = "http://127.0.0.1:{ACCOUNTS[account]}/ExecutionLiveServer/v1"'
    text = re.sub(r'(?m)^(environment|url) = "(custom|sandbox|http:[^"]*)"\n', "", file.read_text())
    file.write_text(text.replace("[hub]\n", f"[hub]\n{address}\n"))


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


def an_uninstall_leaves_nothing(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    machine = bed.machine
    machine.shell(block("Uninstall", 0))
    machine.shell("rm -f /tmp/ingestor.dump /root/*.deb")
    assert _left(bed) == []
    machine.shell("cd /; " + block("Uninstall", 1))


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
    bed.write_key(FIRST)
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


def _left(bed: Bed) -> list[str]:
    """What the machine has of us, but for logs and what dpkg remembers."""
    return bed.machine.shell(
        "find / -xdev ( -path /proc -o -path /sys -o -path /var/lib/dpkg -o -path /var/log ) -prune -o "
        "( -iname '*ingestor*' -print )".replace("(", "'('").replace(")", "')'")
    ).split()


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
