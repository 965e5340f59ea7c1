"""The documents agree with the code: what they name exists, and each invariant has a test that cites it."""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from ingestor.adapters.postgres.roles import ROLES
from ingestor.cli.main import program
from ingestor.config import Settings
from tests.support.daemon import ROOT
from tests.systemd import faults, installing, keys, operating, steps

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
    *sorted((ROOT / "ingestor").rglob("*.md")),
]
ARCHITECTURE = (ROOT / "ingestor" / "ARCHITECTURE.md").read_text()
EXTENSIONS = "py|md|sql|toml|txt|example"
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def files() -> set[str]:
    """Every file and directory of the checkout that a document may name."""
    found = set()
    for folder in ("ingestor", "migrations", "tests", "deploy"):
        found |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*")}
        found.add(folder)
    return found | {path.name for path in ROOT.iterdir()}


FILES = files()


def quoted(text: str) -> list[str]:
    """What stands in backticks, code blocks left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands(text: str) -> list[str]:
    """The command lines in code blocks and in backticks, without comments."""
    blocks = re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [
        part.strip() for line in (*lines, *quoted(text)) for part in line.partition("  #")[0].split(" && ")
    ]


# --- invariants ---


def cited() -> Iterator[tuple[str, str]]:
    """Each invariant that the docstring of a test or of its module cites."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        module = ast.parse(path.read_text())
        tests = [
            node
            for node in ast.walk(module)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test")
        ]
        for node in (module, *tests):
            for number in re.findall(r"\bI\d+\b", ast.get_docstring(node) or ""):
                yield number, f"{path.name}:{getattr(node, 'name', '')}"


def test_every_invariant_is_cited_by_a_test_and_no_other_is() -> None:
    listed = re.findall(r"(?m)^\| (I\d+) \|", ARCHITECTURE)
    assert listed == [f"I{number}" for number in range(1, 21)]
    assert {number for number, _ in cited()} == set(listed)


def test_no_comment_cites_an_unknown_invariant() -> None:
    known = set(re.findall(r"(?m)^\| (I\d+) \|", ARCHITECTURE))
    for folder in ("ingestor", "migrations", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".sql", ".md"}:
                assert set(re.findall(r"\(I(?:\d+)\)", path.read_text())) <= {
                    f"({each})" for each in known
                }, path


# --- words ---


def test_the_glossary_is_short_and_in_order() -> None:
    terms = re.findall(r"(?m)^\| (\w[^|]*) \|", (ROOT / "ingestor" / "GLOSSARY.md").read_text())
    assert terms.pop(0) == "term"
    assert len(terms) <= 26
    assert terms == sorted(terms)


# --- files, links, names ---


@each_document
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    """By its path in the checkout, or by the end of that path."""
    missing = [
        name
        for name in quoted(document.read_text())
        if re.fullmatch(
            rf"[\w.-]+(/[\w.-]+)*(/|\.({EXTENSIONS}))|(ingestor|tests|deploy|adapters|domain|pipeline)/[\w./-]+",
            name,
        )
        and not any(f"/{path}".endswith(f"/{name.rstrip('/')}") for path in FILES)
    ]
    assert missing == []


@each_document
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text())
    assert [each for each in links if ":" not in each and not (document.parent / each).exists()] == []


def test_every_function_that_the_architecture_names_exists() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "ingestor").rglob("*.py"))
    table = ARCHITECTURE.partition("## The path of one balance event")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[2] for line in table.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(rows) == 8
    for name in names:
        assert re.search(rf"def {name.rpartition('.')[2]}\(", source), name


# --- promises ---


def test_the_operators_guide_promises_what_the_invariants_say() -> None:
    """All of them, and with the limits that are the defaults."""
    text = (ROOT / "deploy" / "README.md").read_text().partition("## What is promised, and what is not")[2]
    text = text.partition("\n## ")[0]
    known = re.findall(r"(?m)^\| (I\d+) \|", ARCHITECTURE)
    assert set(re.findall(r"\bI\d+\b", text)) == set(known)
    inbox = Settings().inbox
    assert f"{inbox.max_records:,} records or {inbox.max_bytes // 2**20} MiB" in text


def test_every_role_that_a_guide_logs_in_as_is_one_of_ours() -> None:
    for guide in (ROOT / "deploy").rglob("*.md"):
        for role in re.findall(r"postgresql://([\w-]+)@", guide.read_text()):
            assert role in ROLES, guide


# --- commands ---


GUIDES = [ROOT / "README.md", *sorted((ROOT / "deploy").rglob("*.md"))]
RUN_BY = re.compile(r"<!-- (run by (?P<test>[\w/.]+)|not run: (?P<reason>.+)) -->")


def code_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Each block of commands, settings or SQL: the line above it, and its first line."""
    lines = text.splitlines()
    opened = False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            opened = not opened
            if opened and line[3:] in {"sh", "console", "sql", "toml", "ini"}:
                yield lines[number - 1], lines[number + 1]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_a_guide_says_which_test_runs_it_or_why_none_does(guide: Path) -> None:
    for above, first in code_blocks(guide.read_text()):
        said = RUN_BY.fullmatch(above)
        assert said, f"above {first!r}: write <!-- run by tests/… --> or <!-- not run: … -->"
        if said["test"]:
            test = ROOT / said["test"]
            assert test.is_file(), first
            assert re.search(r"README\.md|RUNBOOK\.md|tests\.systemd\.guide", test.read_text()), first


def taken(test: Path) -> set[tuple[str, str, int]]:
    """Section, language and number of each block that a test has from `tests.systemd.guide.block`."""
    found = set()
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block":
            section, number, *language = (ast.literal_eval(each) for each in node.args)
            found.add((section, language[0] if language else "sh", number))
    return found


def guide_blocks(text: str) -> Iterator[tuple[str, tuple[str, str, int], str]]:
    """The line above each block of the operator's guide, its section, language and number, and its text."""
    for section in text.split("\n## ")[1:]:
        numbers: Counter[str] = Counter()
        for above, language, body in re.findall(r"(?m)^(.*)\n```(\w*)\n((?:(?!```).*\n)*)```$", section):
            yield above, (section.partition("\n")[0], language, numbers[language]), body
            numbers[language] += 1


@pytest.mark.parametrize("module", [installing, keys, operating])
def test_what_the_guide_says_is_run_on_the_machine_is(module: ModuleType) -> None:
    """What only reads the journal is run wherever it stands, by a step of its own."""
    test = Path(module.__file__ or "")
    marked = {
        name
        for above, name, body in guide_blocks((ROOT / "deploy" / "README.md").read_text())
        if above == f"<!-- run by {test.relative_to(ROOT)} -->"
        and not all(line.startswith("journalctl ") for line in body.splitlines())
    }
    assert marked
    assert marked - taken(test) == set()


def test_no_step_on_the_machine_is_left_out() -> None:
    written = {
        each
        for module in (faults, installing, keys, operating)
        for each in vars(module).values()
        if inspect.isfunction(each)
        and list(inspect.signature(each).parameters)[1:2] in (["packages"], ["_packages"])
    }
    assert written == set(steps.STEPS)


@each_document
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = {
        found[1]
        for each in commands(document.read_text())
        if (found := re.match(r"(?:\w+=\S+ )*make ([a-z-]+)", each))
    }
    assert named <= targets


@each_document
def test_every_ingestor_command_in_a_document_can_be_parsed(document: Path) -> None:
    for line in commands(document.read_text()):
        words = re.split(" [>|] ", line)[0].split()
        if words and words[0].rpartition("/")[2] == "ingestor" and len(words) > 1:
            assert unknown(words[1:]) == [], line


def unknown(words: list[str]) -> list[str]:
    """The first word that is no command, or all options that the command does not have."""
    command: click.Command = program
    context = click.Context(program)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return words[:1]
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
