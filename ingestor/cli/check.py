"""`ingestor check`: is everything there that the daemon needs?"""

import json
from dataclasses import asdict

import click

from ingestor.app.checks import Finding, check
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.command("check")
@click.option("--config-only", is_flag=True, help="Settings and key only; connect to nothing.")
@json_option()
@settings_options
@click.pass_obj
def check_command(invocation: Invocation, *, config_only: bool, as_json: bool) -> int:
    """Try configuration, key, hub, database and schema once; each failing line says how to mend it."""
    findings: list[Finding] = []
    for finding in check(invocation.load_to_look, config_only=config_only):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    ok = all(finding.ok for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "findings": [asdict(each) for each in findings]}, indent=2))
    return Exit.OK if ok else max(finding.exit_code for finding in findings)


def _tell(finding: Finding) -> None:
    verdict = "FAIL" if not finding.ok else "ok  " if finding.fix is None else "note"
    click.echo(f"{verdict} {finding.name:<14} {finding.what}  ({finding.seconds:.2f} s)")
    if finding.fix is not None:
        click.echo(f"     {'fix':<14} {finding.fix}")
