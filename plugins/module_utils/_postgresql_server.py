# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL host shows of itself: clusters on disk, free room, the server's configuration and what waits."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import Connect

_DATA_DIRECTORY = re.compile(r"^\s*data_directory\s*=?\s*'([^']*)'", re.MULTILINE)

_PENDING = """
SELECT s.name, current_setting(s.name), coalesce(f.setting, s.boot_val)
FROM pg_settings s
LEFT JOIN LATERAL (SELECT setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY f.seqno DESC LIMIT 1) f ON true
WHERE s.pending_restart ORDER BY s.name
"""

# A parameter that waits for a restart shows the same error as one with an impossible value: check_command() tells
# them apart.
_MISTAKES = """
SELECT f.sourcefile || ':' || f.sourceline, coalesce(f.name || ': ', '') || f.error
FROM pg_file_settings f LEFT JOIN pg_settings s ON s.name = f.name
WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster'
UNION ALL SELECT file_name || ':' || line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL
UNION ALL SELECT file_name || ':' || line_number, error FROM pg_ident_file_mappings WHERE error IS NOT NULL
"""

_FILES = """
SELECT sourcefile FROM pg_file_settings WHERE sourcefile IS NOT NULL
UNION SELECT setting FROM pg_settings WHERE name IN ('hba_file', 'ident_file')
"""

_CHECK = """
SELECT (SELECT setting FROM pg_config WHERE name = 'BINDIR'),
       current_setting('data_directory'), current_setting('config_file')
"""


def clusters(configuration: str = "/etc/postgresql") -> list[dict[str, str]]:
    """The clusters that Debian's tools know, by version, name and data directory."""
    found = []
    for path in sorted(glob.glob(os.path.join(configuration, "*", "*", "postgresql.conf"))):
        version, name = path.split(os.sep)[-3:-1]
        with open(path, encoding="utf-8") as handle:
            match = _DATA_DIRECTORY.search(handle.read())
        found.append({"version": version, "name": name, "data_directory": match.group(1) if match else ""})
    return found


def available_bytes(path: str) -> int:
    """Room for a path that may not exist yet: that of its nearest parent."""
    state = _file_system(path)
    return state.f_bavail * state.f_frsize


def total_bytes(path: str) -> int:
    """Size of the file system that a path is, or will be, on."""
    state = _file_system(path)
    return state.f_blocks * state.f_frsize


def _file_system(path: str) -> os.statvfs_result:
    while not os.path.exists(path):
        path = os.path.dirname(path.rstrip("/")) or "/"
    return os.statvfs(path)


def missing(paths: Iterable[str]) -> list[str]:
    """The files that are not there, or are empty."""
    return [path for path in paths if not os.path.isfile(path) or os.path.getsize(path) == 0]


def query(connect: Connect, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
    """One query in a session of its own."""
    connection = connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())
    finally:
        connection.close()


def pending_restart(connect: Connect) -> list[dict[str, str]]:
    """Parameters whose configured value a restart would bring into force."""
    return [
        {"name": name, "running": now, "configured": then, "text": f"{name} ({now or 'empty'} -> {then or 'empty'})"}
        for name, now, then in query(connect, _PENDING)
    ]


def configuration_mistakes(connect: Connect) -> list[str]:
    """What the server itself says about its configuration files, read afresh."""
    return [f"{place}: {error}" for place, error in query(connect, _MISTAKES)]


def check_command(connect: Connect) -> list[str]:
    """A command that reads the configuration as a start would, and ends with 0 when it holds."""
    binaries, data, configuration = query(connect, _CHECK)[0]
    return [f"{binaries}/postgres", "-D", data, "-C", "max_connections", "-c", f"config_file={configuration}"]


def load_time(connect: Connect) -> float:
    """When the configuration was last read, in seconds of the epoch."""
    return float(query(connect, "SELECT extract(epoch FROM pg_conf_load_time())")[0][0])


def unread(connect: Connect, others: Iterable[str] = ()) -> list[str]:
    """Configuration files, and others that are read with them, that are newer than the last reading."""
    loaded = load_time(connect)
    files = {str(row[0]) for row in query(connect, _FILES)} | set(others)
    return sorted(path for path in files if os.path.exists(path) and os.stat(path).st_mtime > loaded)


def describe(connect: Connect, others: Iterable[str] = ()) -> dict[str, Any]:
    """The running server in a few words."""
    row = query(
        connect,
        "SELECT current_setting('server_version'), current_setting('data_checksums') = 'on', pg_is_in_recovery(), "
        "current_setting('data_directory'), "
        "NOT EXISTS (SELECT FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres')",
    )[0]
    return {
        "version": row[0],
        "data_checksums": row[1],
        "in_recovery": row[2],
        "data_directory": row[3],
        "empty": row[4],
        "pending_restart": pending_restart(connect),
        "unread": unread(connect, others),
    }
