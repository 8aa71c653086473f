# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file of accounts with hashed passwords: what has to change in it. The hash function is handed in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Callable

# bcrypt looks at no more: a longer password would be accepted by its beginning.
PASSWORD_BYTES = 72


class InvalidUser(ValueError):
    """An account that the file cannot hold; carries names only."""


@dataclasses.dataclass(frozen=True)
class Change:
    """The file's new text, and whose lines differ."""

    text: str
    added: list[str]
    changed: list[str]
    removed: list[str]

    @property
    def any(self) -> bool:
        """Whether anybody's line differs."""
        return bool(self.added or self.changed or self.removed)


def parse(text: str) -> dict[str, str]:
    """Users and their hashes."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: hashed.strip() for name, _colon, hashed in pairs}


def check(users: Mapping[str, str]) -> None:
    """Refuse what would be cut off or read as something else; all mistakes at once."""
    mistakes = [
        f"the name {name!r} holds ':' or white space" for name in users if ":" in name or name.split() != [name]
    ]
    mistakes += [f"{name} has an empty password" for name, password in users.items() if not password]
    mistakes += [
        f"{name}'s password is longer than {PASSWORD_BYTES} bytes or holds NUL"
        for name, password in users.items()
        if len(password.encode()) > PASSWORD_BYTES or "\0" in password
    ]
    if mistakes:
        raise InvalidUser("; ".join(mistakes))


def decide(
    before: str, users: Mapping[str, str], hashed: Callable[[str], str], fits: Callable[[str, str], bool]
) -> Change:
    """Keep each hash that still fits its password, so that an unchanged password changes nothing."""
    known = parse(before)
    lines: dict[str, str] = {}
    added: list[str] = []
    changed: list[str] = []
    for name, password in sorted(users.items()):
        if name in known and fits(password, known[name]):
            lines[name] = known[name]
            continue
        (changed if name in known else added).append(name)
        lines[name] = hashed(password)
    text = "".join(f"{name}:{line}\n" for name, line in lines.items())
    return Change(text, added, changed, sorted(set(known) - set(users)))
