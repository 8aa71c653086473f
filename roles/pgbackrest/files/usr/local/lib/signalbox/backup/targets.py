# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From "give me the database as it was then" to what pgBackRest has to be told, or to why it cannot be. Pure.

Two things go wrong silently when they are left to defaults. Recovery follows the newest timeline, so a moment that only
an older one has lived through ends at the fork without an error. And the newest backup before a moment may lie on a
branch that recovery left, so that PostgreSQL cannot follow. Both are decided here.
Recovery targets: PostgreSQL manual, 19.5.6; options: pgBackRest command reference, restore.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from catalogue import Backup, Catalogue, Timeline, lsn
from problems import INPUT, NO_BACKUP, Problem

KINDS = ("latest", "immediate", "time", "xid", "name", "lsn")
_NAME = re.compile(r"[A-Za-z0-9_.:+-]{1,63}\Z")
# A release's restore point ends with the moment at which it was made.
_MADE = re.compile(r"\.(\d{8}T\d{6}Z)\Z")


@dataclass(frozen=True)
class Target:
    """What is asked for. Left out, timeline and backup are chosen.

    A transaction and a restore point do not tell when they were: `before` does, for the backup to end before it. The
    names of releases' restore points do tell.
    """

    kind: str = "latest"
    value: str = ""
    timeline: int = 0
    label: str = ""
    before: str = ""
    exclusive: bool = False


@dataclass(frozen=True)
class Plan:
    """What pgBackRest is told."""

    target: Target
    backup: Backup
    timeline: int

    @property
    def options(self) -> list[str]:
        told = [f"--set={self.backup.label}"]
        if self.target.kind == "immediate":
            # Before any fork: pgBackRest takes no timeline with it.
            return [*told, "--type=immediate", "--target-action=promote"]
        told.append(f"--target-timeline={self.timeline}")
        if self.target.kind == "latest":
            return [*told, "--type=default"]
        told += [f"--type={self.target.kind}", "--target-action=promote", f"--target={pgbackrest_value(self.target)}"]
        return [*told, "--target-exclusive"] if self.target.exclusive else told


def target(asked: Mapping[str, Any]) -> Target:
    """A request as a target; every mistake of it has its remedy."""
    made = Target(
        str(asked.get("kind") or "latest"),
        str(asked.get("value") or ""),
        int(asked.get("timeline") or 0),
        str(asked.get("label") or ""),
        str(asked.get("before") or _made(str(asked.get("kind")), str(asked.get("value")))),
        bool(asked.get("exclusive")),
    )
    if made.kind not in KINDS:
        raise Problem(INPUT, f"restore to {made.kind!r} is not known", f"choose one of {', '.join(KINDS)}")
    needs_value = made.kind not in ("latest", "immediate")
    if needs_value != bool(made.value):
        what = "needs a value" if needs_value else f"takes no value, and got {made.value!r}"
        raise Problem(INPUT, f"restore to {made.kind} {what}", "give a value exactly for time, xid, name and lsn")
    if made.exclusive and made.kind not in ("time", "xid", "lsn"):
        raise Problem(INPUT, f"restore to {made.kind} cannot be exclusive", "that goes with time, xid and lsn")
    if made.before:
        moment(made.before)
    if made.kind == "time":
        moment(made.value)
    elif made.kind == "xid" and not made.value.isdigit():
        raise Problem(INPUT, f"transaction {made.value!r} is no number", "give the id as pg_current_xact_id() shows it")
    elif made.kind == "name" and not _NAME.match(made.value):
        raise Problem(INPUT, f"restore point {made.value!r} is no name", "give the name that the release's entry shows")
    elif made.kind == "lsn" and not re.match(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}\Z", made.value):
        raise Problem(
            INPUT, f"position {made.value!r} is none", "write it as pg_current_wal_lsn() does, such as 0/3000028"
        )
    return made


def restore_point(what: str, now: float) -> str:
    """A name for a restore point, which tells when it is made: at most 63 characters, as PostgreSQL keeps them."""
    at = datetime.fromtimestamp(now, timezone.utc).strftime(".%Y%m%dT%H%M%SZ")
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", what)[: 63 - len(at)] + at


def _made(kind: str, value: str) -> str:
    """When a restore point was made, out of its name; empty where it does not tell."""
    found = _MADE.search(value) if kind == "name" else None
    if found is None:
        return ""
    made = datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return shown(made.timestamp())


def moment(text: str) -> float:
    """An ISO 8601 moment as seconds since the epoch. Without a zone it would mean another one on each host."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise Problem(INPUT, f"{text!r} is no moment", "write it as 2026-11-23T14:05:00+00:00") from None
    if found.tzinfo is None:
        raise Problem(INPUT, f"{text!r} has no time zone", f"write it as {text.strip()}+00:00 for UTC")
    return found.timestamp()


def shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def pgbackrest_value(wanted: Target) -> str:
    """pgBackRest wants a blank between date and time."""
    if wanted.kind != "time":
        return wanted.value
    at = datetime.fromtimestamp(moment(wanted.value), timezone.utc)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f+00")


def plan(catalogue: Catalogue, wanted: Target, now: float) -> Plan:
    """Timeline and backup for a target."""
    if not catalogue.backups:
        raise Problem(NO_BACKUP, f"the repository holds no backup ({catalogue.message})", "take one first")
    line = _timeline(catalogue, wanted, now)
    usable = [backup for backup in catalogue.backups if line.reaches(backup) and _before(backup, wanted)]
    if wanted.label:
        usable = [backup for backup in usable if backup.label == wanted.label]
    chosen = max(usable, key=lambda backup: backup.stopped, default=None)
    if chosen is None:
        raise Problem(NO_BACKUP, _nothing_usable(catalogue, wanted, line), _remedy(catalogue, wanted))
    return Plan(wanted, chosen, line.number)


def check_archived(wanted: Target, archived: float, now: float) -> None:
    """Recovery finds a moment's end only in a commit after it, so one that the archive lacks is refused at once."""
    if wanted.kind != "time" or moment(wanted.value) <= archived:
        return
    newest = (
        f"the newest WAL arrived at {shown(archived)}, {now - archived:.0f} s ago" if archived else "no WAL arrived"
    )
    what = f"{wanted.value} cannot be reached: {newest}"
    raise Problem(NO_BACKUP, what, "choose an earlier moment, or restore to latest, which is the end of that WAL")


def _before(backup: Backup, wanted: Target) -> bool:
    end = wanted.value if wanted.kind == "time" else wanted.before
    if end and backup.stopped >= moment(end):
        return False
    if wanted.kind == "lsn":
        return backup.stop_lsn <= lsn(wanted.value)
    return True


def _timeline(catalogue: Catalogue, wanted: Target, now: float) -> Timeline:
    """The one asked for, or the one that was live at the moment, or now.

    The newest is not always the one that lives: a cluster that a restore had replaced can be brought back. What tells
    is the last event before the moment, the beginning of a timeline or the end of a backup of one.
    """
    lines = sorted(catalogue.timelines, key=lambda line: line.number) or [Timeline(catalogue.backups[-1].timeline)]
    if wanted.timeline:
        known = [line for line in lines if line.number == wanted.timeline]
        if not known:
            there = ", ".join(str(line.number) for line in lines)
            raise Problem(INPUT, f"timeline {wanted.timeline} is not in the repository", f"choose one of {there}")
        return known[0]
    told = wanted.value if wanted.kind == "time" else _made(wanted.kind, wanted.value)
    at = moment(told) if told else now
    if at > now:
        raise Problem(
            INPUT, f"{shown(at)} is in the future, it is {shown(now)}", "restore to latest, or to a moment before"
        )
    events = [(line.began, line.number) for line in lines]
    events += [(backup.stopped, backup.timeline) for backup in catalogue.backups]
    live = max((event for event in events if event[0] <= at), default=(0.0, lines[0].number))[1]
    return next((line for line in lines if line.number == live), Timeline(live))


def _nothing_usable(catalogue: Catalogue, wanted: Target, line: Timeline) -> str:
    if wanted.label and all(backup.label != wanted.label for backup in catalogue.backups):
        return f"there is no backup {wanted.label}"
    which = f"backup {wanted.label}" if wanted.label else "no backup"
    verb = "does not end" if wanted.label else "ends"
    what = {"time": "moment", "lsn": "position"}.get(wanted.kind, "end of the WAL")
    named = f" {wanted.value}" if wanted.value and wanted.kind in ("time", "lsn") else ""
    return f"{which} {verb} before the {what}{named} on the way to timeline {line.number}"


def _remedy(catalogue: Catalogue, wanted: Target) -> str:
    first = min(catalogue.backups, key=lambda backup: backup.stopped)
    return (
        f"the oldest backup, {first.label}, ends at {shown(first.stopped)}: choose a later target, or another timeline"
    )
