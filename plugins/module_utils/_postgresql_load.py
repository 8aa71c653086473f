# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A masked copy of another platform's database, put in the place of a database here.

`load` fills a database beside the one that serves, `exchange` lets the two change names in one transaction, `undo` lets
them change back. A run that is killed leaves the database that serves, open, and at most one more beside it, which the
next run removes. What these databases are stands in their comments; one without such a comment is never removed.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import Connect, session
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_server import available_bytes, query

# For the rows, their indexes and WAL.
ROOM = 2.0
INCOMING, FORMER = "_new", "_old"
MAINTENANCE = "postgres"
# PostgreSQL cuts off what is longer.
LONGEST_NAME = 63
PATIENCE_SECONDS = 30.0

_ORIGIN = ("--data-only", "--schema=signalbox_masked", "--table=origin", "--file=-")
_SERVER = "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('data_directory')"
_COMMENT = "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %(name)s"
_LIKE = """
SELECT format(
    'CREATE DATABASE %%I OWNER %%I TEMPLATE template0 ENCODING %%L LOCALE_PROVIDER libc LC_COLLATE %%L LC_CTYPE %%L',
    %(fresh)s, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype),
  pg_get_userbyid(datdba)
FROM pg_database WHERE datname = %(name)s
"""
_SIZE = "SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database WHERE datname = ANY (%(names)s)"
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%(names)s)"

Run = Callable[[Sequence[str]], tuple[int, str, str]]


class Refused(Exception):
    """Why nothing was changed, and what to do."""


@dataclass
class Load:
    """`run` runs a program as the server's superuser, and tells its exit code, output and errors."""

    connect: Connect
    run: Run
    binaries: str
    socket_directory: str
    port: int

    def origin(self, path: str) -> dict[str, Any]:
        """Where the rows of a copy come from; only a masked one tells."""
        code, out, error = self.run([f"{self.binaries}/pg_restore", *_ORIGIN, path])
        if code != 0:
            raise Refused(f"{path} is no archive of pg_dump: {_last(error)}")
        rows = [line for line in out.splitlines() if line.startswith("{")]
        if len(rows) != 1:
            raise Refused("it does not say that it was masked: make the copy with playbooks/masked_copy.yml")
        found: dict[str, Any] = json.loads(rows[0].replace("\\\\", "\\"))
        return found

    def check(self, origin: Mapping[str, Any], database: str) -> None:
        """Everything that can be known before anything is changed."""
        identifier, directory = query(self.connect, _SERVER)[0]
        if identifier == origin["system_identifier"]:
            raise Refused("this is the database server that the copy was taken of: give the inventory of staging")
        if database != origin["database"]:
            raise Refused(f"the copy is one of {origin['database']}, and {database} is to be overwritten")
        self.check_names(database)
        free, needed = available_bytes(directory) + self._removable(database), int(origin["bytes"] * ROOM)
        if free < needed:
            room = f"{directory} has {free >> 20} MiB free, and {needed >> 20} MiB are wanted"
            raise Refused(f"{room} beside the database that serves")

    def check_names(self, database: str) -> None:
        """The names beside it are free, or a former run's."""
        if len((database + INCOMING).encode()) > LONGEST_NAME:
            raise Refused(f"{database} is too long a name: there is none for a database beside it")
        if self._comment(database) is None:
            raise Refused(f"there is no database {database}: run playbooks/site.yml first")
        for name, mark in ((database + INCOMING, incoming(database)), (database + FORMER, former(database))):
            comment = self._comment(name)
            if comment is not None and not _marked(comment, mark):
                raise Refused(
                    f"there is a database {name} that no former run has marked: rename it, or drop it if nobody's"
                )

    def load(self, path: str, origin: Mapping[str, Any], database: str) -> dict[str, int]:
        """All of the copy beside the database, which serves meanwhile. Rows of each table."""
        self.check_names(database)
        fresh = database + INCOMING
        for name in (fresh, database + FORMER):
            self._execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        with self._session(MAINTENANCE) as cursor:
            cursor.execute(_LIKE, {"fresh": fresh, "name": database})
            make, owner = cursor.fetchone()
        self._execute(make)
        try:
            # One without this is nobody's to remove, also where a run was killed just before.
            self._execute(_comment_on(fresh, incoming(database)))
            self._execute(f"REVOKE ALL ON DATABASE {quoted(fresh)} FROM PUBLIC")
            for extension in origin["extensions"]:
                self._execute(f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} CASCADE", fresh)
            self._restore(path, fresh, owner)
            self._execute("ANALYZE", fresh)
            rows = self._rows(fresh, origin)
            # Where the rows come from is known by now; left there it would be in a masked copy of this database.
            self._execute("DROP SCHEMA signalbox_masked CASCADE", fresh)
            self._execute(_comment_on(fresh, loaded(database)))
        except BaseException:
            self._execute(f"DROP DATABASE IF EXISTS {quoted(fresh)} WITH (FORCE)")
            raise
        return rows

    def exchange(self, database: str) -> None:
        """The loaded copy takes the database's place; what was there stays as `<database>_old`."""
        self.check_names(database)
        fresh, old = database + INCOMING, database + FORMER
        if self._comment(fresh) != loaded(database):
            raise Refused(f"no copy was loaded for {database}; it is as it was")
        if self._comment(old) is not None:
            raise Refused(f"there is {old}, which loading removes; {database} is as it was")
        self._rename([(database, old), (fresh, database)], database, self._comment(database) or "")

    def undo(self, database: str) -> None:
        """`<database>_old` and the database change places. Once more, and they change back."""
        self.check_names(database)
        fresh, old = database + INCOMING, database + FORMER
        comment = self._comment(old)
        if comment is None:
            raise Refused(f"there is no {old}; {database} is as it was")
        self._execute(f"DROP DATABASE IF EXISTS {quoted(fresh)} WITH (FORCE)")
        kept = comment.removeprefix(former(database)).lstrip("\n")
        self._rename([(database, fresh), (old, database), (fresh, old)], database, kept)

    def _rename(self, pairs: Sequence[tuple[str, str]], database: str, comment: str) -> None:
        """All of them or none. While a name changes new sessions wait, so that ending those that are there is enough.

        Nothing is closed for it: a run that is killed here leaves every database open.
        """
        ours = self._comment(database) or ""
        statements = [f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(other)}" for name, other in pairs]
        statements.append(_comment_on(database + FORMER, f"{former(database)}\n{ours}".rstrip()))
        statements.append(_comment_on(database, comment))
        done = threading.Event()
        names = sorted({name for name, _other in pairs})
        ending = threading.Thread(target=self._end_sessions, args=(names, done), daemon=True)
        ending.start()
        try:
            with self._session(MAINTENANCE, autocommit=False) as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            done.set()
            ending.join(PATIENCE_SECONDS)

    def _end_sessions(self, names: Sequence[str], done: threading.Event) -> None:
        with self._session(MAINTENANCE) as cursor:
            while not done.is_set():
                cursor.execute(_END, {"names": list(names)})
                done.wait(0.1)

    def _restore(self, path: str, database: str, owner: str) -> None:
        command = [f"{self.binaries}/pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "--jobs=2"]
        command += [f"--host={self.socket_directory}", f"--port={self.port}", f"--role={owner}"]
        code, _out, error = self.run([*command, f"--dbname={database}", path])
        if code != 0:
            raise Refused(
                f"the copy could not be loaded: {_last(error)}; {database.removesuffix(INCOMING)} is as it was"
            )

    def _rows(self, database: str, origin: Mapping[str, Any]) -> dict[str, int]:
        """Counted, and as many as were masked."""
        found = {}
        for entry in origin["masked"]:
            name = ".".join(quoted(part) for part in _qualified(entry["table"]))
            # What inherits from a table was masked, and is counted, by itself; partitions were not.
            only = "" if entry.get("partitioned") else "ONLY "
            counted = query(self.connect, f"SELECT count(*) FROM {only}{name}", database)  # noqa: S608  quoted
            found[entry["table"]] = int(counted[0][0])
            if found[entry["table"]] != entry["rows"]:
                raise Refused(f"{entry['table']} has {found[entry['table']]} rows, and {entry['rows']} were masked")
        return found

    def _removable(self, database: str) -> int:
        """Bytes that loading frees: former runs' databases."""
        with self._session(MAINTENANCE) as cursor:
            cursor.execute(_SIZE, {"names": [database + INCOMING, database + FORMER]})
            return int(cursor.fetchone()[0])

    def _comment(self, database: str) -> str | None:
        """What is said of a database; None where there is none."""
        with self._session(MAINTENANCE) as cursor:
            cursor.execute(_COMMENT, {"name": database})
            row = cursor.fetchone()
            return None if row is None else str(row[0])

    def _execute(self, statement: str, database: str = MAINTENANCE) -> None:
        with self._session(database) as cursor:
            cursor.execute(statement)

    def _session(self, database: str, autocommit: bool = True) -> contextlib.AbstractContextManager[Any]:
        return session(self.connect, database, autocommit)


def incoming(database: str) -> str:
    return f"signalbox: masked copy for {database}"


def loaded(database: str) -> str:
    return f"{incoming(database)}, complete"


def former(database: str) -> str:
    return f"signalbox: what {database} was before a masked copy took its place"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _marked(comment: str, mark: str) -> bool:
    return comment == mark or comment.startswith((f"{mark},", f"{mark}\n"))


def _comment_on(database: str, text: str) -> str:
    words = text.replace("'", "''")
    return f"COMMENT ON DATABASE {quoted(database)} IS '{words}'"


def _qualified(table: str) -> list[str]:
    schema, dot, name = table.partition(".")
    return [schema, name] if dot else ["public", table]


def _last(error: str) -> str:
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), (lines or ["it said nothing"])[-1])[:300]
