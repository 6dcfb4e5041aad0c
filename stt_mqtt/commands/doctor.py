"""`stt-mqtt doctor`: checks everything that the service needs, and says what to do."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from stt_mqtt.commands.options import add_config, config_source
from stt_mqtt.commands.output import flush_output
from stt_mqtt.commands.screen import open_console
from stt_mqtt.doctor.diagnosis import diagnosed, report_as_json
from stt_mqtt.doctor.examination import is_hanging
from stt_mqtt.doctor.report import Finding, Status, exit_status, summary
from stt_mqtt.doctor.subject import Machine
from stt_mqtt.observe import logs

WORDS = {Status.OK: "ok", Status.WARN: "warning", Status.FAIL: "FAILURE"}
STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}
WORD_WIDTH, NAME_WIDTH = 8, 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Exit 0 if nothing failed, 78 if the configuration has to be changed, 75 otherwise."""
    # What a check has to say is in its finding.
    logging.getLogger(logs.ROOT).setLevel(logging.CRITICAL)
    machine = Machine()
    findings: list[Finding] = []
    found = diagnosed(config_source(options), machine)
    if options.json:
        findings += found
        print(json.dumps(report_as_json(findings, machine.epoch()), indent=2, ensure_ascii=False))
    else:
        findings += _told(found, open_console())
    code = exit_status(findings)
    if is_hanging():
        # A thread that hangs in the model would keep the interpreter from ending.
        flush_output()
        os._exit(code)
    return code


def _told(found: Iterable[Finding], console: Console) -> list[Finding]:
    """Print the findings as they come, and return them."""
    findings = []
    for finding in found:
        findings.append(finding)
        console.print(_line(finding), soft_wrap=True)
    console.print(summary(findings))
    return findings


def _line(finding: Finding) -> Text:
    word, name = WORDS[finding.status], finding.name
    what_to_do = f" → {finding.what_to_do}" if finding.what_to_do else ""
    return Text.assemble(
        (f"{word:<{WORD_WIDTH}}", STYLES[finding.status]),
        (f"{name:<{NAME_WIDTH}}", "bold"),
        finding.detail,
        what_to_do,
    )
