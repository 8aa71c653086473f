# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the backup's own status says to people: a few lines, and what is wrong first of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

HOUR, DAY = 3600.0, 86400.0
# The heartbeat gives every segment something to hold, so one arrives in each archive timeout.
ARCHIVE_LATE = 6
# By default a backup every six hours, verification every week, a drill every month; with room for a day off.
LATE_SECONDS = {"backup": 26 * HOUR, "copy": 26 * HOUR, "verify": 8 * DAY, "drill": 33 * DAY}
_WORDS = {
    "run": "backup",
    "backup": "backup",
    "copy": "copy of the repository",
    "verify": "verification",
    "drill": "drill",
}


def problems(status: Mapping[str, Any], now: float) -> list[str]:
    """What needs somebody's attention; empty when all is well."""
    found = []
    if status["code"] != 0:
        found.append(f"the repository says: {status['message']}")
    moments = {
        "backup": _number(status, "backup", "stopped_timestamp_seconds"),
        "verify": _number(status, "verify", "timestamp_seconds"),
        "drill": _number(status, "drill", "at"),
        **({"copy": _number(status, "copy", "timestamp_seconds")} if status.get("copies") else {}),
    }
    first = _number(status, "prepared_timestamp_seconds") or now
    archived, limit = _number(status, "archive_timestamp_seconds"), ARCHIVE_LATE * status["archive_timeout_seconds"]
    if archived and now - archived > limit:
        found.append(
            f"no WAL has arrived for {_ago(now - archived)}: what is committed since would be lost with its host"
        )
    for name, moment in moments.items():
        # What has never been is late once the platform is as old.
        if now - (moment or first) > LATE_SECONDS[name]:
            found.append(f"the last {_WORDS[name]} {_ago(now - moment) + ' ago' if moment else 'never was'}")
    if any(entry["page_errors"] for entry in status["backups"]):
        found.append("a backup holds pages with wrong checksums: the database's disk may be failing")
    if status.get("leftover"):
        found.append("a killed drill or copy left what it had restored; the next backup or drill removes it")
    for name in ("run", "verify", "drill", "copy"):
        said = status.get(name)
        if said and not said.get("success"):
            found.append(f"the last {_WORDS[name]} failed: {'; '.join(said.get('findings') or ['without a word'])}")
    return found


def unprotected(status: Mapping[str, Any], now: float) -> list[str]:
    """Why what is committed now could not be brought back to now; empty when it could."""
    newest = max((backup["stopped_seconds"] for backup in status["backups"]), default=0.0)
    archived, limit = _number(status, "archive_timestamp_seconds"), ARCHIVE_LATE * status["archive_timeout_seconds"]
    found = [] if status["code"] == 0 else [f"the repository says: {status['message']}"]
    if not newest or now - newest > LATE_SECONDS["backup"]:
        found.append(f"the newest backup is {_ago(now - newest)} old" if newest else "there is no backup")
    if not archived or now - archived > limit:
        found.append(f"no WAL has arrived for {_ago(now - archived)}" if archived else "no WAL has arrived yet")
    return found


def lines(status: Mapping[str, Any], now: float) -> list[str]:
    """For people."""
    backups: Sequence[Mapping[str, Any]] = status["backups"]
    told = [f"PROBLEM  {problem}" for problem in problems(status, now)]
    if backups:
        first, last = backups[0], backups[-1]
        told.append(
            f"backups  {len(backups)} kept; newest {last['kind']} {_ago(now - last['stopped_seconds'])} ago; "
            f"every moment since {first['stopped']} can be restored"
        )
        told.append(f"archive  newest WAL {_ago(now - _number(status, 'archive_timestamp_seconds'))} ago")
    if status["verify"].get("success"):
        told.append(f"verified {_ago(now - _number(status, 'verify', 'timestamp_seconds'))} ago, sound")
    if (status.get("copy") or {}).get("success"):
        newest = now - _number(status, "copy", "timestamp_seconds")
        told.append(f"copies   {status['copy']['count']:.0f} of the repository kept; newest {_ago(newest)} ago")
    drill = status["drill"]
    if drill.get("success"):
        told.append(
            f"drill    {_ago(now - drill['at'])} ago: back in {drill['rto_seconds']:.1f} s, to within "
            f"{drill['rpo_seconds']:.1f} s of {drill['target']}"
        )
    return told


def backup_line(backup: Mapping[str, Any]) -> str:
    """One backup, for people."""
    size, kept = backup["database_bytes"] / 1048576, backup["repository_bytes"] / 1048576
    sizes = f"{size:,.1f} MiB, {kept:,.1f} MiB in the repository"
    return f"{backup['stopped']}  {backup['kind']:4}  {sizes}  {backup['label']}"


def drill_lines(drill: Mapping[str, Any]) -> list[str]:
    """A drill that found nothing wrong, for people."""
    return [
        f"{drill['backup']} restored to {drill['target']} on timeline {drill['timeline']}, "
        f"{drill['database_bytes'] / 1048576:,.1f} MiB, {len(drill['databases'])} databases sound",
        f"restored in {drill['restore_seconds']:.1f} s, recovered in {drill['recovery_seconds']:.1f} s, "
        f"looked through in {drill['check_seconds']:.1f} s",
        f"back in {drill['rto_seconds']:.1f} s, to within {drill['rpo_seconds']:.1f} s of the moment by the heartbeat",
    ]


def restore_lines(restored: Mapping[str, Any]) -> list[str]:
    """A restore in place, for people."""
    lost = f", to within {restored['rpo_seconds']:.1f} s by the heartbeat" if restored["rpo_seconds"] >= 0 else ""
    if lost and restored["target"] == "latest":
        # The server may have been away for as long as it took to get here.
        last = datetime.fromtimestamp(restored["heartbeat"], timezone.utc)
        lost = f"; the last heartbeat that came back is of {last:%Y-%m-%d %H:%M:%S} UTC"
    return [
        f"{restored['backup']} restored to {restored['target']} on timeline {restored['timeline']}{lost}",
        f"restored in {restored['restore_seconds']:.1f} s, recovered in {restored['recovery_seconds']:.1f} s",
        *restored["notes"],
        f"the old cluster is kept in {restored['kept']}; playbooks/restore.yml -e forget=true removes it",
    ]


def copy_lines(copy: Mapping[str, Any]) -> list[str]:
    """A copy of the repository, taken or brought back, for people."""
    if "kept" in copy:
        return [f"the repository is as it was at {copy['copy']}", f"what it was until now is kept in {copy['kept']}"]
    sizes = f"{copy['repository_bytes'] / 1048576:,.1f} MiB, {copy['added_bytes'] / 1048576:,.1f} MiB of it new"
    return [f"copied the repository in {copy['seconds']:.1f} s: {sizes}; {copy['count']} copies are kept"]


def masked_lines(copy: Mapping[str, Any]) -> list[str]:
    """A masked copy, for people: what became of each column."""
    told = [
        f"{copy['backup']} to {copy['target']}: restored in {copy['restore_seconds']:.1f} s, recovered in "
        f"{copy['recovery_seconds']:.1f} s, masked in {copy['masking_seconds']:.1f} s, "
        f"written in {copy['dump_seconds']:.1f} s"
    ]
    for table in copy["tables"]:
        masked = ", ".join(f"{name} {entry['method']}" for name, entry in table["columns"].items())
        told.append(f"{table['table']}: {table['rows']:,} rows" + (f"; {masked}" if masked else ""))
    if copy["left_out"]:
        told.append(f"left out with what depends on them: {', '.join(copy['left_out'])}")
    return [*told, f"the copy of {copy['database']} has {copy['bytes'] / 1048576:,.1f} MiB"]


def tables_lines(restored: Mapping[str, Any]) -> list[str]:
    """What was put beside the live tables, and how to go on, for people."""
    told = [
        f"{restored['backup']} to {restored['target']}: restored in {restored['restore_seconds']:.1f} s, recovered in "
        f"{restored['recovery_seconds']:.1f} s, copied in {restored['copy_seconds']:.1f} s"
    ]
    told += restored["notes"]
    if not restored["schema"]:
        name = restored["database"]
        return [*told, f'it is the database {name}; when it has served: DROP DATABASE "{name}"']
    told += [f"{restored['database']}: {name} has {count:,} rows" for name, count in restored["rows"].items()]
    example = next(iter(restored["rows"]), f"{restored['schema']}.TABLE")
    told.append(f"bring rows back with: INSERT INTO TABLE SELECT * FROM {example} ON CONFLICT DO NOTHING")  # noqa: S608  shown
    return [*told, f"when it has served: DROP SCHEMA {restored['schema']} CASCADE"]


def _number(status: Mapping[str, Any], *names: str) -> float:
    found: Any = status
    for name in names:
        found = (found or {}).get(name)
    return float(found or 0)


def _ago(seconds: float) -> str:
    for unit, size in (("d", DAY), ("h", HOUR), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
