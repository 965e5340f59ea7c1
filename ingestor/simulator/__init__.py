"""A simulated Hercle hub: real HTTP, WebSocket and SignalR on loopback, with an account that trades by
itself, a journal of what it sent, and faults on demand. Written from the protocol's specification and sharing
no code with the client, so that both sides cannot share a misunderstanding.

    with SimulatedHub(HubConfig(journal_path=path, changes_per_second=50, seed=7)) as hub:
        hub.url, hub.api_key                    # where clients connect, and with what
        hub.wait_until(lambda hub: hub.connections == 1)
        hub.account.change()                    # one change, pushed to all (unless push_balances is off)
        hub.inject(Fault.RST)                   # at once
        hub.inject(Fault.DROP, count=3)         # the next three records
        hub.inject(Fault.NEGOTIATE_STATUS, status=429, headers={"Retry-After": "7"}, count=None)
        hub.clear_faults()
        hub.burst(10_000, records_per_frame=20)
        hub.inject(Fault.RESTART, seconds=1.0)  # or go_away() … come_back()
        hub.inject(Fault.COMMAND_SILENCE, seconds=10)
        hub.change_key("another key")           # open connections stay
        hub.settle()                            # all that was sent so far is with the sockets
    hub.targets_seen, hub.fault_counts          # what was called, which faults occurred

* `HubConfig`: every switch, with units; `AnswersIn`, `ArgumentForm`, `DataForm`, `HandlerForm` are what the
  vendor leaves open.
* `Fault`, and `FaultSpec` for a fault's parameters.
* `journal` defines the lines of the journal.
"""

from importlib.util import find_spec

from ingestor.domain.errors import BadConfiguration

if find_spec("aiohttp") is None:
    raise BadConfiguration(
        "the simulated hub is not installed\nwhy: it needs aiohttp\nfix: pip install 'hercle-ingestor[demo]'"
    )

from ingestor.simulator.config import AnswersIn, ArgumentForm, DataForm, HandlerForm, HubConfig
from ingestor.simulator.faults import Fault, FaultSpec
from ingestor.simulator.hub import SimulatedHub

__all__ = [
    "AnswersIn",
    "ArgumentForm",
    "DataForm",
    "Fault",
    "FaultSpec",
    "HandlerForm",
    "HubConfig",
    "SimulatedHub",
]
