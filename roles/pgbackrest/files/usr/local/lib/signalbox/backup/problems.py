# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong, with the exit code by which a caller tells it apart."""

from __future__ import annotations

(INPUT, BUSY, UNREACHABLE, NO_BACKUP, NO_ROOM, DAMAGED, REFUSED, BROKEN) = (2, 10, 11, 12, 13, 14, 15, 18)


class Problem(Exception):
    """What is wrong and how to mend it; never holds a secret."""

    def __init__(self, code: int, what: str, remedy: str) -> None:
        super().__init__(f"{what}. Remedy: {remedy}")
        self.code = code
