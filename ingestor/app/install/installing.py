"""Carries out a plan of `ingestor.app.install.installation`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ingestor.app.install.installation import SHARED, Action, InstallFile, Plan, at, inside, install_files
from ingestor.domain.errors import BadConfiguration


def carry_out(plan: Plan) -> list[str]:
    """Carry out the plan. Stops at the first failure; run it again once that is repaired.

    Returns:
        The commands that were left out: those for systemd where it does not run, and all of them for
        another root.

    Raises:
        BadConfiguration: a command failed; the text contains its output.
        OSError: as it comes.
    """
    root = Path(plan.root)
    left_out = [*_run_all(plan, plan.before)]
    files = {each.path: each for each in install_files(root, local_database=True)}
    for planned in plan.files:
        match planned.action:
            case Action.CREATE | Action.REPLACE:
                _put(root, files[planned.path])
            case Action.REMOVE:
                _remove(root, planned.path)
            case Action.UNCHANGED | Action.KEEP:
                pass
    return [*left_out, *_run_all(plan, plan.after)]


def _put(root: Path, file: InstallFile) -> None:
    """Under another name first, so that no incomplete file can be read."""
    there = at(root, file.path)
    for directory in reversed([each for each in there.parents if not each.exists()]):
        directory.mkdir()
        directory.chmod(0o755)
    new = there.with_name(f".{there.name}.new")
    new.unlink(missing_ok=True)
    if file.link_to is not None:
        new.symlink_to(file.link_to)
    else:
        new.write_bytes(file.content)
        new.chmod(0o644)
    new.replace(there)


def _remove(root: Path, path: str) -> None:
    """Also the directories that become empty, except shared ones."""
    there = at(root, path)
    there.unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or a link
        for parent in there.parents:
            if inside(root, parent) in SHARED:
                break
            parent.rmdir()


def _run_all(plan: Plan, commands: list[str]) -> Iterator[str]:
    """Run them; yields those that were left out."""
    systemd = Path("/run/systemd/system").is_dir()
    for each in commands:
        if plan.root != "/" or (each.startswith("systemctl ") and not systemd):
            yield each
        else:
            _run(each)


def _run(command: str) -> None:
    path = f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(  # noqa: S603 - the commands above
        ["/bin/sh", "-ec", command],
        cwd="/",
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise BadConfiguration(
            f"a command failed: {command}\nwhy: {said}\nfix: repair that, and run this again"
        )
