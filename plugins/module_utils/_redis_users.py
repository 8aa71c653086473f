# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The passwords of one user in a Redis ACL file, as SHA-256 digests: one normally, two while one replaces the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGEST = re.compile(r"#[0-9a-f]{64}")


class UnknownUser(Exception):
    """The file has no such user."""


def digests_of(text: str, user: str) -> list[str]:
    """Digests that open the user, in the file's order."""
    return [word[1:] for word in _line(text, user).split() if _DIGEST.fullmatch(word)]


def with_digests(text: str, user: str, digests: Sequence[str]) -> str:
    """The file with exactly these digests for the user; everything else stays."""
    line = _line(text, user)
    words = line.split(" ")
    kept = [word for word in words if not _DIGEST.fullmatch(word)]
    place = next((index for index, word in enumerate(words) if _DIGEST.fullmatch(word)), len(kept))
    changed = [*kept[:place], *(f"#{digest}" for digest in digests), *kept[place:]]
    return "".join(" ".join(changed) + "\n" if found == line else found + "\n" for found in text.splitlines())


def _line(text: str, user: str) -> str:
    for line in text.splitlines():
        if line.split()[:2] == ["user", user]:
            return line
    raise UnknownUser(user)
