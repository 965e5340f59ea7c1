"""`ingestor gaps` and `ingestor dead-letters`: what they tell and mask, and their schemas."""

import hashlib
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.support.daemon import ACCOUNT, command, command_on_terminal, environment
from tests.support.documents import document_of
from tests.support.rows import NOW, Query, ago, gap, insert

pytestmark = pytest.mark.slow

KEY = "sk-canary-0123456789abcdef"
RECORD = b'{"userId":"user-of-ours","apiKey":"' + KEY.encode() + b'","sequence":12a\xff}'


def printed(database: str, *words: str) -> str:
    done = command(*words, env=environment("http://127.0.0.1:1/hub", database, KEY))
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(database: str, *words: str) -> Any:
    """What is printed, after it has been found to be what the schema's type says, without more or less."""
    return document_of(" ".join(words[:2]), printed(database, *words, "--json"))


@pytest.fixture
def letter(sql: Query) -> str:
    """A dead letter; gives the id of its session."""
    session = str(uuid4())
    where: dict[str, object] = {"account": ACCOUNT, "session_id": session, "ordinal": 7, "received_at": NOW}
    insert(sql, "account", account=ACCOUNT, environment="custom", created_at=NOW)
    insert(sql, "raw_event", **where, size=len(RECORD), raw=RECORD)
    insert(
        sql,
        "dead_letter",
        **where,
        position=0,
        stage="decode",
        reason="bad_number",
        detail=f"sequence: apiKey={KEY}",
        software_version="1",
        occurrences=3,
        last_received_at=NOW,
    )
    return session


def test_gaps_are_listed_newest_first_and_shown_by_their_id(sql: Query, database: str) -> None:
    gap(sql, "{balances,pairs}", balances="9 seconds", name=ACCOUNT)
    gap(sql, "{pairs}", pairs="9 seconds", ended=True, name=ACCOUNT, kind="dropped")
    gap(sql, "{pairs}", name="another")
    sql("UPDATE ingest.gap SET missed_from = missed_from - interval '1 hour' WHERE kind = 'dropped'")

    found = document(database, "gaps", "list")["gaps"]
    assert [(each["kind"], each["unconfirmed"]) for each in found] == [
        ("disconnected", ["pairs"]),
        ("dropped", []),
    ]
    (still_open,) = document(database, "gaps", "list", "--open")["gaps"]
    assert still_open["id"] == found[0]["id"]
    assert len(document(database, "gaps", "list", "--limit", "1")["gaps"]) == 1

    shown = document(database, "gaps", "show", found[1]["id"])["gap"]
    assert (shown["id"], shown["cause"]) == (found[1]["id"], "reset")
    assert "not confirmed: pairs" in printed(database, "gaps", "show", found[0]["id"])
    lines = printed(database, "gaps", "list").splitlines()
    assert [line.split()[0] for line in lines] == [each["id"] for each in found]
    assert all(len(line) <= 80 for line in lines)


def test_the_records_of_dead_letters_are_shown_without_users_and_credentials(
    letter: str, database: str
) -> None:
    (listed,) = document(database, "dead-letters", "list")["dead_letters"]
    assert (listed["session_id"], listed["occurrences"]) == (letter, 3)
    shown = document(database, "dead-letters", "show", listed["id"])

    record = shown["record"]
    assert record["size"] == len(RECORD)
    assert record["sha256"] == hashlib.sha256(RECORD).hexdigest()
    assert '"sequence":12a' in record["text"]
    exported = printed(database, "dead-letters", "export")
    assert json.loads(exported) == shown
    for text in (
        exported,
        json.dumps(shown),
        json.dumps(listed),
        printed(database, "dead-letters", "list"),
        printed(database, "dead-letters", "show", listed["id"]),
    ):
        assert KEY not in text
        assert "user-of-ours" not in text


def test_a_dead_letter_outlives_its_record(letter: str, sql: Query, database: str) -> None:
    sql("DELETE FROM ingest.raw_event WHERE session_id = %s", letter)
    (shown,) = map(json.loads, printed(database, "dead-letters", "export").splitlines())

    assert shown["record"] is None
    assert "not stored any more" in printed(database, "dead-letters", "show", shown["dead_letter"]["id"])


def kept(sql: Query) -> list[tuple[Any, ...]]:
    return sql("SELECT d.*, r.raw FROM ingest.dead_letter AS d JOIN ingest.raw_event AS r USING (session_id)")


def test_a_discard_notes_who_when_and_why_and_changes_nothing_else(
    letter: str, sql: Query, database: str
) -> None:
    before = kept(sql)
    (listed,) = document(database, "dead-letters", "list", "--open")["dead_letters"]
    chosen = (
        "dead-letters",
        "discard",
        listed["id"],
        "--reason",
        "the hub is well again",
        "--by",
        "alice",
    )

    planned = document(database, *chosen, "--dry-run")
    assert (planned["dry_run"], planned["dead_letters"]) == (True, [listed])
    assert document(database, "dead-letters", "list", "--open")["dead_letters"] == [listed]
    assert "would be discarded" in printed(database, *chosen, "--dry-run")

    done = document(database, *chosen)
    assert done == planned | {"dry_run": False}
    assert document(database, "dead-letters", "list", "--open")["dead_letters"] == []
    shown = document(database, "dead-letters", "show", listed["id"])["dead_letter"]
    assert (shown["discarded_by"], shown["discard_reason"]) == ("alice", "the hub is well again")
    assert shown == listed | {name: shown[name] for name in shown if name.startswith("discard")}
    assert sql(
        "SELECT discarded_at > now() - interval '1 minute', discard_reason FROM report.dead_letter"
    ) == [(True, "the hub is well again")]
    assert kept(sql) == before
    lines = printed(database, "dead-letters", "list").splitlines()
    assert all(line.endswith(", discarded") and len(line) <= 80 for line in lines)
    assert "alice" in printed(database, "dead-letters", "show", listed["id"])
    assert printed(database, "dead-letters", "list", "--open").startswith("no open dead letters")
    assert printed(database, *chosen) == "nothing: all of these are discarded already\n"


def test_a_cause_that_comes_up_again_needs_a_look_again(letter: str, sql: Query, database: str) -> None:
    everything = ("dead-letters", "discard", "--all", "--reason", f"apiKey={KEY}")
    for occurrences in (3, 4):
        sql("UPDATE ingest.dead_letter SET occurrences = %s", occurrences)
        (discarded,) = document(database, *everything)["dead_letters"]
        assert discarded["occurrences"] == occurrences
        assert document(database, *everything)["dead_letters"] == []
    assert sql("SELECT count(*), bool_or(reason LIKE %s) FROM ingest.discard", f"%{KEY}%") == [(2, False)]
    assert "1 quarantined, 1 discarded\n" in status(database)
    sql("UPDATE ingest.dead_letter SET occurrences = 5")
    assert "1 quarantined, the newest: " in status(database)


def status(database: str) -> str:
    return command("status", env=environment("http://127.0.0.1:1/hub", database, KEY)).stdout


def test_on_a_terminal_a_discard_asks_first(letter: str, sql: Query, database: str) -> None:
    env = environment("http://127.0.0.1:1/hub", database, KEY)
    for answer, code, rows in (("n", 130, 0), ("y", 0, 1)):
        asked = command_on_terminal(
            "dead-letters", "discard", "--all", "--reason", "seen", typed=answer, env=env
        )
        assert "decode: bad_number" in asked.stderr
        assert "Discard 1 as " in asked.stderr
        assert asked.returncode == code, asked.stderr
        assert sql("SELECT count(*) FROM ingest.discard") == [(rows,)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reason", "x"), "or --all"),
        (("--all", "0123", "--reason", "x"), "or --all"),
        (("--all",), "--reason"),
        (("--all", "--reason", " "), "on one line"),
        (("--all", "--reason", "a\nb"), "on one line"),
        (("--all", "--reason", "x", "--by", "a" * 501), "1 to 500 characters"),
    ],
)
def test_a_discard_without_ids_reason_or_name_is_refused(words: tuple[str, ...], said: str) -> None:
    env = environment("http://127.0.0.1:1/hub", "postgresql://nobody@127.0.0.1:1/nothing", KEY)
    done = command("dead-letters", "discard", *words, env=env)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    "words", [("gaps", "show"), ("dead-letters", "show"), ("dead-letters", "discard", "--reason", "x")]
)
def test_an_unknown_id_is_said(words: tuple[str, ...], database: str) -> None:
    done = command(*words, "0123", env=environment("http://127.0.0.1:1/hub", database, KEY))

    assert done.returncode == 78
    assert f"fix: see `ingestor {words[0]} list`" in done.stderr


def test_of_several_letters_the_detail_is_the_lasts_and_the_record_the_firsts(
    letter: str, database: str
) -> None:
    (listed,) = document(database, "dead-letters", "list")["dead_letters"]

    told = printed(database, "dead-letters", "show", listed["id"])

    assert listed["occurrences"] > 1
    assert "detail     of the last: " in told
    assert "record     of the first: " in told


def test_an_account_without_any_says_so(sql: Query, database: str) -> None:
    insert(sql, "account", account=ACCOUNT, environment="custom", created_at=ago("1 day"))

    assert printed(database, "gaps", "list") == f"no gaps of the account {ACCOUNT}\n"
    assert printed(database, "gaps", "list", "--open") == f"no open gaps of the account {ACCOUNT}\n"
    assert printed(database, "dead-letters", "list") == f"no dead letters of the account {ACCOUNT}\n"


@pytest.mark.parametrize(
    "words",
    ["gaps list", "dead-letters list", "dead-letters export", "dead-letters discard --all --reason x"],
)
def test_a_mistyped_account_is_not_one_without_rows(words: str, sql: Query, database: str) -> None:
    env = environment("http://127.0.0.1:1/hub", database, KEY)
    insert(sql, "account", account="main", environment="custom", created_at=NOW)

    done = command(*words.split(), "--set", "account=nobody", env=env)
    assert done.returncode == 78
    assert "there is no account nobody in this database\n  why: no daemon has run for it" in done.stderr
    assert "the database has main" in done.stderr
    assert command(*words.split(), "--set", "account=main", env=env).returncode == 0
