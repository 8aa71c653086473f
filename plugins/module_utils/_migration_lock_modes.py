# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's locks by their strength, and the work that is done under one."""

from __future__ import annotations

from dataclasses import dataclass

# PostgreSQL's table locks by strength.
ACCESS_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE, SHARE, SHARE_ROW, EXCLUSIVE, ACCESS_EXCLUSIVE = 1, 3, 4, 5, 6, 7, 8
ROWS = -1  # no table lock that matters, but locks on the rows that are written
GONE = -2  # the same, and the rows are missed by whoever reads them
MODES = {
    1: "ACCESS SHARE",
    3: "ROW EXCLUSIVE",
    4: "SHARE UPDATE EXCLUSIVE",
    5: "SHARE",
    6: "SHARE ROW EXCLUSIVE",
    7: "EXCLUSIVE",
    8: "ACCESS EXCLUSIVE",
    ROWS: "locks on its rows",
    GONE: "rows go",
}
BRIEF, WHOLE, FOREVER = "brief", "whole table", "without an end"


@dataclass(frozen=True)
class Lock:
    """A lock and the work done under it. The size of `worked` decides how long that takes."""

    table: str
    mode: int
    work: str = BRIEF
    hazard: int = 47
    why: str = ""
    remedy: str = ""
    worked: tuple[str, ...] = ()
