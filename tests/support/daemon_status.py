"""What a watcher sees of a daemon that is well, with changes."""

from ingestor.app.daemon_status import DaemonStatus


def daemon_status(**changed: object) -> DaemonStatus:
    """Of a daemon that is well."""
    given: dict[str, object] = {
        "link": "up",
        "connection_error": None,
        "key_refused": False,
        "next_attempt_in_seconds": None,
        "links_lost_last_hour": 0,
        "sequence": 25_609,
        "open_gaps": 0,
        "records": 1,
        "inbox_records": 0,
        "inbox_max_records": 10_000,
        "dropped": 0,
        "dropping": 0,
        "outcomes": {},
        "retrying": None,
        "seconds_retrying": 0.0,
        "seconds_since_commit": 0.1,
        "started": True,
        "standby": False,
        "ended_thread": None,
        "turns": dict.fromkeys(("writer", "request scheduler", "link supervisor", "database deadline"), 0.1),
        "connection_attempts": 1,
        "batches": 1,
        "seconds_uncommitted": 0.0,
        "seconds_since_stored": 0.1,
        "inbox_bytes": 0,
        "inbox_max_bytes": 1024,
        "snapshot_seconds": {"balances": 1.0, "pairs": 1.0},
        "snapshot_limits": {"balances": 120.0, "pairs": 600.0},
        "gaps": {},
        "oldest_gap_seconds": 0.0,
        "pending_confirmations": 0,
        "failed_requests": {"GetBalances": 0, "GetPairs": 0},
        "clock_offset_seconds": 0.001,
        "unaccounted": 0,
    }
    return DaemonStatus(**{**given, **changed})  # type: ignore[arg-type]
