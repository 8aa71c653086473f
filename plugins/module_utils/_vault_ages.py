# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How old the credentials in Vault are, and which are due for a rotation."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A credential is due after so many days where the inventory says nothing else.
DEFAULT_DAYS = 90
# A host's identity lives thirty; below a third of that site.yml replaces it.
DAYS = {"hosts": 20}


@dataclass(frozen=True)
class Credential:
    """One credential, or the names of one path, which are rotated together."""

    name: str
    kind: str  # database, cache, secrets, clients, platform, hosts, vault, certificates, given_certificates, authority
    since: str  # RFC 3339, as Vault says it; empty where it never was
    until: str = ""  # the end that it has by itself: it is due when less than a third of its life is left


_EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)


def _time(text: str) -> datetime.datetime | None:
    """Vault writes nanoseconds, which Python's parser of old does not read."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", text)
    if not found:
        return None
    return datetime.datetime.fromisoformat(f"{found.group(1)}T{found.group(2)}").replace(tzinfo=datetime.timezone.utc)


def age_days(since: str, now: datetime.datetime) -> int | None:
    """Whole days since then."""
    then = _time(since)
    return None if then is None else max(0, (now - then).days)


def limit_days(credential: Credential, days: Mapping[str, int]) -> int:
    """After how many days it is due. What renews itself has a day's time for it."""
    if not credential.until:
        return int(days.get(credential.kind, DAYS.get(credential.kind, DEFAULT_DAYS)))
    life = age_days(credential.since, _time(credential.until) or _EPOCH)
    return (life or 0) * 2 // 3 + 1


def ages(credentials: Iterable[Credential], days: Mapping[str, int], now: datetime.datetime) -> list[dict[str, object]]:
    """Age and limit of each, what is due first."""
    found: list[dict[str, object]] = []
    for credential in credentials:
        age, limit = age_days(credential.since, now), limit_days(credential, days)
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
