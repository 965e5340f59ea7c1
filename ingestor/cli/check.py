"""`ingestor check`: tries everything that the daemon needs."""

from collections.abc import Sequence
from enum import IntEnum

import click

from ingestor.app.check.checks import MOST_SECONDS, check
from ingestor.app.check.findings import Finding, Verdict
from ingestor.cli.as_unit import as_the_unit, only_instance
from ingestor.cli.documents import CheckDocument
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, say, with_invocation
from ingestor.logs import redact


class Nagios(IntEnum):
    """The exit codes of the plugin convention."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@click.command("check")
@click.option("--config-only", is_flag=True, help="Check settings and key only; connect to nothing.")
@click.option(
    "--nagios", is_flag=True, help="Print one line, and exit with the codes 0 to 3 of a monitoring plugin."
)
@click.option(
    "--instance",
    metavar="NAME",
    help="As root: check the account of hercle-ingestor@NAME in the sandbox of its unit.",
)
@json_option()
@with_invocation
def check_command(invocation: Invocation, *, config_only: bool, nagios: bool, instance: str | None) -> int:
    """Try the whole path once, from settings to tables; each failed step says how to repair it.

    Takes 15 s at most. As root and without settings it checks the account of the machine's only unit.
    """
    if nagios and invocation.as_json:
        raise click.UsageError("--nagios prints one line, --json a document: choose one of them")
    try:
        of_unit = instance or only_instance(invocation)
        if of_unit is not None:
            flags = {"--config-only": config_only, "--nagios": nagios, "--json": invocation.as_json}
            given_flags = [name for name, given in flags.items() if given]
            return as_the_unit(of_unit, ["check", *given_flags], MOST_SECONDS)
        return _here(invocation, config_only=config_only, nagios=nagios)
    except Exception as error:
        if not nagios or isinstance(error, click.ClickException):
            raise
        click.echo(f"INGESTOR UNKNOWN - {_plain(redact(str(error)) or type(error).__name__)}")
        return Nagios.UNKNOWN


def _here(invocation: Invocation, *, config_only: bool, nagios: bool) -> int:
    findings: list[Finding] = []
    for finding in check(invocation.load_quietly, config_only=config_only):
        findings.append(finding)
        if not (invocation.as_json or nagios):
            _print_finding(finding)
    seconds, ok = sum(each.seconds for each in findings), all(each.ok for each in findings)
    if nagios:
        return _print_nagios(findings, seconds)
    if invocation.as_json:
        say(CheckDocument(ok, round(seconds, 4), findings))
    return Exit.OK if ok else max(finding.exit_code for finding in findings)


_SIGNS = {Verdict.OK: "ok  ", Verdict.NOTE: "note", Verdict.FAILED: "FAIL", Verdict.SKIPPED: "-   "}


def _print_finding(finding: Finding) -> None:
    click.echo(f"{_SIGNS[finding.verdict]} {finding.name:<14} {finding.what}  ({finding.seconds:.2f} s)")
    if finding.fix is not None:
        click.echo(f"     {'fix':<14} {finding.fix}")


def _print_nagios(findings: Sequence[Finding], seconds: float) -> Nagios:
    """Status, problems, and the duration of each step as performance data."""
    failed = [each for each in findings if each.verdict is Verdict.FAILED]
    notes = [each for each in findings if each.verdict is Verdict.NOTE]
    code = Nagios.CRITICAL if failed else Nagios.WARNING if notes else Nagios.OK
    said = "; ".join(f"{each.name}: {each.what}" for each in (*failed, *notes)) or f"{len(findings)} steps"
    times = " ".join(f"{each.name}={each.seconds:.3f}s" for each in findings)
    click.echo(f"INGESTOR {code.name} - {_plain(said)} | time={seconds:.3f}s;;;0;{MOST_SECONDS:.0f} {times}")
    return code


def _plain(text: str) -> str:
    """On one line, and without `|`, which begins performance data."""
    return " ".join(text.replace("|", "/").split())
