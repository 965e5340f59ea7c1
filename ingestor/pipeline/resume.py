"""Resumes from the stored state if it is not that of our last commit.

Another process may have written the account, or the server may have lost commits that it had acknowledged: by
an asynchronous failover, a restored backup under a running daemon, or a crash with
`synchronous_commit = off`. In both cases the stored state is used, and what was lost of our sessions is
stored again: their rows, and a gap row instead of the lost records.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile

from msgspec.structs import replace

from ingestor.domain.errors import Fatal
from ingestor.domain.records import CommitsLost, Fact, SessionClosed, SessionEnd
from ingestor.domain.streams import StreamState
from ingestor.pipeline.state import OpenSession, State, Stream


class AccountTaken(Fatal):
    """Our session has been ended by another process: only a new process, with new sessions, can continue."""

    exit_code = 75

    def __init__(self) -> None:
        super().__init__(
            "another process has written this account in the meantime\n"
            "why: it has ended our session like that of a dead process, while we had no connection\n"
            "fix: start this process again, as systemd does; the time since then lies in a gap"
        )


def resumed(ours: State, stored: State) -> tuple[State, list[Fact]]:
    """The state to resume from, and the facts to apply before anything else.

    Args:
        ours: as of our last commit.
        stored: as loaded from the database now.

    Raises:
        AccountTaken: another process has ended one of our sessions, so it has held the account meanwhile.
    """
    ended = {each.closed.session for each in ours.ended}
    stored_as_ended = {each.closed.session for each in stored.ended}
    if not stored_as_ended.isdisjoint(ours.sessions):
        raise AccountTaken
    facts: list[Fact] = [
        _closed(session, session.last_received_at or session.opened.opened_at, "commits_lost")
        for session_id, session in stored.sessions.items()
        if session_id not in ours.sessions and session_id not in ended
    ]
    # Only the newest can be lost: if older ones are missing, old rows have been removed.
    lost = takewhile(lambda each: each.closed.session not in stored_as_ended, reversed(ours.ended))
    for each in reversed([*lost]):
        facts += [*_lost(each.session, stored), each.closed]
    for session in ours.sessions.values():
        facts += _lost(session, stored)
    streams = {
        key: _resumed(stream, ours.streams.get(key), ours.arrivals) for key, stream in stored.streams.items()
    }
    gaps = tuple(replace(gap, arrival=ours.arrivals) for gap in stored.gaps)
    state = replace(stored, streams=streams, gaps=gaps, requests=ours.requests, arrivals=ours.arrivals)
    return state, facts


def _resumed(stored: Stream, ours: Stream | None, arrivals: int) -> Stream:
    watermark = stored.state.watermark
    assert watermark is not None  # noqa: S101 - a stream is stored with its first version
    known = StreamState() if ours is None else ours.state
    # Where versions were lost, the next push may skip those, and the hub has skipped nothing.
    none_lost = known.watermark is not None and known.watermark.number == watermark.number
    # A request sent before now may have been answered from a state that we no longer have.
    state = replace(
        stored.state,
        watermark=replace(watermark, arrival=arrivals),
        last_session=known.last_session if none_lost else None,
    )
    return replace(stored, state=state)


def ends_of_left_sessions(state: State, now: datetime) -> list[SessionClosed]:
    """An end for each session that a dead process left open."""
    return [
        _closed(session, max(now, session.opened.opened_at), "process_died")
        for session in state.sessions.values()
    ]


def _lost(session: OpenSession, stored: State) -> Iterator[Fact]:
    """What must be stored again of a session, so that its last ordinal is again the one that it had."""
    opened = session.opened
    there = stored.sessions.get(opened.session)
    if there is None:
        yield opened
        there = OpenSession(opened)
    if there.committed_ordinal < session.committed_ordinal:
        since = there.last_received_at or opened.opened_at
        yield CommitsLost(
            opened.session,
            there.committed_ordinal + 1,
            session.committed_ordinal,
            session.committed_ordinal - there.committed_ordinal,
            since,
            max(since, session.last_received_at or since),
        )


def _closed(session: OpenSession, at: datetime, cause: str) -> SessionClosed:
    return SessionClosed(
        session=session.opened.session,
        closed_at=at,
        last_message_at=session.last_received_at or session.opened.opened_at,
        received=session.committed_ordinal,
        end=SessionEnd.UNCLEAN,
        cause=cause,
    )
