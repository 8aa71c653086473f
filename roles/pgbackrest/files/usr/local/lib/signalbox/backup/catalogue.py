# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a repository holds, out of `pgbackrest info --output=json` and the timelines' history files. Pure.

Timelines: PostgreSQL manual, 25.3.6; names of WAL files and of history files: `xlog_internal.h`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Of a repository that cannot be read.
_OTHER = 99
_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+)/([0-9A-Fa-f]+)")


def lsn(text: str) -> int:
    """A position in the WAL, such as 0/3000028, as a number."""
    high, _slash, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass(frozen=True)
class Backup:
    """One finished backup; moments are seconds since the epoch."""

    label: str
    kind: str  # full, diff or incr
    started: float
    stopped: float
    timeline: int
    stop_lsn: int
    database_bytes: int
    repository_bytes: int
    page_errors: bool
    first_segment: str = ""


@dataclass(frozen=True)
class Fork:
    """Where a timeline left another one."""

    parent: int
    at_lsn: int


@dataclass(frozen=True)
class Timeline:
    """A timeline with every fork on the way to it, oldest first, and the moment from which it was the live one."""

    number: int
    forks: tuple[Fork, ...] = ()
    began: float = 0.0

    def reaches(self, backup: Backup) -> bool:
        """Whether recovery along this timeline can begin with that backup."""
        if backup.timeline == self.number:
            return True
        return any(fork.parent == backup.timeline and backup.stop_lsn <= fork.at_lsn for fork in self.forks)


@dataclass(frozen=True)
class Catalogue:
    """One stanza of one repository. The system identifier is that of the cluster that is backed up."""

    code: int
    message: str
    backups: tuple[Backup, ...] = ()
    archive_id: str = ""
    archive_maximum: str = ""
    system_identifier: str = ""
    busy: bool = False
    timelines: tuple[Timeline, ...] = field(default=())

    @property
    def newest(self) -> Backup | None:
        return max(self.backups, key=lambda backup: backup.stopped, default=None)

    def of_kind(self, *kinds: str) -> list[Backup]:
        return [backup for backup in self.backups if backup.kind in kinds]


def catalogue(info: Sequence[Mapping[str, Any]], stanza: str) -> Catalogue:
    """Of the answer's stanzas the one of that name; an absent one has code 1, as pgBackRest counts it."""
    found = next((entry for entry in info if entry.get("name") == stanza), None)
    if found is None:
        return Catalogue(1, "missing stanza path")
    status = found["status"]
    archive = (found.get("archive") or [{}])[-1]
    return Catalogue(
        code=int(status["code"]),
        message=_message(found),
        backups=tuple(_backup(entry) for entry in found.get("backup") or []),
        archive_id=str(archive.get("id") or ""),
        archive_maximum=str(archive.get("max") or ""),
        system_identifier=str((found.get("db") or [{}])[-1].get("system-id") or ""),
        busy=bool(status.get("lock", {}).get("backup", {}).get("held")),
    )


def _message(stanza: Mapping[str, Any]) -> str:
    """In one line; what is wrong with the repository itself before the stanza's own word for it, such as `other`.

    What another passphrase makes of a file is no text, and need not even be told as its fault.
    """
    told = [str(entry["status"]["message"]) for entry in stanza.get("repo") or () if entry["status"]["code"] == _OTHER]
    said = (told or [str(stanza["status"]["message"])])[0]
    if "unable to load info file" in said and ("FormatError" in said or "CryptoError" in said):
        return "its files cannot be read, with another passphrase than the repository's or after damage"
    return " ".join(said.split())[:400]


def _backup(entry: Mapping[str, Any]) -> Backup:
    position, moments, sizes = entry["lsn"], entry["timestamp"], entry["info"]
    return Backup(
        label=str(entry["label"]),
        kind=str(entry["type"]),
        started=float(moments["start"]),
        stopped=float(moments["stop"]),
        timeline=int(str(entry["archive"]["start"])[:8], 16),
        stop_lsn=lsn(position["stop"]),
        database_bytes=int(sizes["size"]),
        repository_bytes=int(sizes["repository"].get("delta") or 0),
        page_errors=bool(entry.get("error")),
        first_segment=str(entry["archive"]["start"]),
    )


# Segments of 16 MiB, as every cluster has them that was not made otherwise: 256 to a log file's number.
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})000000([0-9A-F]{2})-[0-9a-f]+(?:\.\w+)?\Z")


@dataclass(frozen=True)
class Hole:
    """Segments of one timeline that the archive has not, though it has earlier and later ones."""

    first: str
    last: str
    # When the segment behind it came in, in seconds since the epoch.
    passed: float

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"

    def before(self, backup: Backup) -> bool:
        """Whether the backup can be restored, and moments after it, without what is missing."""
        if self.last[:8] == backup.first_segment[:8]:
            return self.last < backup.first_segment
        return self.passed < backup.started


def missing_segments(listed: Mapping[str, Mapping[str, Any]]) -> list[Hole]:
    """Holes in the WAL of each timeline: between its first segment and its newest none may be.

    What has expired is gone from the beginning, so it leaves no hole.
    """
    found: dict[int, dict[int, float]] = {}
    for name, entry in listed.items():
        match = _SEGMENT.match(name.rsplit("/", 1)[-1])
        if match:
            number = (int(match[2], 16) << 8) + int(match[3], 16)
            found.setdefault(int(match[1], 16), {})[number] = float(entry.get("time") or 0)
    holes = []
    for line, times in sorted(found.items()):
        ordered = sorted(times)
        for before, after in zip(ordered, ordered[1:]):
            if after != before + 1:
                holes.append(Hole(_name(line, before + 1), _name(line, after - 1), times[after]))
    return holes


def _name(line: int, number: int) -> str:
    return f"{line:08X}{number >> 8:08X}{number & 0xFF:08X}"


def forks(history: str) -> tuple[Fork, ...]:
    """The forks of a history file, oldest first; its comments and reasons are passed over."""
    found = (_LINE.match(line) for line in history.splitlines())
    return tuple(Fork(int(match[1]), (int(match[2], 16) << 32) + int(match[3], 16)) for match in found if match)
