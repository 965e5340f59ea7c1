"""The hub's methods: what a client can call, and what the hub answers. No sockets here.

Of the vendor's many methods this hub runs the two that read; the others are known by name and refused.
"""

from dataclasses import replace
from typing import Final

from ingestor.simulator import protocol
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.config import AnswersIn, ArgumentForm, DataForm, HandlerForm, HubConfig
from ingestor.simulator.exact_json import Json, dumps
from ingestor.simulator.faults import Fault, FaultSpec
from ingestor.simulator.journal import ChannelRecord

CHANNEL: Final = "executionEvents"
BALANCES: Final = "account.balances.snapshot"
PAIRS: Final = "execution.pairs"
PUSH_CLIENT_ID: Final = ""
"""The envelope's `clientId` of what was not asked for."""
CLIENT_ID_LIMIT: Final = 36

_READING: Final = {"getbalances", "getpairs"}
_NOT_READING: Final = """
    getpairsizebyamount placeotcorder createrequestforquote createrequestforquotewithcustomexpiration
    acceptrequestforquote getorderspaginated getordersbyclientid gettradespaginated
    gethistoricaltradespaginated gettradesbyclientid gettransactionspaginated
    gethistoricaltransactionspaginated getwithdrawalspaginated getwithdrawalsbyclientid withdrawinstantfunds
    withdrawfundswithaddressparams getdepositaddress createdepositaddress getwhitelistedaddresses
    whitelistaddress whitelistaddresswithparams subscribepairpricechannel unsubscribepairpricechannel
    registerpayee getpayeespaginated registerpayeeaddress getpayeeaddressespaginated transferfunds
    gettransferspaginated createlightninginvoice getlightninginvoices withdrawlightning
"""
_REFUSED: Final = frozenset(_NOT_READING.split())
REFUSAL: Final = "this hub only reads"


def answer(
    call: protocol.Invocation, account: Account, config: HubConfig, fault: FaultSpec | None
) -> list[ChannelRecord | bytes]:
    """Run a hub method, or what `fault` makes of it.

    Returns:
        What is to be sent, in that order; bytes are a Completion without a result.
    """
    refusal = _refusal(call, config.argument_form, fault)
    completes = call.invocation_id
    if refusal is not None:
        return [] if completes is None else [protocol.completion(completes, refusal)]
    if fault is not None and fault.fault is Fault.COMMAND_SILENCE:
        return []
    event = _event_of(call, account, config, fault)
    records: list[ChannelRecord | bytes] = []
    if config.answers_in is not AnswersIn.COMPLETION:
        records.append(event)
    if completes is not None and config.answers_in is AnswersIn.EVENT:
        records.append(protocol.completion(completes))
    elif completes is not None:
        raw = protocol.completion(completes, result=event.argument)
        records.append(replace(event, raw=raw.removesuffix(protocol.RECORD_END), target=None))
    return records if config.event_before_completion else records[::-1]


def _refusal(call: protocol.Invocation, form: ArgumentForm, fault: FaultSpec | None) -> str | None:
    """Why this method does not run, or fails."""
    name = call.target.lower()
    if name not in _READING | _REFUSED:
        return protocol.unknown_method(call.target)
    if call.streaming:
        return protocol.not_streaming(call.target)
    if name in _REFUSED:
        return protocol.hub_exception(call.target, REFUSAL)
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


def _event_of(
    call: protocol.Invocation, account: Account, config: HubConfig, fault: FaultSpec | None
) -> ChannelRecord:
    client_id = client_id_of(call.arguments)
    if fault is not None and fault.fault is Fault.COMMAND_SUBJECT_ERROR:
        return _error_event("execution.error", fault.error or "account not approved", client_id, config)
    if fault is not None:
        return _error_event("preChecksError", fault.error or "ClientId is not valid", client_id, config)
    if client_id is None or len(client_id) > CLIENT_ID_LIMIT:
        text = f"ClientId must be a string of at most {CLIENT_ID_LIMIT} characters"
        return _error_event("preChecksError", text, client_id, config)
    if call.target.lower() == "getpairs":
        return _event("Execution", PAIRS, account.pairs(), client_id, config)
    return balances_event(account.read(), account, client_id, config)


def client_id_of(arguments: list[Json]) -> str | None:
    """The ClientId of a command in either form."""
    first = arguments[0] if arguments else None
    if isinstance(first, list):
        first = first[0] if first else None
    return first if isinstance(first, str) else None


def balances_event(
    snapshot: Snapshot, account: Account, client_id: str | None, config: HubConfig
) -> ChannelRecord:
    """A balance snapshot as an answer, or as a push if `client_id` is PUSH_CLIENT_ID."""
    payload = account.balances(snapshot)
    return _event("Account", BALANCES, payload, client_id, config, sequence=snapshot.sequence)


def _error_event(subject: str, text: str, client_id: str | None, config: HubConfig) -> ChannelRecord:
    return _event("Execution", subject, {"message": text}, client_id, config)


def _event(
    topic: str,
    subject: str,
    data: Json,
    client_id: str | None,
    config: HubConfig,
    *,
    sequence: int | None = None,
) -> ChannelRecord:
    as_text = config.data_form is DataForm.STRING and data is not None
    envelope: dict[str, Json] = {
        "channel": CHANNEL,
        "topic": topic,
        "subject": subject,
        "type": "message",
        "clientId": client_id,
        "data": dumps(data) if as_text else data,
    }
    if config.answer_bytes and client_id != PUSH_CLIENT_ID:
        envelope["padding"] = "x" * max(0, config.answer_bytes - len(dumps(envelope)))
    argument: Json = [envelope] if config.handler_form is HandlerForm.LIST else envelope
    raw = protocol.invocation(CHANNEL, [argument])
    return ChannelRecord(
        raw, target=CHANNEL, subject=subject, sequence=sequence, client_id=client_id, argument=argument
    )
