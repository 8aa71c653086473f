# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A rehearsal of the pending set: what it is asked for, and what its answer adds to the gate's report.

roles/pgbackrest has the program, `rehearsal.py`. It can only speak against a migration: what the gate does not know,
such as statements that were not counted, a copy of the data does not tell either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_alembic import Pending, inner
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    Finding,
    Report,
    Revision,
    Settings,
    in_order,
    worst,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import Unreadable, statements

_NO_DOWNGRADE = 55


class NotRehearsable(Exception):
    """What is pending cannot be run without the app's image; the message says why."""


def wanted(pending: Pending, settings: Settings, live: Sequence[str], serving: Sequence[str] | None) -> dict[str, Any]:
    """The part of the request that the gate knows. Raises NotRehearsable."""
    if not pending.revisions:
        raise NotRehearsable("nothing is pending")
    if settings.transaction is None:
        raise NotRehearsable("how the migration tool runs its transactions is not known")
    return {
        "transaction": settings.transaction,
        "live": list(live),
        "steps": [_step(one) for one in pending.revisions],
        "serving": list(dict.fromkeys(serving or ())),
        "plan_caching": settings.plan_caching is not False,
    }


def _step(revision: Revision) -> dict[str, Any]:
    if revision.blind:
        raise NotRehearsable(f"{revision.id}: {revision.blind}")
    try:
        up = [text for text, _node in statements(revision.sql)]
        down = [text for text, _node in statements(inner(revision.undo))] if revision.undo else None
    except Unreadable as error:
        raise NotRehearsable(f"{revision.id}: {error}") from error
    return {"id": revision.id, "up": up, "down": down}


def joined(report: Report, answer: Mapping[str, Any], settings: Settings) -> Report:
    """The report with what was seen."""
    found = [
        Finding(**one, source="rehearsal")
        for one in answer["findings"]
        if not (settings.accept_no_downgrade and one["hazard"] == _NO_DOWNGRADE)
    ]
    findings = in_order([*report.findings, *found])
    revisions = {
        name: worst([verdict, *(one.verdict for one in found if one.revision == name)])
        for name, verdict in report.revisions.items()
    }
    return dataclasses.replace(
        report,
        verdict=worst([report.verdict, *(one.verdict for one in found)]),
        revisions=revisions,
        findings=findings,
        notes=[*report.notes, f"Rehearsed: {summary(answer)}.", *answer["notes"]],
        covered={**report.covered, "rehearsal": {name: seen for name, seen in answer.items() if name != "findings"}},
    )


def summary(answer: Mapping[str, Any]) -> str:
    """In one line."""
    times = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in answer["seconds_of"].items())
    on = f"on {answer['backup']} ({size(answer['database_bytes'])}) with {answer['serving']} serving statements"
    return f"{on}; {times}, {size(answer['wal_bytes'])} of WAL, {answer['seconds']:.0f} s in all"


def table(answer: Mapping[str, Any]) -> Iterator[str]:
    """What was measured, as Markdown."""
    yield ""
    yield "## Rehearsal"
    yield ""
    yield f"Run {summary(answer)}. Times are those of the scratch server, WAL is without full pages."
    yield ""
    yield "| revision | statement | seconds | rows | WAL |"
    yield "|---|---|---|---|---|"
    for one in answer["statements"]:
        text = " ".join(one["statement"].split()).replace("|", "\\|")
        shown = f"`{text[:120]}` | {one['seconds']:.3f} | {one['rows']} | {size(one['wal_bytes'])}"
        yield f"| {one['revision']} | {shown} |"
    yield ""
    yield "| table | lock | held for | a serving statement that waits meanwhile |"
    yield "|---|---|---|---|"
    for one in answer["locks"]:
        waits = " ".join("".join(one["blocks"]).split()).replace("|", "\\|")[:120]
        yield f"| `{one['object']}` | {one['mode']} | {one['seconds']:.3f} s | {f'`{waits}`' if waits else 'none'} |"
    for what, names in (("Rewritten", answer["rewritten"]), ("Indexes built", answer["built"])):
        if names:
            yield ""
            yield f"{what}: {', '.join(f'`{name}`' for name in names)}."


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
