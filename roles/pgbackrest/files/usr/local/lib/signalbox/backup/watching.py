# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a migration does on a scratch server, seen from a session beside it: locks and how long, files, WAL, rows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

GLANCE_SECONDS = 0.005
# PostgreSQL manual, 13.3.1: what conflicts with what, by pg_locks' names without "Lock".
MODES = (
    "AccessShare", "RowShare", "RowExclusive", "ShareUpdateExclusive", "Share", "ShareRowExclusive", "Exclusive",
    "AccessExclusive",
)  # fmt: skip
_CONFLICTS = {
    "AccessShare": MODES[7:],
    "RowShare": MODES[6:],
    "RowExclusive": MODES[4:],
    "ShareUpdateExclusive": MODES[3:],
    "Share": (*MODES[2:4], *MODES[5:]),
    "ShareRowExclusive": MODES[2:],
    "Exclusive": MODES[1:],
    "AccessExclusive": MODES,
}
_OWN = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_LOCKS = f"""
SELECT n.nspname || '.' || c.relname, replace(l.mode, 'Lock', '') FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = %s AND l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm') AND {_OWN}
"""  # noqa: S608  no input in it
_FILES = f"""
SELECT c.oid, n.nspname || '.' || c.relname, c.relkind, c.relfilenode, coalesce(i.indisvalid, true)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relkind IN ('r', 'm', 'i') AND {_OWN}
"""  # noqa: S608  no input in it
_TABLES = f"""
SELECT n.nspname || '.' || c.relname, format('SELECT count(*) FROM %%I.%%I', n.nspname, c.relname),
       pg_table_size(c.oid) < 1073741824
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {_OWN}
"""  # noqa: S608  no input in it
_VERSIONS = """
SELECT quote_ident(n.nspname) || '.alembic_version' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.oid = c.relowner WHERE c.relname = 'alembic_version' AND c.relkind = 'r' AND r.rolname = %s
"""


def waits_for(wanted: str, held: str) -> bool:
    """Whether a lock has to wait while somebody else has another one."""
    return held in _CONFLICTS[wanted]


@dataclass(frozen=True)
class Changed:
    """Tables whose file is another one, indexes that were not there, and those that this left invalid."""

    rewritten: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)


class Observer:
    """A session of the superuser, which looks and changes nothing.

    A lock counts from the beginning of the statement in which it was first seen, so for longer rather than for less.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._open: dict[tuple[str, str], float] = {}
        # Of each lock the longest time that it was held at a stretch, and when that began.
        self.held: dict[tuple[str, str], tuple[float, float]] = {}
        self._files = self._look_at_files()
        self._counted: set[str] | None = None

    def locks(self, pid: int) -> list[tuple[str, str]]:
        return [(str(table), str(mode)) for table, mode in self._rows(_LOCKS, (pid,))]

    def wal(self) -> int:
        return int(self._rows("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0][0])

    def revisions(self, owner: str) -> list[str] | None:
        """What Alembic noted; None where there is no such table, which may be so before the first migration."""
        places = self._rows(_VERSIONS, (owner,))
        if len(places) != 1:
            return None if places else []
        return [str(row[0]) for row in self._rows(f"SELECT version_num FROM {places[0][0]}")]  # noqa: S608  quoted

    def rows(self) -> dict[str, int]:
        """How many rows each table has that had up to 1 GiB at the first look: a migration makes it grow."""
        tables = self._rows(_TABLES, ())
        if self._counted is None:
            self._counted = {name for name, _query, is_small in tables if is_small}
        return {str(name): int(self._rows(query)[0][0]) for name, query, _ in tables if name in self._counted}

    def changed(self) -> Changed:
        before, now = self._files, self._look_at_files()
        rewritten = [
            name
            for oid, (name, kind, file, _valid) in now.items()
            if kind != "i" and before.get(oid, ("", "", file))[2] != file
        ]
        built = [one[0] for oid, one in now.items() if one[1] == "i" and oid not in before]
        invalid = [
            one[0] for oid, one in now.items() if one[1] == "i" and not one[3] and before.get(oid, ("", "", 0, True))[3]
        ]
        return Changed(sorted(rewritten), sorted(built), sorted(invalid))

    @contextlib.contextmanager
    def watching(self, pid: int, began: float) -> Iterator[None]:
        """While a statement runs; what it holds at its end is looked at in any case."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(GLANCE_SECONDS):
                self._see(pid, began)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._see(pid, began)

    def ended(self) -> None:
        """The transaction, or the statement without one, is over: what was held is free."""
        now = time.monotonic()
        for lock, since in self._open.items():
            self.held[lock] = max(self.held.get(lock, (0.0, 0.0)), (now - since, since))
        self._open.clear()

    def _see(self, pid: int, began: float) -> None:
        for lock in self.locks(pid):
            self._open.setdefault(lock, began)

    def _look_at_files(self) -> dict[int, tuple[str, str, int, bool]]:
        return {
            int(oid): (str(name), str(kind), int(file), bool(valid))
            for oid, name, kind, file, valid in self._rows(_FILES)
        }

    def _rows(self, statement: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall())
