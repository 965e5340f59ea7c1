"""`ingestor status`: one look at the account, with the daemon up or down."""

import json
from dataclasses import asdict
from datetime import datetime
from math import inf
from uuid import UUID

import click

from ingestor.app.status import AccountStatus, StreamStatus, status
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, settings_options

_SILENT_AFTER_SECONDS = 30.0
"""Six missed heartbeats."""


@click.command("status")
@json_option()
@settings_options
@click.pass_obj
def status_command(invocation: Invocation, *, as_json: bool) -> int:
    """Tell how the account stands, with the daemon up or down. Exits with 1 if something is wrong."""
    account = status(invocation.load_to_look().settings)
    problems = list(_problems(account))
    if as_json:
        document = {**asdict(account), "daemon": _daemon(account), "problems": problems}
        click.echo(json.dumps(document, indent=2, default=_plain))
    else:
        click.echo("\n".join(_lines(account)))
        for problem in problems:
            click.echo(f"problem   {problem}")
    return Exit.PROBLEMS if problems else Exit.OK


def _daemon(account: AccountStatus) -> str:
    """`never_started`, `running`, `silent` or `stopped`."""
    process = account.process
    if process is None:
        return "never_started"
    if process.stopped_at is not None:
        return "stopped"
    return "silent" if process.seconds_since_beat > _SILENT_AFTER_SECONDS else "running"


def _problems(account: AccountStatus) -> list[str]:
    process, daemon = account.process, _daemon(account)
    found = []
    if daemon != "running":
        found.append(f"the daemon is not running ({daemon}): systemctl status ingestor, or `ingestor run`")
    elif process is not None and process.link_state != "up":
        found.append(f"no link to the hub ({process.link_state}, {process.link_obstacle}): ingestor check")
    found += [f"{_age(stream)}: see the view report.freshness" for stream in _stale(account)]
    found += [
        f"{stream.kind} in doubt: {', '.join(stream.doubts)}, see the view report.doubt"
        for stream in account.streams
        if stream.doubts
    ]
    if account.open_gaps:
        found.append(f"gaps open: {account.open_gaps}, see the view report.gap")
    if account.lost_gaps:
        found.append(
            f"gaps lost in the last 24 hours: {account.lost_gaps}, see the view report.gap, ask the hub"
        )
    return found


def _stale(account: AccountStatus) -> list[StreamStatus]:
    """Streams that should have been confirmed by now; a process that has just started gets its time."""
    uptime = account.process.seconds_since_start if account.process is not None else inf
    return [
        stream
        for stream in account.streams
        if stream.is_fresh is False
        and (stream.confirmed_until is not None or uptime > 2 * (stream.expected_every_seconds or 0))
    ]


def _age(stream: StreamStatus) -> str:
    if stream.seconds_since_confirmed is None:
        return f"{stream.kind} never confirmed"
    every = stream.expected_every_seconds
    expected = "" if every is None else f", expected every {every:.0f} s"
    return f"{stream.kind} not confirmed for {stream.seconds_since_confirmed:.0f} s{expected}"


def _lines(account: AccountStatus) -> list[str]:
    process = account.process
    lines = [f"account   {account.account}"]
    if process is None:
        lines.append("daemon    never started")
    else:
        lines.append(
            f"daemon    {_daemon(account)}, pid {process.pid} on {process.host}, "
            f"version {process.software_version}, last beat {process.seconds_since_beat:.0f} s ago"
        )
        lines.append(f"link      {process.link_state}")
        lines.append(f"inbox     {process.inbox_records} records waiting")
    lines.extend(map(_stream_line, account.streams))
    lines.append(f"gaps      {account.open_gaps} open, {account.lost_gaps} lost in the last 24 hours")
    lines.append(f"letters   {account.dead_letters} quarantined")
    return lines


def _stream_line(stream: StreamStatus) -> str:
    if stream.seconds_since_confirmed is None:
        return f"{stream.kind:<9} never confirmed"
    former = ", of a former user" if stream.is_fresh is None else ""
    return (
        f"{stream.kind:<9} epoch {stream.epoch}, sequence {stream.sequence}, "
        f"confirmed {stream.seconds_since_confirmed:.0f} s ago{former}"
    )


def _plain(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")
