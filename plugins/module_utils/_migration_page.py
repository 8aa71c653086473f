# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A report of the migration gate as one HTML page that needs nothing else: findings, and the locks of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import HAZARDS, RUN_NOW, Report
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rehearsal import size, summary

# A bar that is held for nothing must still be seen.
LEFT, WIDTH, ROW, LEAST = 330, 620, 22, 2
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1 b{padding:.1em .4em;border-radius:.3em;color:#fff}.run-now{background:#1a7f37}.hold{background:#b42318}
.undetermined{background:#9a6700}section{border-left:4px solid #d0d7de;padding:.1rem 1rem;margin:1rem 0}
section.f-hold{border-color:#b42318}section.f-undetermined{border-color:#9a6700}
code,pre{font:13px/1.45 ui-monospace,monospace;background:#f6f8fa;border-radius:.3em}code{padding:.1em .3em}
pre{padding:.6em;overflow-x:auto;white-space:pre-wrap}dt{font-weight:600}dd{margin:0 0 .4rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .6em;border-bottom:1px solid #d0d7de}
svg text{font:12px system-ui,sans-serif;fill:#1b1f24}
"""


def page(report: Report, name: str = "migration") -> str:
    """The whole page."""
    return "\n".join(_page(report, name)) + "\n"


def _page(report: Report, name: str) -> Iterator[str]:
    title = f"{escape(name)}: {report.verdict}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style></head><body>"
    yield f'<h1>{escape(name)}: <b class="{report.verdict}">{report.verdict}</b></h1>'
    if report.revisions or report.deferred:
        yield "<table><tr><th>revision</th><th>verdict</th></tr>"
        for identity, verdict in report.revisions.items():
            yield f"<tr><td><code>{escape(identity)}</code></td><td>{verdict}</td></tr>"
        for identity in report.deferred:
            yield f"<tr><td><code>{escape(identity)}</code></td><td>left for later (contract)</td></tr>"
        yield "</table>"
    else:
        yield "<p>Nothing is pending.</p>"
    deciding = [one for one in report.findings if one.verdict != RUN_NOW]
    if deciding:
        yield "<h2>What decided it</h2>"
    for one in deciding:
        yield f'<section class="f-{one.verdict}"><h3>{one.verdict}: {escape(HAZARDS[one.hazard][1])}</h3><dl>'
        yield f"<dt>object</dt><dd><code>{escape(one.object or one.revision)}</code>"
        yield f" (hazard {one.hazard}, {one.kind}, found by {escape(one.source)})</dd>"
        yield f"<dt>evidence</dt><dd>{escape(one.evidence)}</dd><dt>instead</dt><dd>{escape(one.remedy)}</dd></dl>"
        yield f"<pre>{escape(one.statement)}</pre></section>" if one.statement else "</section>"
    if "rehearsal" in report.covered:
        yield from _rehearsal(report.covered["rehearsal"])
    if report.notes:
        yield "<h2>Notes</h2><ul>"
        yield from (f"<li>{escape(note)}</li>" for note in report.notes)
        yield "</ul>"
    yield "</body></html>"


def _rehearsal(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>Rehearsal</h2><p>Run {escape(summary(answer))}.</p>"
    yield from timeline(answer)
    yield "<table><tr><th>statement</th><th>seconds</th><th>rows</th><th>WAL</th></tr>"
    for one in answer["statements"]:
        yield f"<tr><td><code>{escape(one['statement'])}</code></td><td>{one['seconds']:.3f}</td><td>{one['rows']}</td>"
        yield f"<td>{size(one['wal_bytes'])}</td></tr>"
    yield "</table>"


def timeline(answer: Mapping[str, Any]) -> Iterator[str]:
    """Statements and locks as bars along one axis; red is a lock that a serving statement waits for."""
    statements = [(" ".join(one["statement"].split()), "#57606a", one) for one in answer["statements"]]
    locks = [
        (f"{one['object']} {one['mode']}", "#b42318" if one["blocks"] else "#1a7f37", one) for one in answer["locks"]
    ]
    bars = [*statements, *locks]
    whole = max((one["at"] + one["seconds"] for _label, _colour, one in bars), default=0.0) or 1.0
    height = ROW * (len(bars) + 2)
    yield f'<svg viewBox="0 0 {LEFT + WIDTH + 40} {height}" role="img" aria-label="Statements and locks over time">'
    for number, (label, colour, one) in enumerate(bars):
        left, width = LEFT + WIDTH * one["at"] / whole, max(LEAST, WIDTH * one["seconds"] / whole)
        top = ROW * number + (ROW // 2 if number >= len(statements) else 0)
        yield f"<g><title>{escape(label)}: {one['seconds']:.3f} s from {one['at']:.3f} s</title>"
        yield f'<text x="0" y="{top + 15}">{escape(label if len(label) <= 48 else label[:47] + "…")}</text>'
        yield f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="14" fill="{colour}"/></g>'
    yield f'<text x="{LEFT}" y="{height - 4}">0 s</text>'
    yield f'<text x="{LEFT + WIDTH}" y="{height - 4}" text-anchor="end">{whole:.2f} s</text></svg>'
    yield "<p>Grey are statements, red locks that a serving statement waits for, green the others.</p>"
