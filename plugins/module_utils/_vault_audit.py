# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who read what, from the lines of Vault's audit log (https://openbao.org/docs/audit/), where values are hashed."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")
# Second and fraction: a fraction has as many digits as its writer likes, so that times do not sort as text.
Moment = tuple[int, float]
_EVER: Moment = (0, 0.0)


def moment(text: str) -> Moment:
    """An RFC 3339 time; ValueError where it is none."""
    found = _TIME.match(text)
    if not found:
        raise ValueError(f"{text!r} is no time of RFC 3339, such as 2026-11-22T00:00:00Z")
    zone = found[4].upper().replace("Z", "+00:00")
    return int(datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").timestamp()), float(found[3] or 0)


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
    """Every identity that asked for one of the paths, by path and time. `since` is RFC 3339.

    A request that several devices recorded counts once. A line that is cut off, as a full disk leaves it, is passed
    over.
    """
    wanted, begin = set(paths), moment(since) if since else _EVER
    found: dict[tuple[str, str, str], Reader] = {}
    seen: set[str] = set()
    for line in lines:
        # Most lines are of other paths: the cheap test comes first.
        if not any(path in line for path in wanted):
            continue
        try:
            entry = json.loads(line)
            at = moment(str(entry.get("time")))
        except ValueError:
            continue
        request = entry.get("request") or {}
        identifier = str(request.get("id") or "")
        if not _is_read(entry, wanted) or at < begin or identifier in seen:
            continue
        if identifier:
            seen.add(identifier)
        _count(found, entry, request)
    return sorted(found.values(), key=lambda reader: (reader.path, moment(reader.first)))


def _is_read(entry: Any, wanted: set[str]) -> bool:
    request = entry.get("request") or {}
    return entry.get("type") == "response" and request.get("operation") == "read" and request.get("path") in wanted


def _count(found: dict[tuple[str, str, str], Reader], entry: Any, request: Any) -> None:
    path, time, auth = str(request["path"]), str(entry["time"]), entry.get("auth") or {}
    identity = str((auth.get("metadata") or {}).get("role_name") or auth.get("display_name") or "no identity")
    address = str(request.get("remote_address", ""))
    reader = found.setdefault((path, identity, address), Reader(path, identity, address, time, time))
    reader.first, reader.last = min(reader.first, time, key=moment), max(reader.last, time, key=moment)
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
