"""Who may read and do what: keys, the database's password, and the users that the daemons run as."""

import base64
import json
import re
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.waiting import eventually
from tests.systemd.bed import ACCOUNTS, Bed, Figures, unit
from tests.systemd.guide import block

FIRST, SECOND = ACCOUNTS


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


def a_key_is_rotated_by_a_restart(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    _rotate(bed, FIRST)
    bed.write_key(FIRST)
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
    bed.write_key(SECOND)
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
    eventually(lambda: "sslrootcert" in bed.logged("third"), within=30, every=0.2)
    assert machine.show(unit("third"), "ActiveState") == "activating"
    machine.shell(f"systemctl stop {unit('third')}; rm /etc/ingestor/third.toml")


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


def a_support_bundle_with_the_journal(bed: Bed, _packages: dict[str, Path], _figures: Figures) -> None:
    """By the guide's command, as the database's role: with the log, what the daemon says, and no key."""
    bed.machine.shell("cd /root; " + block("Is it well?", 2))
    (path,) = (bed.machine.root / "root").glob("ingestor-support-main-*.tar.gz")
    with tarfile.open(path) as archive:
        members = {each.name.rpartition("/")[2]: archive.extractfile(each) for each in archive}
        parts = {name: file.read() for name, file in members.items() if file is not None}
    path.unlink()
    found = {name: json.loads(text) for name, text in parts.items()}
    assert found["live.json"]["daemon_status"]["link"] == "up"
    assert found["status.json"]["daemon"] == "running"
    assert found["outcomes.json"]["applied"] > 0
    assert len(found["log.json"]) > 10
    text = b"".join(parts.values()).decode()
    keys = [*bed.keys.values(), *bed.old_keys, bed.password]
    assert [form for key in keys for form in _forms(key) if form in text] == []


def _forms(key: str) -> list[str]:
    pieces = [key[n : n + 12] for n in range(len(key) - 11)]
    encoded = [base64.b64encode(b"\0" * n + key.encode()).decode()[4:-4] for n in range(3)]
    return [*pieces, *encoded, quote(key)]
