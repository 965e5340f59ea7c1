"""`python -m ingestor`, and the `ingestor` command."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    from ingestor.cli.main import run  # noqa: PLC0415 - `--version` should not wait for what it does not use

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
