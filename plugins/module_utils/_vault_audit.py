# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who read what, from the lines of Vault's audit log (https://openbao.org/docs/audit/), where values are hashed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Reader:
    """One identity at one address, and its reads of one path."""

    path: str
    identity: str
    address: str
    first: str
    last: str
    reads: int = 0
    refused: int = 0

    def report(self) -> dict[str, Any]:
        return dict(vars(self))


def readers(lines: Iterable[str], paths: Iterable[str], since: str = "") -> list[Reader]:
    """Every identity that asked for one of the paths, by path and time. `since` is RFC 3339 in UTC.

    A line that is cut off, as a full disk leaves it, is passed over.
    """
    wanted = set(paths)
    found: dict[tuple[str, str, str], Reader] = {}
    for line in lines:
        # Most lines are of other paths: the cheap test comes first.
        if not any(path in line for path in wanted):
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        _count(found, entry, wanted, since)
    return sorted(found.values(), key=lambda reader: (reader.path, reader.first))


def _count(found: dict[tuple[str, str, str], Reader], entry: Any, wanted: set[str], since: str) -> None:
    request = entry.get("request") or {}
    path, time = str(request.get("path")), str(entry.get("time", ""))
    if entry.get("type") != "response" or request.get("operation") != "read" or path not in wanted or time < since:
        return
    auth = entry.get("auth") or {}
    identity = str((auth.get("metadata") or {}).get("role_name") or auth.get("display_name") or "no identity")
    address = str(request.get("remote_address", ""))
    reader = found.setdefault((path, identity, address), Reader(path, identity, address, time, time))
    reader.first, reader.last = min(reader.first, time), max(reader.last, time)
    if entry.get("error"):
        reader.refused += 1
    else:
        reader.reads += 1


def table(found: Iterable[Reader]) -> str:
    """One line each, for people."""
    rows = [("path", "identity", "address", "reads", "refused", "first", "last")]
    rows += [
        (one.path, one.identity, one.address, str(one.reads), str(one.refused), one.first[:19], one.last[:19])
        for one in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows)
