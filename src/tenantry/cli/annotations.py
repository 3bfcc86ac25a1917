"""Findings for CI: one line each, as annotations in GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tenantry.cli.terminal import Terminal
from tenantry.model.finding import Finding, Severity
from tenantry.model.verdict import Verdict, serious
from tenantry.reports.text import visible


def show_annotations(terminal: Terminal, verdict: Verdict, *, environment: Mapping[str, str] = os.environ) -> None:
    """Every error and warning, and the outcome. With GITHUB_ACTIONS in the environment each finding is a workflow
    command, which names the spec's file if one was given."""
    terminal.answer(
        run=verdict.run, outcome=verdict.outcome, next_step=verdict.next_step, families=verdict.families,
        findings=verdict.findings, distributions=verdict.distributions, tables=verdict.tables, rows=verdict.rows,
        seconds=round(verdict.seconds, 3),
    )  # fmt: skip
    github = environment.get("GITHUB_ACTIONS") == "true"
    for finding in serious(verdict.findings):
        terminal.write(terminal.masked(_annotation(finding) if github else _line(finding)) + "\n")
    terminal.write(visible(verdict.outcome) + ".\n")


def _line(finding: Finding) -> str:
    return f"{finding.severity}: {finding.name}: {_sentence(finding)}"


def _annotation(finding: Finding) -> str:
    """https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""
    level = "error" if finding.severity is Severity.ERROR else "warning"
    title = _escaped(f"tenantry {finding.name}").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_escaped(_sentence(finding))}"


def _sentence(finding: Finding) -> str:
    """The text in one line, whatever the names in it contain."""
    remedy = f" {finding.remedy}" if finding.remedy else ""
    message = finding.message if finding.message.endswith((".", "!", "?")) else f"{finding.message}."
    return visible(" ".join(f"{message}{remedy}".split()))


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
