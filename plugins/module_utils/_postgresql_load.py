# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A masked copy of another platform's database, put in the place of a database here.

The copy is loaded beside the database that serves; when all of it is there the two change names in one transaction. A
run that is killed leaves the database that serves, and at most one more, which the next run removes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_catalogue import Connect
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_server import available_bytes, query

# For the rows, their indexes and WAL.
ROOM = 2.0
INCOMING, FORMER = "_new", "_old"
MAINTENANCE = "postgres"

_ORIGIN = ("--data-only", "--schema=signalbox_masked", "--table=origin", "--file=-")
_SERVER = "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('data_directory')"
_LIKE = """
SELECT format(
    'CREATE DATABASE %%I OWNER %%I TEMPLATE template0 ENCODING %%L LOCALE_PROVIDER libc LC_COLLATE %%L LC_CTYPE %%L',
    %(fresh)s, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype),
  pg_get_userbyid(datdba)
FROM pg_database WHERE datname = %(name)s
"""

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
        if not self._exists(database):
            raise Refused(f"there is no database {database}: run playbooks/site.yml first")
        free, needed = available_bytes(directory), int(origin["bytes"] * ROOM)
        if free < needed:
            room = f"{directory} has {free >> 20} MiB free, and {needed >> 20} MiB are wanted"
            raise Refused(f"{room} beside the database that serves")

    def load(self, path: str, origin: Mapping[str, Any], database: str) -> dict[str, int]:
        """Put the copy in the database's place; what was there stays as `<database>_old`. Rows of each table."""
        fresh, former = database + INCOMING, database + FORMER
        for name in (fresh, former):
            self._execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        with self._session(MAINTENANCE) as cursor:
            cursor.execute(_LIKE, {"fresh": fresh, "name": database})
            make, owner = cursor.fetchone()
        self._execute(make)
        try:
            self._execute(f"REVOKE ALL ON DATABASE {quoted(fresh)} FROM PUBLIC")
            for extension in origin["extensions"]:
                self._execute(f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} CASCADE", fresh)
            self._restore(path, fresh, owner)
            self._execute("ANALYZE", fresh)
            rows = self._rows(fresh, origin)
        except BaseException:
            self._execute(f"DROP DATABASE IF EXISTS {quoted(fresh)} WITH (FORCE)")
            raise
        self._exchange(database, fresh, former)
        return rows

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
            found[entry["table"]] = int(query(self.connect, f"SELECT count(*) FROM {name}", database)[0][0])  # noqa: S608
            if found[entry["table"]] != entry["rows"]:
                raise Refused(f"{entry['table']} has {found[entry['table']]} rows, and {entry['rows']} were masked")
        return found

    def _exchange(self, database: str, fresh: str, former: str) -> None:
        try:
            # A pool connects again at once, and a database with a session cannot be renamed.
            self._execute(f"ALTER DATABASE {quoted(database)} ALLOW_CONNECTIONS false")
            with self._session(MAINTENANCE) as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname IN (%s, %s)",
                    (database, fresh),
                )
            with self._session(MAINTENANCE, autocommit=False) as cursor:
                cursor.execute(f"ALTER DATABASE {quoted(database)} RENAME TO {quoted(former)}")
                cursor.execute(f"ALTER DATABASE {quoted(fresh)} RENAME TO {quoted(database)}")
        finally:
            self._execute(f"ALTER DATABASE {quoted(database)} ALLOW_CONNECTIONS true")

    def _exists(self, database: str) -> bool:
        with self._session(MAINTENANCE) as cursor:
            cursor.execute("SELECT true FROM pg_database WHERE datname = %s", (database,))
            return cursor.fetchone() is not None

    def _execute(self, statement: str, database: str = MAINTENANCE) -> None:
        with self._session(database) as cursor:
            cursor.execute(statement)

    @contextlib.contextmanager
    def _session(self, database: str, autocommit: bool = True) -> Iterator[Any]:
        connection = self.connect(database)
        try:
            connection.autocommit = autocommit
            yield connection.cursor()
            if not autocommit:
                connection.commit()
        finally:
            connection.close()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _qualified(table: str) -> list[str]:
    schema, dot, name = table.partition(".")
    return [schema, name] if dot else ["public", table]


def _last(error: str) -> str:
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), (lines or ["it said nothing"])[-1])[:300]
