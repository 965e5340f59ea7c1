"""`ingestor status`: the state of the account, whether a daemon runs or not."""

from collections.abc import Iterator
from dataclasses import fields

import click

from ingestor.app.control import LiveState, live_state
from ingestor.app.daemon_status import span
from ingestor.app.status import (
    AccountStatus,
    DaemonState,
    StreamStatus,
    daemon_state,
    offset,
    problems,
    status,
)
from ingestor.cli.documents import LiveStatusDocument, StatusDocument
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, with_invocation
from ingestor.domain.errors import CredentialRefused, Transient, parts_of
from ingestor.domain.scrub import printable
from ingestor.logs import redact


@click.command("status")
@json_option()
@with_invocation
def status_command(invocation: Invocation) -> int:
    """Show whether the account is current, whether a daemon runs or not.

    Exits with 1 if something is wrong.
    """
    settings = invocation.load_quietly().settings
    live = live_state(settings.account)
    try:
        account = status(settings)
    except (Transient, CredentialRefused) as error:
        if live is None:
            raise
        return _without_database(invocation, live, error)
    found = problems(account)
    known = {each.name: getattr(account, each.name) for each in fields(account)}
    document = StatusDocument(**known, daemon=daemon_state(account), problems=found, live=live)
    invocation.answer(document, [*lines(account), *map(_problem_line, found)])
    return Exit.PROBLEMS if found else Exit.OK


def _without_database(invocation: Invocation, live: LiveState, error: Transient | CredentialRefused) -> int:
    """What the daemon itself answers over its socket. If the database refuses the user of this command, for
    example root, who has no role, that is no problem of the account."""
    what, why, _ = map(redact, parts_of(error))
    database = f"{what}: {why}" if why else what
    found = [f"the database cannot be read: {what}"] if isinstance(error, Transient) else []
    found += [*live.not_live, *(f"{name}: {text}" for name, text in live.not_ready.items())]
    told = [
        f"account   {live.account}",
        f"daemon    answers, pid {live.pid}, version {live.version}",
        f"state     {live.status}",
        f"database  not read: {database}",
    ]
    document = LiveStatusDocument(live.account, live, database, found)
    invocation.answer(document, [*told, *map(_problem_line, found)])
    return Exit.PROBLEMS if found else Exit.OK


def _problem_line(problem: str) -> str:
    return f"problem   {problem}"


def lines(account: AccountStatus) -> Iterator[str]:
    """The status as text, without the problems."""
    yield f"account   {account.account}"
    yield from _process_lines(account)
    users = {each.user_id for each in account.streams if each.kind == "balances"}
    yield from (_stream_line(each, several=len(users) > 1) for each in account.streams)
    yield f"gaps      {account.open_gaps} open"
    yield f"dropped   {account.dropped_records} records in the last 24 hours"
    yield f"links     {account.links_lost_last_hour} lost in the last hour"
    newest = f", the newest: {account.newest_dead_letter}" if account.newest_dead_letter else ""
    discarded = f", {account.discarded_dead_letters} discarded" if account.discarded_dead_letters else ""
    yield f"letters   {account.dead_letters} quarantined{discarded}{newest}"
    for each in account.sequence_steps:
        yield (
            f"steps     {each.share:.1%} of the versions that were {each.origin} rose by {each.step} "
            f"({each.versions}, user {_shown(each.user_id)})"
        )


def _process_lines(account: AccountStatus) -> Iterator[str]:
    process, state = account.process, daemon_state(account)
    words = state.replace("_", " ")
    if process is None:
        yield f"daemon    {words}"
        return
    ago = span(process.seconds_since_heartbeat)
    yield (
        f"daemon    {words}, pid {process.pid} on {process.host}, version {process.software_version}, "
        f"last heartbeat {ago} ago"
    )
    if state is DaemonState.RUNNING:
        due = process.next_attempt_in_seconds
        next_attempt = "" if due is None else f", next attempt in {span(due)}"
        yield f"link      {process.link_state}{next_attempt}"
    elif state is not DaemonState.STOPPED:
        yield f"link      was {process.link_state} {ago} ago"
    if process.inbox_records:
        yield f"inbox     {process.inbox_records} records were waiting {ago} ago"
    if process.clock_offset_seconds is not None:
        yield f"clock     {offset(process.clock_offset_seconds)} the database's"


def _shown(user_id: str) -> str:
    """The hub's name of a user, which could contain commands to the terminal."""
    return printable(user_id, 128)


def _stream_line(stream: StreamStatus, *, several: bool) -> str:
    """With the user, if the account has several of them."""
    if stream.seconds_since_confirmed is None:
        return f"{stream.kind:<9} never confirmed"
    pending = f", {len(stream.pending_confirmations)} pending" if stream.pending_confirmations else ""
    former = "former " if stream.is_fresh is None else ""
    user = f", {former}user {_shown(stream.user_id)}" if several and stream.user_id else ""
    return (
        f"{stream.kind:<9} epoch {stream.epoch}, sequence {stream.sequence}, "
        f"confirmed {stream.seconds_since_confirmed:.0f} s ago{pending}{user}"
    )
