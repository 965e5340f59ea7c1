"""All switches of the simulated hub, the vendor's open questions among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ingestor.simulator.faults import Fault

PATH = "/ExecutionLiveServer/v1"
"""The hub's path, as at the vendor."""


class ArgumentForm(StrEnum):
    """Which shape of a command's arguments the hub can bind; the other one is a binding failure."""

    POSITIONAL = "positional"
    """`["id"]`"""
    NESTED = "nested"
    """`[["id"]]`, as the vendor's JavaScript samples send it."""
    BOTH = "both"


class DataForm(StrEnum):
    """How an envelope carries its `data`."""

    STRING = "string"
    """JSON in a JSON string."""
    NESTED = "nested"


class AnswersIn(StrEnum):
    """What carries the answer to a command."""

    EVENT = "event"
    """An event on `executionEvents`; the Completion's result is null. So the vendor documents it."""
    COMPLETION = "completion"
    """The Completion's `result`: the envelope, or a list of one (see HandlerForm)."""
    BOTH = "both"


class HandlerForm(StrEnum):
    """What a client's handler is called with."""

    OBJECT = "object"
    """`arguments: [envelope]`"""
    LIST = "list"
    """`arguments: [[envelope]]`"""


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The defaults are a healthy ASP.NET Core hub with an account that changes only on command."""

    port: int = 0
    """Port on 127.0.0.1; 0 for any free one, which is then kept over restarts."""
    api_key: str = field(default="simulated-key", repr=False)
    """The bearer key that opens the hub."""
    seed: int = 1
    """Of the account's moves and of all random faults; recorded in the journal."""
    journal_path: Path | None = None
    """Where the journal goes (appended to, parents must exist); None: no journal is kept."""
    journal_fsync: bool = True
    """Force the journal to disk before each send; off, it is only handed to the kernel."""

    changes_per_second: float = 0.0
    """Account changes per second; 0: only by `hub.account.change()`."""
    pair_change_interval_s: float = 0.0
    """Seconds between changes of the pair list; 0: only by `hub.account.change_pairs()`."""
    first_sequence: int = 100
    """The sequence of the state that the account starts with."""
    sequence_step: int = 1
    """How far one change moves the sequence."""
    sequence_step_random: int = 0
    """Above 0: each change moves the sequence by a seeded random step from 1 to this, instead."""
    empty_account: bool = False
    """No assets and no pairs at all."""
    null_lists: bool = False
    """Empty lists are written as null: `"assets": null`, and `"data": null` for pairs."""

    push_balances: bool = True
    """Each account change is pushed to every connection unasked."""
    argument_form: ArgumentForm = ArgumentForm.POSITIONAL
    data_form: DataForm = DataForm.STRING
    handler_form: HandlerForm = HandlerForm.OBJECT
    answers_in: AnswersIn = AnswersIn.EVENT
    answer_lag_seconds: float = 0.0
    """An answer's content is that of the moment when the command arrived; it is sent so much later, and
    pushes overtake it."""
    answer_bytes: int = 0
    """Answers are padded to at least this size."""

    ping_interval_s: float = 15.0
    """A ping follows this many seconds of silence."""
    client_timeout_s: float = 30.0
    """A client that has pinged once and then sends nothing for this long is closed."""
    handshake_timeout_s: float = 15.0

    schedule: tuple[tuple[float, Fault, Mapping[str, Any]], ...] = ()
    """(seconds after the start, fault, its parameters as for `hub.inject`)."""
    misbehave: bool = False
    """Now and then one of the milder faults, from the first connection on: for demonstrations."""
