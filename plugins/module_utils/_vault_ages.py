# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How old the credentials in Vault are, and which are due for a rotation."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A secret path is due after so many days where the inventory says nothing else.
DEFAULT_DAYS = 90


@dataclass(frozen=True)
class Credential:
    """One credential, or the names of one path, which are rotated together."""

    name: str
    kind: str  # database, cache, secrets, clients, platform
    since: str  # RFC 3339, as Vault says it; empty where it never was


def age_days(since: str, now: datetime.datetime) -> int | None:
    """Whole days since then. Vault writes nanoseconds, which Python's parser of old does not read."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", since)
    if not found:
        return None
    then = datetime.datetime.fromisoformat(f"{found.group(1)}T{found.group(2)}").replace(tzinfo=datetime.timezone.utc)
    return max(0, (now - then).days)


def ages(credentials: Iterable[Credential], days: Mapping[str, int], now: datetime.datetime) -> list[dict[str, object]]:
    """Age and limit of each, what is due first."""
    found: list[dict[str, object]] = []
    for credential in credentials:
        age, limit = age_days(credential.since, now), int(days.get(credential.kind, DEFAULT_DAYS))
        due = age is None or age >= limit
        found.append(
            {"name": credential.name, "kind": credential.kind, "age_days": age, "due_after_days": limit, "due": due}
        )
    return sorted(found, key=lambda entry: (not entry["due"], str(entry["name"])))


def table(found: Iterable[Mapping[str, object]]) -> str:
    """One line each, for people."""
    rows = [("credential", "age", "rotate")]
    for entry in found:
        age = "unknown" if entry["age_days"] is None else f"{entry['age_days']} d"
        rows.append((str(entry["name"]), age, "DUE NOW" if entry["due"] else f"after {entry['due_after_days']} d"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]}" for row in rows)
