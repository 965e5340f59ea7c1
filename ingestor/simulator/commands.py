"""The hub's methods: what is asked, and what the hub answers. No sockets here.

Answers are events on `executionEvents`; a Completion says only that the method has run. Of the vendor's many
methods this hub runs the two that read; the others are known by name, refused, and on record.
"""

from dataclasses import dataclass
from typing import Final

from ingestor.simulator import protocol
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.config import ArgumentForm, DataForm, HandlerForm, HubConfig
from ingestor.simulator.exact_json import Json, dumps
from ingestor.simulator.faults import Fault, Trouble

CHANNEL: Final = "executionEvents"
BALANCES: Final = "account.balances.snapshot"
PAIRS: Final = "execution.pairs"
CLIENT_ID_LIMIT: Final = 36

_RUN: Final = {"getbalances", "getpairs"}
_REFUSED: Final = frozenset(
    name.lower()
    for name in (
        "GetPairSizeByAmount",
        "PlaceOtcOrder",
        "CreateRequestForQuote",
        "CreateRequestForQuoteWithCustomExpiration",
        "AcceptRequestForQuote",
        "GetOrdersPaginated",
        "GetOrdersByClientId",
        "GetTradesPaginated",
        "GetHistoricalTradesPaginated",
        "GetTradesByClientId",
        "GetTransactionsPaginated",
        "GetHistoricalTransactionsPaginated",
        "GetWithdrawalsPaginated",
        "GetWithdrawalsByClientId",
        "WithdrawInstantFunds",
        "WithdrawFundsWithAddressParams",
        "GetDepositAddress",
        "CreateDepositAddress",
        "GetWhitelistedAddresses",
        "WhitelistAddress",
        "WhitelistAddressWithParams",
        "SubscribePairPriceChannel",
        "UnsubscribePairPriceChannel",
        "RegisterPayee",
        "GetPayeesPaginated",
        "RegisterPayeeAddress",
        "GetPayeeAddressesPaginated",
        "TransferFunds",
        "GetTransfersPaginated",
        "CreateLightningInvoice",
        "GetLightningInvoices",
        "WithdrawLightning",
    )
)
REFUSAL: Final = "this hub only reads"


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """One record for a client's handler, and what the journal wants to know of it."""

    raw: bytes
    """Without the terminator."""
    target: str | None = None
    subject: str | None = None
    sequence: int | None = None
    client_id: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation leads to."""

    event: ChannelRecord | None = None
    completes: bool = True
    error: str | None = None
    """The Completion's error; None: its result is null."""


def answer(call: protocol.Invocation, account: Account, config: HubConfig, trouble: Trouble | None) -> Answer:
    """Run a hub method, or what `trouble` makes of it."""
    refusal = _refusal(call)
    if refusal is not None:
        return Answer(error=refusal)
    bound, client_id = _bind(call.arguments, config.argument_form)
    if not bound:
        return Answer(error=protocol.binding_failure(call.target))
    if trouble is not None:
        return _troubled(call.target, client_id, config, trouble)
    if client_id is None or len(client_id) > CLIENT_ID_LIMIT:
        text = f"ClientId must be a string of at most {CLIENT_ID_LIMIT} characters"
        return Answer(_error_event("preChecksError", text, client_id, config))
    if call.target.lower() == "getpairs":
        return Answer(_event("Execution", PAIRS, account.pairs(), client_id, config))
    return Answer(balances_event(account.read(), account, client_id, config))


def _refusal(call: protocol.Invocation) -> str | None:
    """Why this method does not run at all."""
    name = call.target.lower()
    if name not in _RUN | _REFUSED:
        return protocol.unknown_method(call.target)
    if call.streaming:
        return protocol.not_streaming(call.target)
    return protocol.hub_exception(call.target, REFUSAL) if name in _REFUSED else None


def client_id_of(arguments: list[Json]) -> str | None:
    """The ClientId of a command in either form, for the journal."""
    first = arguments[0] if arguments else None
    if isinstance(first, list):
        first = first[0] if first else None
    return first if isinstance(first, str) else None


def balances_event(
    snapshot: Snapshot, account: Account, client_id: str | None, config: HubConfig
) -> ChannelRecord:
    """A balance snapshot as an answer, or as a push if `client_id` is the push's one."""
    payload = account.balances(snapshot)
    return _event("Account", BALANCES, payload, client_id, config, sequence=snapshot.sequence)


def _bind(arguments: list[Json], form: ArgumentForm) -> tuple[bool, str | None]:
    """(do the arguments fit the method, its ClientId): one string, or null as .NET allows for one."""
    match arguments:
        case [str() | None as client_id] if form is not ArgumentForm.NESTED:
            return True, client_id
        case [[str() | None as client_id]] if form is not ArgumentForm.POSITIONAL:
            return True, client_id
    return False, None


def _troubled(target: str, client_id: str | None, config: HubConfig, trouble: Trouble) -> Answer:
    text = trouble.error
    match trouble.fault:
        case Fault.COMMAND_SILENCE:
            return Answer(completes=False)
        case Fault.COMMAND_COMPLETION_ERROR:
            return Answer(error=protocol.hub_exception(target, text or "permission denied"))
        case Fault.COMMAND_PRECHECKS_ERROR:
            return Answer(_error_event("preChecksError", text or "ClientId is not valid", client_id, config))
        case Fault.COMMAND_SUBJECT_ERROR:
            return Answer(_error_event("execution.error", text or "account not approved", client_id, config))
        case _:
            raise ValueError(f"{trouble.fault} does not happen to a command")


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
    envelope: Json = {
        "channel": CHANNEL,
        "topic": topic,
        "subject": subject,
        "type": "message",
        "clientId": client_id,
        "data": dumps(data) if config.data_form is DataForm.STRING else data,
    }
    argument: Json = [envelope] if config.handler_form is HandlerForm.LIST else envelope
    return ChannelRecord(protocol.invocation(CHANNEL, [argument]), CHANNEL, subject, sequence, client_id)
