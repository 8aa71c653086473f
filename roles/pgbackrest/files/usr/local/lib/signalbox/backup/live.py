# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The running server: what only it can give before a restore."""

from __future__ import annotations

import time
from typing import Callable

SECONDS = 60.0
_ARCHIVED = "select coalesce(last_archived_wal, '') >= '{segment}' from pg_stat_archiver"


def archive_newest(ask: Callable[[str], str]) -> str:
    """All commits until now into the archive, and one after them, without which recovery to now finds no end.

    Empty when they are there, else what may be missing.
    """
    ask("select pg_current_xact_id()")
    segment = ask("select pg_walfile_name(pg_switch_wal())")
    deadline = time.monotonic() + SECONDS
    while ask(_ARCHIVED.format(segment=segment)) != "t":
        if time.monotonic() > deadline:
            return f"{segment} was not archived within {SECONDS:.0f} s: its commits may be missing"
        time.sleep(0.2)
    return ""
