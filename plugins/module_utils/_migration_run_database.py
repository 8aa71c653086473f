# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database as a migration's run sees it: a session of the owner, over verified TLS, beside the migration's own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._migration_run import Refused, State
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import literal, quoted

# A host that dies with the lock gives it back within a minute; while a migration runs this session has nothing to say.
OPTIONS = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c idle_session_timeout=0"
LOCK = "hashtext('signalbox'), hashtext('migration')"
SETTLE_SECONDS = 10.0
WATCH_SECONDS = 0.2

_HOLDER = """
SELECT format('pid %s from %s, since %s', a.pid, coalesce(host(a.client_addr), 'the server itself'), a.backend_start)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = (hashtext('signalbox')::bigint & 4294967295)::oid
  AND l.objid = (hashtext('migration')::bigint & 4294967295)::oid
"""
_OTHERS = """
SELECT pid, format('pid %s from %s, in a transaction since %s',
                   pid, coalesce(host(client_addr), 'the server itself'), xact_start)
FROM pg_stat_activity
WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""
_BLOCKERS = """
SELECT DISTINCT concat(b.usename, ' (pid ', b.pid, nullif(concat(', ', b.application_name), ', '), ')')
FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid)
JOIN pg_stat_activity b ON b.pid = p.pid
WHERE w.usename = current_user AND w.pid <> pg_backend_pid() AND w.wait_event_type = 'Lock'
"""
_SETTINGS = """
SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
JOIN pg_database d ON d.oid = s.setdatabase WHERE r.rolname = current_user AND d.datname = current_database()
"""
_GIVEN = "SELECT name, setting::float / 1000 FROM pg_settings WHERE name = ANY(%s)"
_REVISION_TABLE = "SELECT to_regclass('alembic_version') IS NOT NULL"
_REVISIONS = "SELECT version_num::text FROM alembic_version ORDER BY 1"
# What is being built this moment is not left behind.
_INVALID = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid)
ORDER BY 1
"""
_STRUCTURE = """
WITH spaces AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
own AS (SELECT * FROM pg_class WHERE relkind <> 't' AND relnamespace IN (SELECT oid FROM spaces))
SELECT md5(concat(
  (SELECT string_agg(concat_ws(' ', oid, relname, relkind, relfilenode), ',' ORDER BY oid) FROM own),
  (SELECT string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, atttypmod, attnotnull, attisdropped),
                     ',' ORDER BY attrelid, attnum) FROM pg_attribute WHERE attrelid IN (SELECT oid FROM own)),
  (SELECT string_agg(concat_ws(' ', oid, conname, convalidated), ',' ORDER BY oid) FROM pg_constraint
   WHERE oid >= 16384 AND connamespace IN (SELECT oid FROM spaces)),
  (SELECT string_agg(concat_ws(' ', oid, adbin), ',' ORDER BY oid) FROM pg_attrdef
   WHERE adrelid IN (SELECT oid FROM own)),
  (SELECT string_agg(concat_ws(' ', oid, tgenabled), ',' ORDER BY oid) FROM pg_trigger
   WHERE oid >= 16384 AND tgrelid IN (SELECT oid FROM own)),
  (SELECT string_agg(concat_ws(' ', oid, xmin), ',' ORDER BY oid) FROM pg_proc
   WHERE oid >= 16384 AND pronamespace IN (SELECT oid FROM spaces)),
  (SELECT string_agg(concat_ws(' ', oid, enumlabel), ',' ORDER BY oid) FROM pg_enum),
  (SELECT string_agg(concat_ws(' ', oid, xmin), ',' ORDER BY oid) FROM pg_type
   WHERE oid >= 16384 AND typnamespace IN (SELECT oid FROM spaces))))
"""

Connect = Callable[[], Any]


class OwnerDatabase:
    """Holds the advisory lock for as long as its session lasts."""

    def __init__(self, connect: Connect, timeouts: Mapping[str, float]) -> None:
        self._connect, self._timeouts = connect, timeouts
        self._connection: Any = None

    def __enter__(self) -> OwnerDatabase:
        self._connection = self._connect()
        self._connection.autocommit = True
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def claim(self) -> None:
        """Lock, set what every session of the owner gets in this database, and prove that a new one gets it."""
        if not self._locked(SETTLE_SECONDS):
            holders = "; ".join(self._column(_HOLDER)) or "a session that has just ended"
            raise Refused(f"another run migrates this database: {holders}. Remedy: wait until it has ended")
        others = self._others(SETTLE_SECONDS)
        if others:
            raise Refused(
                f"the owner has other sessions in this database: {'; '.join(others.values())}. That may be a migration "
                "of a run that was killed. Remedy: wait for its end, or end it: SELECT pg_terminate_backend(PID)"
            )
        self._set()
        with contextlib.closing(self._connect()) as fresh:
            cursor = fresh.cursor()
            cursor.execute(_GIVEN, (list(self._timeouts),))
            given = dict(cursor.fetchall())
        for name, wanted in self._timeouts.items():
            if given[name] != wanted:
                raise Refused(
                    f"the owner's sessions get {name} = {given[name]:g} s although {wanted:g} s are set for it. "
                    "Remedy: look for PGOPTIONS, a service file or a pooler between this host and the server"
                )

    def observe(self) -> State:
        revisions = self._column(_REVISIONS) if self._one(_REVISION_TABLE) else []
        return State(tuple(revisions), str(self._one(_STRUCTURE)), tuple(self._column(_INVALID)))

    def settle(self) -> list[str]:
        """A container that was stopped may leave its statement running on the server, with its locks."""
        others = self._others(1.0)
        for pid in others:
            self._one("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        return list(others.values())

    def failing(self, checks: Sequence[str], seconds: float) -> list[str]:
        """In transactions that cannot write. What a query returns is not told, for it may be personal."""
        found = []
        deadline = time.monotonic() + seconds
        for check in checks:
            left = min(self._timeouts["statement_timeout"], max(0.001, deadline - time.monotonic()))
            self._run("BEGIN TRANSACTION READ ONLY")
            try:
                self._run(f"SET LOCAL statement_timeout = {left * 1000:.0f}")
                if self._run(check).fetchone() is not None:
                    found.append(f"{check.strip()} returns rows")
            except self._connection.Error as error:
                found.append(f"{check.strip()} cannot be run (SQLSTATE {error.pgcode})")
            finally:
                self._run("ROLLBACK")
        return found

    def watch(self) -> Watch:
        return Watch(lambda: self._column(_BLOCKERS))

    def _locked(self, seconds: float) -> bool:
        """A run whose container was stopped just now needs a moment to see it."""
        deadline = time.monotonic() + seconds
        while not self._one(f"SELECT pg_try_advisory_lock({LOCK})"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _others(self, seconds: float) -> dict[int, str]:
        deadline = time.monotonic() + seconds
        while True:
            found = {int(pid): str(name) for pid, name in self._rows(_OTHERS)}
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def _set(self) -> None:
        have = dict(str(pair).split("=", 1) for pair in self._column(_SETTINGS))
        for name, seconds in self._timeouts.items():
            value = f"{seconds * 1000:.0f}ms"
            if have.get(name) != value:
                database = quoted(self._one("SELECT current_database()"))
                self._run(f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET {name} = {literal(value)}")

    def _run(self, statement: str, values: tuple[Any, ...] | None = None) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement, values)
        return cursor

    def _rows(self, statement: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        return list(self._run(statement, values).fetchall())

    def _one(self, statement: str, values: tuple[Any, ...] | None = None) -> Any:
        return self._rows(statement, values)[0][0]

    def _column(self, statement: str) -> list[str]:
        return [str(row[0]) for row in self._rows(statement)]


class Watch(threading.Thread):
    """While a migration runs, sees who holds what it waits for. The session is its alone meanwhile."""

    def __init__(self, look: Callable[[], list[str]], seconds: float = WATCH_SECONDS) -> None:
        super().__init__(daemon=True)
        self._look, self._seconds = look, seconds
        self._over = threading.Event()
        self.blockers: list[str] = []

    def run(self) -> None:
        while not self._over.wait(self._seconds):
            # What is wrong with the session shows when the run next asks it.
            with contextlib.suppress(Exception):
                self.blockers += [one for one in self._look() if one not in self.blockers]

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()
