# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The status of all apps as text: one row per app, then what a reader asks next. Machines read the structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._progress import clock, fit, width

COLUMNS = 100
RIGHT = ("IN FLIGHT", "STREAMS", "ERRORS")
# Widest a column may get, in the order in which columns give way when the row is too long.
NARROWEST = (("DIGEST", 7), ("APP", 12), ("VERSION", 8), ("TRAFFIC %", 9), ("SINCE", 10))
NOTHING = "-"


def status_table(apps: Sequence[Mapping[str, Any]], columns: int = COLUMNS) -> str:
    """All apps as text of at most `columns` columns."""
    if not apps:
        return "No app is known. Deploy one first."
    blocks = [_table([_row(app) for app in apps], columns)]
    blocks += ["\n".join(_details(app, columns)) for app in apps]
    return "\n\n".join(blocks)


def _row(app: Mapping[str, Any]) -> dict[str, str]:
    return {
        "APP": str(app.get("app", "?")),
        "LIVE": str(app.get("live") or "none"),
        "VERSION": str(app.get("version") or NOTHING),
        "DIGEST": short_digest(app.get("digest")),
        "SINCE": moment(app.get("since")),
        "TRAFFIC %": traffic(app),
        "IN FLIGHT": _number(app.get("in_flight")),
        "STREAMS": _number(app.get("streams")),
        "ERRORS": rate(app.get("error_rate")),
    }


def _table(rows: Sequence[Mapping[str, str]], columns: int) -> str:
    names = list(rows[0])
    widths = {name: max(width(name), *(width(row[name]) for row in rows)) for name in names}
    for name, least in NARROWEST:
        excess = sum(widths.values()) + 2 * (len(names) - 1) - columns
        if excess > 0:
            widths[name] = max(min(least, widths[name]), widths[name] - excess)
    lines = []
    for row in [dict(zip(names, names)), *rows]:
        # A digest is as good when it is shorter; anything else says that it was cut.
        shown = {**row, "DIGEST": row["DIGEST"][: widths["DIGEST"]]}
        lines.append(fit_line([_cell(shown[name], widths[name], name in RIGHT) for name in names], columns))
    return "\n".join(lines)


def _cell(text: str, columns: int, right: bool) -> str:
    text = fit(text, columns)
    gap = " " * (columns - width(text))
    return gap + text if right else text + gap


def fit_line(cells: Sequence[str], columns: int) -> str:
    line = "  ".join(cells).rstrip()
    return line if width(line) <= columns else _cut(line, columns)


def _cut(line: str, columns: int) -> str:
    while width(line) > columns - 1:
        line = line[:-1]
    return line + "…"


# ---- values --------------------------------------------------------------------------------------------------------


def short_digest(digest: Any) -> str:
    return str(digest).rpartition(":")[2][:12] if digest else NOTHING


def moment(text: Any) -> str:
    """2026-11-23T05:22:59.123Z as 2026-11-23 05:22 (UTC)."""
    return str(text)[:16].replace("T", " ") if text else NOTHING


def rate(value: Any) -> str:
    return NOTHING if value is None else f"{float(value) * 100:.2f} %"


def _number(value: Any) -> str:
    return NOTHING if value is None else str(value)


def traffic(app: Mapping[str, Any]) -> str:
    """Who gets the requests; a mode other than open says more than weights."""
    weights = app.get("weights") or {}
    parts = [f"{slot} {weights[slot]}" for slot in sorted(weights, key=lambda slot: -weights[slot]) if weights[slot]]
    mode = app.get("mode")
    if mode and mode != "open":
        parts.insert(0, str(mode).replace("_", " "))
    return ", ".join(parts) or NOTHING


# ---- per app -------------------------------------------------------------------------------------------------------


def _details(app: Mapping[str, Any], columns: int) -> list[str]:
    sections = [
        ("hosts", _hosts(app.get("hosts") or {})),
        ("releases", _releases(app.get("last_releases") or [])),
        ("lock", _lock(app.get("lock"))),
        ("left", _interrupted(app.get("interrupted"))),
        ("problem", [str(problem) for problem in app.get("problems") or []]),
    ]
    lines = [str(app.get("app", "?"))]
    for label, content in sections:
        for index, text in enumerate(content):
            lines.append(fit_line([f"  {label if index == 0 else '':<8}", text], columns))
    return lines


def _hosts(hosts: Mapping[str, Any]) -> list[str]:
    rows = [
        [str(name), *(f"{slot} {slot_text((slots or {}).get(slot))}" for slot in ("blue", "green"))]
        for name, slots in sorted(hosts.items())
    ]
    return _aligned(rows)


def slot_text(slot: Any) -> str:
    if not slot:
        return "empty"
    if not isinstance(slot, Mapping):
        return str(slot)
    health = slot.get("health")
    parts = [str(slot.get("state") or "unknown"), str(slot.get("version") or ""), f"({health})" if health else ""]
    return " ".join(part for part in parts if part)


def _releases(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ledger entries, newest first; why one failed stands below it."""
    lines: list[str] = []
    for entry, line in zip(entries, _aligned([_release_cells(entry) for entry in entries])):
        where = f"at {entry['failing_step']}" if entry.get("failing_step") else ""
        why = " ".join(str(entry.get("reason") or "").split())
        lines.append(line)
        if where or why:
            lines.append("  " + ": ".join(part for part in (where, why) if part))
    return lines


def _release_cells(entry: Mapping[str, Any]) -> list[str]:
    release = entry.get("release") or {}
    seconds = entry.get("duration_seconds")
    return [
        moment(entry.get("time")),
        str(release.get("version") or short_digest(release.get("digest"))),
        str(entry.get("kind") or ""),
        str(entry.get("result") or ""),
        NOTHING if seconds is None else clock(float(seconds)),
        str(entry.get("owner") or ""),
    ]


def _lock(lock: Any) -> list[str]:
    if not lock:
        return ["free"]
    left = float(lock.get("remaining_seconds") or 0)
    ends = "ran out; the next run takes it over" if lock.get("expired") or left <= 0 else f"{left:.0f} s left"
    what = f"{lock.get('kind')}, step {lock.get('step')}, since {moment(lock.get('acquired'))}"
    return [f"{lock.get('owner')}: {what}, {ends}"]


def _interrupted(run: Any) -> list[str]:
    if not run:
        return []
    version = (run.get("release") or {}).get("version") or "an unknown release"
    return [
        f"{run.get('kind')} of {version} by {run.get('owner')} stopped at {run.get('step')} ({run.get('status')})",
        "the next deploy or rollback puts it right",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(width(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return ["  ".join(_cell(text, columns, False) for text, columns in zip(row, widths)).rstrip() for row in rows]
