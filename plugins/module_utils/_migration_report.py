# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report of the migration gate for people: a few lines for a screen, and Markdown for a file."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    HAZARDS,
    HOLD,
    RUN_NOW,
    UNDETERMINED,
    Finding,
    Report,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rehearsal import table

_MEANING = {
    RUN_NOW: "no statement of the serving release changes its outcome, or waits longer than it may",
    HOLD: "it would break or stall the release that serves now",
    UNDETERMINED: "what is known does not decide it, so it does not pass by itself",
}


def lines(report: Report, name: str = "migration") -> list[str]:
    """What an operator has to see."""
    found = [f"{name}: {report.verdict.upper()}, {_MEANING[report.verdict]}"]
    found += [f"  {identity}: {verdict}" for identity, verdict in report.revisions.items()]
    if not report.revisions:
        found.append("  nothing is pending")
    found += [f"  {identity}: left for later, it is marked as contract" for identity in report.deferred]
    for number, one in enumerate((one for one in report.findings if one.verdict != RUN_NOW), 1):
        found += [
            "",
            f"{number}. {one.verdict.upper()} {one.object or one.revision}: {HAZARDS[one.hazard][1]} "
            f"(hazard {one.hazard}, {one.kind})",
        ]
        found += [f"   statement: {_short(one.statement)}"] if one.statement else []
        found += [f"   why: {one.evidence}", f"   instead: {one.remedy}"]
    found += [f"note: {note}" for note in report.notes]
    return found


def markdown(report: Report, name: str = "migration") -> str:
    """The whole report."""
    return "\n".join(_markdown(report, name)) + "\n"


def _markdown(report: Report, name: str) -> Iterator[str]:
    yield f"# {name}: {report.verdict}"
    yield ""
    yield f"{_MEANING[report.verdict].capitalize()}."
    yield ""
    if report.revisions or report.deferred:
        yield "| revision | verdict |"
        yield "|---|---|"
        for identity, verdict in report.revisions.items():
            yield f"| `{identity}` | {verdict} |"
        for identity in report.deferred:
            yield f"| `{identity}` | left for later (contract) |"
    else:
        yield "Nothing is pending."
    deciding = [one for one in report.findings if one.verdict != RUN_NOW]
    remarks = [one for one in report.findings if one.verdict == RUN_NOW]
    if deciding:
        yield ""
        yield "## What decided it"
        for one in deciding:
            yield from _finding(one)
    if remarks:
        yield ""
        yield "## Remarks of other tools"
        yield ""
        for one in remarks:
            yield f"- {one.source}, revision `{one.revision}`: {one.evidence}"
    if "rehearsal" in report.covered:
        yield from table(report.covered["rehearsal"])
    yield ""
    yield "## What is known and what is not"
    yield ""
    covered = report.covered
    yield f"- Catalogue of the live database: {'read' if covered.get('catalogue') else 'not known'}."
    statements = covered.get("statements")
    complete = "" if covered.get("complete") else ", watched too briefly to be all"
    yield f"- Statements of the serving release: {'not known' if statements is None else f'{statements}{complete}'}."
    for text in covered.get("not_understood", ()):
        yield f"- Not understood, or of an earlier release: `{_short(text)}`"
    for note in report.notes:
        yield f"- {note}"
    yield "- Statements that did not run while they were counted, and what values mean to the app, cannot be known."


def _finding(one: Finding) -> Iterator[str]:
    yield ""
    yield f"### {one.verdict}: {HAZARDS[one.hazard][1]}"
    yield ""
    yield f"- object: `{one.object or one.revision}`, revision `{one.revision}`"
    yield f"- hazard {one.hazard} ({one.kind}), found by {one.source}"
    yield f"- evidence: {one.evidence}"
    yield f"- instead: {one.remedy}"
    if one.statement:
        yield ""
        yield "```sql"
        yield one.statement
        yield "```"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:197]}..."
