"""One frozen story of two accounts, as rows: what the reports have to say about it is known by heart.

`main` has a hub that pushes; its day of trouble is 2025-03-03. `polled` has a hub that only answers,
and a key that was changed for another user's. Both processes were stopped on 2025-03-31 at 12:00. Times are
UTC.
"""

from decimal import Decimal
from uuid import UUID, uuid4

from tests.support.rows import Query, insert

USER, FORMER, PRESENT = "u", "p1", "p2"
SESSIONS = {name: UUID(int=number) for number, name in enumerate("ABCDP", start=1)}
OPENED = {
    "A": ("main", "2025-03-03 09:00:00"),
    "B": ("main", "2025-03-03 12:00:10"),
    "C": ("main", "2025-03-03 13:05:00"),
    "D": ("main", "2025-03-05 10:19:59"),
    "P": ("polled", "2025-03-03 09:00:00"),
}


def _at(time: str) -> str:
    return f"{time}+00"


def tell(sql: Query) -> None:
    """Write the story into an empty database."""
    for name in ("main", "polled"):
        insert(sql, "account", account=name, environment="custom", created_at=_at("2025-03-03 08:59"))
        stopped(sql, name, _at("2025-03-31 12:00"))
    for session, (name, opened) in OPENED.items():
        open_session(sql, name, session, _at(opened))
    _main(sql)
    _polled(sql)
    _pairs(sql)
    _order(sql)
    insert(
        sql,
        "clock_step",
        account="main",
        noticed_at=_at("2025-03-20 00:00"),
        clock="host",
        step_seconds=-3600,
    )


def _main(sql: Query) -> None:
    version = Versions(sql, "main", USER)
    gap(sql, "main", "A", 0, "disconnected", "before_first_session", "03 08:59:00", "03 09:00:01")
    version("03 09:00:01", "A", 1, 100, "answered", BTC=("10", "0"), EUR=("1000", "0"))
    version("03 10:00:00", "A", 1, 101, before="03 09:59:30", BTC=("12", "0.5"))
    version("03 11:00:00", "A", 1, 103, before="03 10:59:00", passed_over=1, EUR=("900", "0"))
    # The hub is away: BTC goes to 0 and comes back, and nobody sees it.
    gap(
        sql,
        "main",
        "A",
        50,
        "disconnected",
        "reset",
        "03 12:00:00",
        "03 12:00:14",
        missed_until="03 12:00:10",
    )
    version("03 12:00:14", "B", 1, 105, "answered", before="03 11:59:40", passed_over=1)
    # Two gaps that overlap; across the end of the second one the number does not move.
    gap(sql, "main", "B", 60, "disconnected", "eof", "03 13:00:00", "03 13:05:00", missed_until="03 13:05:00")
    gap(sql, "main", "C", 2, "undecodable", "not_json", "03 13:04:00", "03 13:10:00")
    version("03 13:05:00", "C", 1, 106, "answered", before="03 12:59:50")
    # Another content under the same number.
    pending(sql, "main", "conflict", USER, 106, "03 14:00:00", "03 14:00:05", "confirmed")
    version("03 14:00:00", "C", 1, 106, before="03 13:59:30", revision=1, BTC=("99", "0"))
    version("03 14:30:00", "C", 1, 107, before="03 14:29:30", BTC=("12.5", "0"))
    pending(sql, "main", "mass_delete", USER, 108, "03 15:00:00", "03 15:00:03", "refuted")
    # EUR is not named any more; then the hub flags the record as deleted for ten minutes.
    version("03 15:30:00", "C", 1, 108, before="03 15:29:30", EUR=None)
    version("03 16:00:00", "C", 1, 109, before="03 15:59:30", deleted=True)
    version("03 16:10:00", "C", 1, 110, before="03 16:09:30")
    # The counter begins again.
    pending(sql, "main", "reset_suspected", USER, 1, "03 17:00:00", "03 17:00:02", "confirmed")
    version("03 17:00:02", "C", 2, 1, "answered", before="03 16:59:30", BTC=("13", "0"))
    # A Wednesday: the vendor's window is from 09:00 to 10:00 UTC.
    gap(
        sql,
        "main",
        "C",
        99,
        "disconnected",
        "http_503",
        "05 09:10:00",
        "05 10:20:00",
        missed_until="05 10:19:59",
    )
    version("05 10:20:00", "D", 2, 2, "answered", before="05 09:09:30")
    # Commits were delayed by ten minutes.
    version("10 12:00:00", "D", 2, 3, before="10 11:59:30", recorded="10 12:10:00", BTC=("7", "0"))
    # The night on which Rome's clocks go forward, and the midnight that ends that day of 23 hours.
    version("30 00:30:00", "D", 2, 4, before="30 00:29:30", BTC=("8", "0"))
    version("30 22:00:00", "D", 2, 5, before="30 21:59:30", BTC=("9", "0"))
    version.stand("31 11:59:30")
    gap(sql, "main", "D", 900, "disconnected", "stopped", "31 12:00:00", None)
    exposure(sql, "main", USER, "A", 1, "03 09:00:01", "BTC", "5", "100")
    exposure(sql, "main", USER, "A", 9, "03 10:00:30", "BTC", "6", "100")


def _polled(sql: Query) -> None:
    former = Versions(sql, "polled", FORMER)
    former("03 09:00:00", "P", 1, 1, "answered", ETH=("5", "0"))
    former.stand("04 00:00:00")
    present = Versions(sql, "polled", PRESENT)
    present("04 00:05:00", "P", 1, 1, "answered", ETH=("6", "0"))
    present("04 06:00:00", "P", 1, 2, "answered", before="04 05:59:00", ETH=("7", "0"))
    present.stand("31 11:59:00")
    request(sql, "polled", "GetBalances", "04 05:59:59", "04 06:00:00", "answered")
    request(sql, "polled", "GetBalances", "04 05:58:59", "04 05:59:00", "answered")
    request(sql, "polled", "GetBalances", "04 07:00:00", "04 07:00:10", "timed_out")
    gap(sql, "polled", "P", 0, "unanswered", "timed_out", "04 06:59:30", "04 07:01:00", affects="{balances}")
    request(sql, "polled", "GetBalances", "04 07:00:59", "04 07:01:00", "answered")


def _order(sql: Query) -> None:
    """A quote that was accepted: two events under one id."""
    for ordinal, subject, data in (
        (10, "account.requestForQuote.created", '{"requestForQuoteId":"q1","side":"buy","price":26850}'),
        (
            11,
            "execution.order.executed",
            '{"tradeId":"t1","side":"buy","pair":"BTCEUR","price":26850.50,"size":2.5}',
        ),
    ):
        raw = (
            '{"type":1,"target":"executionEvents","arguments":[{"channel":"executionEvents","topic":"Account",'
            f'"subject":"{subject}","type":"message","clientId":"order-1","data":{data}}}]}}'
        ).encode()
        record = {"account": "main", "session_id": SESSIONS["A"], "ordinal": ordinal}
        at = _march(f"03 09:59:{ordinal + 40}")
        insert(sql, "raw_event", **record, received_at=at, size=len(raw), raw=raw)
        insert(
            sql,
            "outcome",
            **record,
            position=0,
            received_at=at,
            outcome="ignored",
            reason="unhandled_subject",
            subject=subject,
        )


def _pairs(sql: Query) -> None:
    version = Versions(sql, "main", "", kind="pairs")
    version("03 09:00:01", "A", 1, 1, "answered")
    pair(sql, "03 09:00:01", 1, "BTCEUR", "100")
    pair(sql, "03 09:00:01", 1, "ETHEUR", "50")
    version("03 10:00:00", "A", 1, 2, "answered", before="03 09:55:00")
    pair(sql, "03 10:00:00", 2, "BTCEUR", "200")
    version("03 11:00:00", "A", 1, 3, "answered", before="03 10:55:00")
    pair(sql, "03 11:00:00", 3, "ETHEUR", "50", listed=False)
    version.stand("31 11:55:00")


def _march(time: str | None) -> str | None:
    return None if time is None else _at(f"2025-03-{time}")


class Versions:
    """The snapshots of one stream that became state, in order; call it for the next one."""

    def __init__(self, sql: Query, account: str, user: str, kind: str = "balances") -> None:
        self._sql = sql
        self._stream = {"account": account, "kind": kind, "user_id": user}
        self.newest: dict[str, object] = {}

    def __call__(
        self,
        time: str,
        session: str,
        epoch: int,
        sequence: int,
        origin: str = "pushed",
        *,
        before: str | None = None,
        passed_over: int = 0,
        revision: int = 0,
        deleted: bool = False,
        recorded: str | None = None,
        **amounts: tuple[str, str] | None,
    ) -> None:
        number = {"epoch": epoch, "sequence": sequence, "revision": revision}
        event = {"session_id": SESSIONS[session], "ordinal": sequence, "position": 0}
        if epoch != self.newest.get("epoch"):
            insert(
                self._sql,
                "epoch",
                **self._stream,
                epoch=epoch,
                opened_at=_march(time),
                cause="first_seen" if epoch == 1 else "suspected_server_reset",
                first_sequence=sequence,
                evidence=epoch,
                first_evidence_session_id=SESSIONS[session],
                first_evidence_ordinal=sequence,
                last_evidence_session_id=SESSIONS[session],
                last_evidence_ordinal=sequence,
                stale_snapshots=0,
            )
        insert(
            self._sql,
            "outcome",
            outcome="applied",
            **self._stream,
            **number,
            **event,
            valid_from=_march(time),
            received_at=_march(time),
            deleted=deleted,
            origin=origin,
            passed_over=passed_over,
            previous_confirmed_until=_march(before),
            recorded_at=_march(recorded or time),
        )
        for asset, amount in amounts.items():
            available, allocated = amount or ("0", "0")
            insert(
                self._sql,
                "balance",
                account=self._stream["account"],
                user_id=self._stream["user_id"],
                asset=asset,
                valid_from=_march(time),
                **number,
                available=Decimal(available),
                allocated=Decimal(allocated),
                reported=amount is not None,
            )
        self.newest = {**number, **event, "valid_from": _march(time), "deleted": deleted}

    def stand(self, confirmed_until: str) -> None:
        """The watermark: the newest version, confirmed until then."""
        insert(
            self._sql,
            "watermark",
            **self._stream,
            **self.newest,
            content=b"",
            confirmed_until=_march(confirmed_until),
        )


def gap(
    sql: Query,
    account: str,
    session: str,
    ordinal: int,
    kind: str,
    cause: str,
    since: str,
    confirmed: str | None,
    *,
    missed_until: str | None = None,
    affects: str = "{balances,pairs}",
    recorded: str | None = None,
) -> None:
    """A gap that was noticed at once; it ended when both kinds were confirmed.

    Args:
        recorded: when its end was stored; else at once.
    """
    until = _march(confirmed)
    stored = _march(recorded) or until or _march(since)
    insert(
        sql,
        "gap",
        account=account,
        session_id=SESSIONS[session],
        ordinal=ordinal,
        position=0,
        kind=kind,
        opened_at=_march(since),
        cause=cause,
        missed_from=_march(since),
        missed_until=_march(missed_until) or until,
        connection_errors=("'{}'",),
        affects=("%s::text[]", affects),
        occurrences=1,
        last_occurred_at=_march(since),
        balances_confirmed_at=until,
        pairs_confirmed_at=until if "pairs" in affects else None,
        ended_at=until,
        recorded_at=_march(since),
        balances_confirmation_recorded_at=stored,
        pairs_confirmation_recorded_at=stored,
    )


def pending(
    sql: Query,
    account: str,
    reason: str,
    user: str,
    sequence: int,
    raised: str,
    resolved: str,
    how: str,
    *,
    recorded: tuple[str, str] | None = None,
) -> None:
    """A snapshot that waited for confirmation.

    Args:
        recorded: when it, and when its resolution was stored; else at once.
    """
    stored = recorded or (raised, resolved)
    insert(
        sql,
        "confirmation",
        account=account,
        session_id=SESSIONS["C"],
        ordinal=sequence,
        position=0,
        reason=reason,
        raised_at=_march(raised),
        kind="balances",
        user_id=user,
        sequence=sequence,
        resolution=how,
        resolved_at=_march(resolved),
        recorded_at=_march(stored[0]),
        resolution_recorded_at=_march(stored[1]),
    )


def exposure(
    sql: Query,
    account: str,
    user: str,
    session: str,
    ordinal: int,
    time: str,
    asset: str,
    current: str,
    limit: str,
) -> None:
    """The exposure of an asset, and the same of the whole account."""
    event = {"session_id": SESSIONS[session], "ordinal": ordinal, "position": 0}
    seen = {"account": account, "user_id": user, "observed_at": _march(time), "recorded_at": _march(time)}
    figures = Decimal(current), Decimal(limit)
    insert(
        sql, "exposure", **seen, **event, asset=asset, current_exposure=figures[0], max_exposure=figures[1]
    )
    insert(
        sql,
        "exposure_total",
        **seen,
        **event,
        base_currency="EUR",
        total_current_exposure=figures[0],
        total_max_exposure=figures[1],
    )


def request(
    sql: Query,
    account: str,
    command: str,
    requested: str,
    ended: str,
    outcome: str,
    *,
    recorded: str | None = None,
    answer: tuple[int, str, str] | None = None,
) -> None:
    """A request that was sent in session P.

    Args:
        recorded: when its end was stored; else at once.
        answer: the ordinal of the record that answers, its user, and its outcome; else that is not stored any
            more.
    """
    request_id = uuid4()
    if answer is not None:
        insert(
            sql,
            "outcome",
            account=account,
            session_id=SESSIONS["P"],
            ordinal=answer[0],
            position=0,
            received_at=_march(ended),
            outcome=answer[2],
            request_id=str(request_id),
            kind="balances",
            user_id=answer[1],
        )
    insert(
        sql,
        "request",
        account=account,
        request_id=request_id,
        requested_at=_march(requested),
        command=command,
        cause="schedule",
        attempt=1,
        argument_form="positional",
        session_id=SESSIONS["P"],
        outcome=outcome,
        answer_ordinal=None if answer is None else answer[0],
        ended_at=_march(ended),
        recorded_at=_march(requested),
        end_recorded_at=_march(recorded or ended),
    )


def pair(sql: Query, time: str, sequence: int, name: str, max_size: str, *, listed: bool = True) -> None:
    """A pair of the account `main` from one list on."""
    insert(
        sql,
        "pair",
        account="main",
        name=name,
        valid_from=_march(time),
        epoch=1,
        sequence=sequence,
        revision=0,
        asset=name[:3],
        currency=name[3:],
        min_size=Decimal(1),
        max_size=Decimal(max_size),
        listed=listed,
    )


def open_session(sql: Query, account: str, session: str, opened: object) -> None:
    """A session that has not ended."""
    insert(
        sql,
        "session",
        account=account,
        session_id=SESSIONS[session],
        opened_at=opened,
        url="https://hub.example",
        attempts=1,
        connection_errors=("'{}'",),
        software_version="1",
        committed_ordinal=0,
        committed_records=0,
        dropped_records=0,
    )


def stopped(sql: Query, account: str, at: object) -> None:
    """The process of an account stopped in good order."""
    beat(sql, account, at, at)


def beat(sql: Query, account: str, at: object, stopped_at: object) -> None:
    """The last heartbeat of the process of an account; `stopped_at` is None if it has not stopped."""
    insert(
        sql,
        "heartbeat",
        account=account,
        process_id=SESSIONS["A"],
        pid=1,
        host="h",
        software_version="1",
        started_at=_at("2025-03-03 08:59"),
        heartbeat_at=at,
        link_state="up" if stopped_at is None else "stopped",
        key_refused=False,
        inbox_records=0,
        inbox_bytes=0,
        dropped_records=0,
        balances_interval="1 minute",
        pairs_interval="5 minutes",
        stopped_at=stopped_at,
    )
