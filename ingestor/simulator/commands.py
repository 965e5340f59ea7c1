"""The hub's methods: what a client can call, and what the hub answers. No sockets here.

Of the vendor's many methods this hub knows the two that read.
"""

from dataclasses import replace
from typing import Final

from ingestor.simulator import protocol
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.config import AnswersIn, ArgumentForm, DataForm, HandlerForm, HubConfig
from ingestor.simulator.faults import Fault, FaultSpec
from ingestor.simulator.journal import ChannelRecord
from ingestor.simulator.protocol import to_json

CHANNEL: Final = "executionEvents"
BALANCES: Final = "account.balances.snapshot"
PAIRS: Final = "execution.pairs"
PUSH_CLIENT_ID: Final = ""
"""The envelope's `clientId` of what was not asked for."""
CLIENT_ID_LIMIT: Final = 36

_COMMANDS: Final = {"getbalances", "getpairs"}


class Methods:
    """What this account's hub answers."""

    def __init__(self, account: Account, config: HubConfig) -> None:
        self._account = account
        self._config = config

    def answer(self, call: protocol.Invocation, fault: FaultSpec | None) -> list[ChannelRecord | bytes]:
        """Run a hub method, or what `fault` makes of it.

        Returns:
            What is to be sent, in that order; bytes are a Completion without a result.
        """
        refusal = self._refusal(call, fault)
        completes = call.invocation_id
        if refusal is not None:
            return [] if completes is None else [protocol.completion(completes, refusal)]
        if fault is not None and fault.fault is Fault.COMMAND_SILENCE:
            return []
        event = self._event_of(call, fault)
        records: list[ChannelRecord | bytes] = []
        if self._config.answers_in is not AnswersIn.COMPLETION:
            records.append(event)
        if completes is not None and self._config.answers_in is AnswersIn.EVENT:
            records.append(protocol.completion(completes))
        elif completes is not None:
            raw = protocol.completion(completes, result=event.argument)
            records.append(replace(event, raw=raw.removesuffix(protocol.RECORD_END), target=None))
        return records

    def balances(self, snapshot: Snapshot, client_id: str | None = PUSH_CLIENT_ID) -> ChannelRecord:
        """A balance snapshot as an answer, or as a push."""
        payload = self._account.balances(snapshot)
        return self._event("Account", BALANCES, payload, client_id, sequence=snapshot.sequence)

    def _refusal(self, call: protocol.Invocation, fault: FaultSpec | None) -> str | None:
        """Why this method does not run, or fails."""
        name, form = call.target.lower(), self._config.argument_form
        if name not in _COMMANDS:
            return protocol.unknown_method(call.target)
        match call.arguments:
            case [str() | None] if form is not ArgumentForm.NESTED:
                pass
            case [[str() | None]] if form is not ArgumentForm.POSITIONAL:
                pass
            case _:
                return protocol.binding_failure(call.target)
        if fault is not None and fault.fault is Fault.COMMAND_COMPLETION_ERROR:
            return protocol.hub_exception(call.target, fault.error or "permission denied")
        return None

    def _event_of(self, call: protocol.Invocation, fault: FaultSpec | None) -> ChannelRecord:
        client_id = client_id_of(call.arguments)
        if fault is not None and fault.fault is Fault.COMMAND_SUBJECT_ERROR:
            subject, text = "execution.error", fault.error or "account not approved"
        elif fault is not None:
            subject, text = "preChecksError", fault.error or "ClientId is not valid"
        elif client_id is None or len(client_id) > CLIENT_ID_LIMIT:
            subject, text = "preChecksError", f"ClientId must have at most {CLIENT_ID_LIMIT} characters"
        elif call.target.lower() == "getpairs":
            return self._event("Execution", PAIRS, self._account.pairs(), client_id)
        else:
            return self.balances(self._account.read(), client_id)
        return self._event("Execution", subject, {"message": text}, client_id)

    def _event(
        self, topic: str, subject: str, data: object, client_id: str | None, *, sequence: int | None = None
    ) -> ChannelRecord:
        config = self._config
        as_text = config.data_form is DataForm.STRING and data is not None
        envelope: dict[str, object] = {
            "channel": CHANNEL,
            "topic": topic,
            "subject": subject,
            "type": "message",
            "clientId": client_id,
            "data": to_json(data).decode() if as_text else data,
        }
        if config.answer_bytes and client_id != PUSH_CLIENT_ID:
            envelope["padding"] = "x" * max(0, config.answer_bytes - len(to_json(envelope)))
        argument: object = [envelope] if config.handler_form is HandlerForm.LIST else envelope
        return ChannelRecord(
            protocol.invocation(CHANNEL, [argument]),
            target=CHANNEL,
            subject=subject,
            sequence=sequence,
            client_id=client_id,
            argument=argument,
        )


def client_id_of(arguments: list[object]) -> str | None:
    """The ClientId of a command in either form."""
    match arguments:
        case [str(client_id), *_] | [[str(client_id), *_], *_]:
            return client_id
        case _:
            return None
