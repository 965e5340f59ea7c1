"""`python -m ingestor`, and the `ingestor` command."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    _take_closed_numbers()
    try:
        from ingestor.cli.main import run  # noqa: PLC0415 - an interrupt may come while it is imported

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _take_closed_numbers() -> None:
    """A standard stream that the caller has closed leaves its number to the next file: a connection to the
    database would then be sent what a library prints. The stand-in for standard output cannot be written, so
    that a command whose output is lost still fails."""
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115 - a number, for as long as we live


if __name__ == "__main__":
    main()
