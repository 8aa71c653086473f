# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL server says of itself in its data directory's `postmaster.pid`.

The file's lines: `miscadmin.h`, LOCK_FILE_LINE_PID and LOCK_FILE_LINE_PM_STATUS.
"""

from __future__ import annotations

import os
from pathlib import Path


def state(data: Path) -> str:
    """starting, standby (in recovery), ready or stopping; empty when no server runs on the directory.

    After a crash the file stays, and its number may be another process's: a server works in its data directory.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        if os.readlink(f"/proc/{int(lines[0])}/cwd") != str(data.resolve()):
            return ""
    except (OSError, ValueError, IndexError):
        return ""
    return lines[7].strip() if len(lines) > 7 else "starting"
