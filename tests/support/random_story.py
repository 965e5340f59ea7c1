"""A random history of one account, as rows; a seed gives the same one again."""

from datetime import UTC, datetime, timedelta
from random import Random

from tests.support.rows import Query, account
from tests.support.story import OPENED, Versions, gap, open_session, pending

START = datetime(2025, 3, 3, 9, 0, 1, tzinfo=UTC)
ASSETS = ("BTC", "EUR", "ETH")
USER = "u"


def moment(at: datetime) -> str:
    """As the story writes its times."""
    return f"{at:%d %H:%M:%S.%f}"


def tell(sql: Query, seed: int, length: int = 40) -> datetime:
    """Write a history of so many versions; gives its end."""
    random = Random(seed)
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = heartbeat_at")
    version = Versions(sql, "main", USER)
    at, session, epoch, sequence, revision = START, 0, 1, 100, 0
    sessions = sorted(name for name, (whose, _) in OPENED.items() if whose == "main")
    confirmed = recorded = at
    open_session(sql, "main", sessions[0], START - timedelta(seconds=1))
    for number in range(length):
        previous, at = at, at + timedelta(microseconds=random.randrange(1, 600_000_000))
        confirmed = previous + random.choice((0, 0.3, 0.9, 1)) * (at - previous)
        origin, passed_over = "pushed", 0
        # Commits may be late; they are in order.
        recorded = max(recorded, at + timedelta(seconds=random.choice((0, 0, 0, 900))))
        match random.choice(
            ("push", "push", "push", "answer", "skip", "conflict", "reset", "session", "gap")
        ):
            case "answer":
                origin = "answered"
            case "skip":
                passed_over = random.randrange(1, 5)
            case "conflict" if number:
                revision += 1
                resolved = at + timedelta(seconds=90)
                stored = max(recorded, resolved) + timedelta(seconds=random.choice((0, 900)))
                pending(
                    sql,
                    "main",
                    "conflict",
                    USER,
                    number,
                    moment(at),
                    moment(resolved),
                    "confirmed",
                    recorded=(moment(recorded), moment(stored)),
                )
            case "reset":
                origin, epoch, sequence, revision = "answered", epoch + 1, 0, 0
            case "session" if session + 1 < len(sessions):
                session += 1
                opened = previous + random.random() * (at - previous)
                open_session(sql, "main", sessions[session], opened)
            case "gap":
                since = previous + random.random() * (at - previous)
                until = since + timedelta(seconds=random.randrange(1200))
                stored = until + timedelta(seconds=random.choice((0, 900)))
                times = moment(since), moment(until)
                gap(sql, "main", "A", number, "undecodable", "not_json", *times, recorded=moment(stored))
            case _:
                pass
        if not (revision and epoch == version.newest.get("epoch") and origin == "pushed" and not passed_over):
            revision = 0
        if revision == 0 or revision == version.newest.get("revision"):
            revision = 0
            sequence += passed_over + 1
        amounts = {
            asset: random.choice(((str(random.randrange(9)), "0"), ("1.5", "0.25"), None))
            for asset in ASSETS
            if random.random() < 0.4
        }
        version(
            moment(at),
            sessions[session],
            epoch,
            sequence,
            origin,
            before=moment(confirmed) if number else None,
            passed_over=passed_over,
            revision=revision,
            deleted=random.random() < 0.1,
            recorded=moment(recorded),
            **amounts,
        )
    end = at + timedelta(seconds=100)
    version.stand(moment(end - timedelta(seconds=60)))
    return end
