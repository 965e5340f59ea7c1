"""A simulated hub as a process of its own, which enters the machine's network: `python -m tests.systemd.hub`.

Commands come on standard input, one a line: `key KEY` accepts another key from now on, `restart` cuts all
connections. It ends with its standard input.
"""

import sys
from pathlib import Path

from ingestor.simulator import Fault, HubConfig, SimulatedHub


def main(port: str, key: str, first_sequence: str, journal: str) -> None:
    """Serve until standard input ends."""
    config = HubConfig(
        port=int(port),
        api_key=key,
        first_sequence=int(first_sequence),
        journal_path=Path(journal),
        journal_fsync=False,
        changes_per_second=10,
        seed=int(port),
    )
    with SimulatedHub(config) as hub:
        print(hub.url, flush=True)
        for line in sys.stdin:
            match line.split():
                case ["key", another]:
                    hub.change_key(another)
                case ["restart"]:
                    hub.inject(Fault.RESTART)
                case words:
                    raise ValueError(words)
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
