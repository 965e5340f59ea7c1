"""Builds the Debian package: `make deb`. One package for Debian 12 and 13.

It holds a virtual environment with the locked dependencies for the Python of each release; an interpreter
finds those of its own version. The same inputs give the same bytes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from ingestor.app.install.installation import WHERE_LOOKED_FOR

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
NAME = "hercle-ingestor"
VENV = "opt/ingestor/venv"
PYTHONS = ("3.11", "3.13")
"""Of Debian 12 and 13."""
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
EPOCH = 1_767_225_600
"""2026-01-01: the time of every file, where SOURCE_DATE_EPOCH gives no other."""
_UNSAID = {"signalrcore": "MIT"}
"""The licence of packages that name theirs only in a text."""
_PROGRAM = f"""#!/{VENV}/bin/python
from ingestor.__main__ import main

main()
"""


def build(output: Path, version: str | None = None, architecture: str | None = None) -> Path:
    """Make the package and, beside it, its bill of materials.

    Args:
        output: the directory for both.
        version: of the package, where it is not the software's.
        architecture: Debian's name for it; that of this machine where None.

    Returns:
        The package's path: `hercle-ingestor_VERSION_ARCHITECTURE.deb`.
    """
    output.mkdir(parents=True, exist_ok=True)
    architecture = architecture or _run("dpkg", "--print-architecture").strip()
    with tempfile.TemporaryDirectory() as temporary:
        os.umask(0o022)
        tree = Path(temporary) / "tree"
        tree.mkdir(mode=0o755)
        wheel = build_wheel(Path(temporary))
        version = version or wheel.name.split("-")[1]
        components = _fill(tree, wheel, PLATFORMS[architecture])
        bill = bill_of_materials(components, version)
        documents = tree / "usr" / "share" / "doc" / NAME
        for directory in (documents, output):
            (directory / f"{NAME}.cdx.json").write_text(bill)
        (documents / "copyright").write_text(_copyright(components))
        _control(tree, version, architecture)
        package = output / f"{NAME}_{version}_{architecture}.deb"
        _run("dpkg-deb", "--build", "--root-owner-group", "-Zzstd", str(tree), str(package))
    return package


def build_wheel(directory: Path) -> Path:
    """The wheel, made in this directory."""
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT))
    (wheel,) = directory.glob("*.whl")
    return wheel


def _fill(tree: Path, wheel: Path, platform: str) -> dict[str, Message]:
    """Everything but the control files; gives the metadata of each Python package by its name."""
    venv = tree / VENV
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (venv / "bin" / "python").symlink_to("/usr/bin/python3")
    program = venv / "bin" / "ingestor"
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    locked = ("--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements.txt"))
    for python in PYTHONS:
        target = venv / "lib" / f"python{python}" / "site-packages"
        for what in (locked, (str(wheel),)):
            _run(
                *(
                    sys.executable,
                    "-m",
                    "uv",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--target",
                    str(target),
                ),
                *("--python-version", python, "--python-platform", platform, "--link-mode", "copy", *what),
            )
        shutil.rmtree(target / "bin")  # started with the path of the machine that built this
        shutil.rmtree(venv / "share" / NAME, ignore_errors=True)  # the same of each Python
        shutil.move(target / "share" / NAME, venv / "share" / NAME)
        (target / "share").rmdir()
        (target / ".lock").unlink(missing_ok=True)
        for file in target.glob("*.dist-info/*"):  # dpkg does what these are for
            if file.name in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}:
                file.unlink()

    for name in ("bin", "lib/systemd/system", "share/doc"):
        (tree / "usr" / name).mkdir(parents=True)
    (tree / "usr" / "bin" / "ingestor").symlink_to(f"/{VENV}/bin/ingestor")
    (tree / "usr" / "share" / NAME).symlink_to(f"/{VENV}/share/{NAME}")
    (tree / "usr" / "share" / "doc" / NAME).mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", tree / "usr" / "share" / "doc" / NAME)
    for unit in (ROOT / "deploy" / "systemd").glob("*@.*"):
        shutil.copy(unit, tree / "usr" / "lib" / "systemd" / "system")
    for name, place in WHERE_LOOKED_FOR.items():
        (tree / "usr" / "share" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "deploy" / name, tree / "usr" / "share" / place)
    (tree / "etc" / "ingestor").mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "main.toml", tree / "etc" / "ingestor")
    return {
        str(metadata["Name"]): metadata
        for python in PYTHONS
        for file in sorted((venv / "lib" / f"python{python}" / "site-packages").glob("*.dist-info/METADATA"))
        for metadata in [message_from_bytes(file.read_bytes())]
    }


def _control(tree: Path, version: str, architecture: str) -> None:
    control = tree / "DEBIAN"
    control.mkdir(mode=0o755)
    size = sum(each.lstat().st_size for each in tree.rglob("*")) // 1024
    text = (HERE / "control").read_text()
    (control / "control").write_text(text.format(version=version, architecture=architecture, size=size))
    (control / "conffiles").write_text("/etc/ingestor/main.toml\n")
    for script in ("postinst", "prerm", "postrm"):
        shutil.copy(HERE / script, control)
        (control / script).chmod(0o755)


def licence(metadata: Message) -> str:
    """As the package itself names it."""
    classifiers = [
        each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", ()) if "License" in each
    ]
    named = metadata["License-Expression"] or metadata["License"] or " OR ".join(classifiers)
    return str(named or _UNSAID[str(metadata["Name"])])


def bill_of_materials(components: Mapping[str, Message], version: str) -> str:
    """Of all Python packages inside, in CycloneDX 1.5."""

    def component(name: str, metadata: Message) -> dict[str, object]:
        purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{metadata['Version']}"
        said = licence(metadata)
        key = "expression" if metadata["License-Expression"] else "license"
        return {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": metadata["Version"],
            "purl": purl,
            "licenses": [{key: said if key == "expression" else {"name": said}}],
        }

    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": NAME, "version": version}},
        "components": [component(*each) for each in sorted(components.items())],
    }
    return json.dumps(document, indent=2) + "\n"


def _copyright(components: Mapping[str, Message]) -> str:
    def lines() -> Iterator[str]:
        yield f"{NAME} is under the Apache License 2.0; see /usr/share/common-licenses/Apache-2.0.\n"
        yield f"The Python packages inside, each with its texts below /{VENV}/lib:\n"
        for name, metadata in sorted(components.items()):
            yield f"{name} {metadata['Version']}: {licence(metadata)}"

    return "\n".join(lines()) + "\n"


def _run(*command: str) -> str:
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--version", help="of the package, where it is not the software's")
    parser.add_argument("--architecture", choices=list(PLATFORMS))
    print(build(**vars(parser.parse_args())))
