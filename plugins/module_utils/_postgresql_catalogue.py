# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The port to a PostgreSQL server: reads its catalogues, carries out a plan. Knows the driver only by its shape."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import (
    MAINTENANCE_DATABASE,
    Action,
    DatabaseState,
    RoleState,
    SchemaState,
    ServerState,
)
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import Layout, WantedDatabase

# A verifier must reach neither the server's log nor its statistics, whatever the server's settings are.
QUIET_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "log_statement=none",
        "log_duration=off",
        "log_min_duration_statement=-1",
        "log_min_duration_sample=-1",
        "log_transaction_sample_rate=0",
        "log_min_error_statement=panic",
        "pg_stat_statements.track=none",
        "pg_stat_statements.track_utility=off",
        "pgaudit.log=none",
        "track_activities=off",
        "lock_timeout=10s",
    )
)

_ROLES = """
SELECT r.rolname, r.rolcanlogin, r.rolconnlimit, r.rolinherit, r.rolpassword,
       array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                          CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                          CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                          CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid),
       ARRAY(SELECT DISTINCT d.datname::text FROM pg_shdepend s
             JOIN pg_database d ON d.oid = CASE WHEN s.dbid <> 0 THEN s.dbid
                                                WHEN s.classid = 'pg_database'::regclass THEN s.objid END
             WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'),
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid
             GROUP BY 1 HAVING bool_and(m.admin_option AND NOT m.inherit_option AND NOT m.set_option))
FROM pg_authid r WHERE r.rolname !~ '^pg_'
"""

_DATABASES = """
SELECT d.datname, pg_get_userbyid(d.datdba),
       EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0),
       ARRAY(SELECT g.rolname::text FROM aclexplode(d.datacl) a JOIN pg_roles g ON g.oid = a.grantee
             WHERE a.privilege_type = 'CONNECT')
FROM pg_database d
"""

_SCHEMAS = """
SELECT n.nspname, pg_get_userbyid(n.nspowner),
       EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'),
       ARRAY(SELECT g.rolname::text FROM aclexplode(n.nspacl) a JOIN pg_roles g ON g.oid = a.grantee
             WHERE a.privilege_type = 'USAGE')
FROM pg_namespace n WHERE n.nspname = ANY (%s::text[])
"""

_DEFAULTS = """
SELECT n.nspname, g.rolname, CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END,
       array_agg(a.privilege_type::text)
FROM pg_default_acl d
JOIN pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL aclexplode(d.defaclacl) a
JOIN pg_roles g ON g.oid = a.grantee
WHERE pg_get_userbyid(d.defaclrole) = %s AND g.rolname = ANY (%s::text[]) AND d.defaclobjtype IN ('r', 'S')
GROUP BY 1, 2, 3
"""

# A relation with a narrower grant than the default is a decision of a migration and is left alone.
_BARE = """
SELECT n.nspname, g.rolname, CASE c.relkind WHEN 'S' THEN 'SEQUENCES' ELSE 'TABLES' END,
       array_agg(c.relname::text ORDER BY c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_roles g
WHERE pg_get_userbyid(c.relowner) = %s AND g.rolname = ANY (%s::text[]) AND n.nspname = ANY (%s::text[])
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = g.oid)
  AND NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
GROUP BY 1, 2, 3
"""


class Connection(Protocol):
    """The part of psycopg2's connection that is used here."""

    autocommit: bool

    def cursor(self) -> Any: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


Connect = Callable[[str], Connection]


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Let peer authentication see another user: the kernel records the effective user id when a socket connects."""
    entry = pwd.getpwnam(user)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def connector(
    driver: Any, socket_directory: str, port: int, user: str = "postgres", options: str = QUIET_OPTIONS
) -> Connect:
    """A function that opens a session on the local socket as the operating system's user of the same name."""

    def connect(database: str) -> Connection:
        with acting_as(user):
            connection: Connection = driver.connect(
                host=socket_directory,
                port=port,
                user=user,
                dbname=database,
                application_name="signalbox",
                connect_timeout=10,
                options=options,
            )
        return connection

    return connect


@contextlib.contextmanager
def session(connect: Connect, database: str, autocommit: bool) -> Iterator[Any]:
    """A cursor; what it did is committed at the end, or statement by statement."""
    connection = connect(database)
    try:
        connection.autocommit = autocommit
        yield connection.cursor()
        if not autocommit:
            connection.commit()
    finally:
        connection.close()


class Catalogue:
    """Reads a server and changes it."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def _session(self, database: str, autocommit: bool = False) -> contextlib.AbstractContextManager[Any]:
        return session(self._connect, database, autocommit)

    def read(self, layout: Layout) -> ServerState:
        """What the server holds of all that the layout names."""
        with self._session(MAINTENANCE_DATABASE) as cursor:
            roles = {row[0]: _role(row) for row in _rows(cursor, _ROLES)}
            databases = {row[0]: row for row in _rows(cursor, _DATABASES)}
        wanted = {database.name: database for database in layout.databases if not database.absent}
        states: dict[str, DatabaseState] = {}
        for name, row in databases.items():
            inside: tuple[frozenset[str], Mapping[str, SchemaState]] = (frozenset(), {})
            if name in wanted or name == MAINTENANCE_DATABASE:
                inside = self._read_database(name, wanted.get(name))
            states[name] = DatabaseState(name, row[1], row[2], frozenset(row[3]), *inside)
        return ServerState(roles, states)

    def _read_database(
        self, name: str, wanted: WantedDatabase | None
    ) -> tuple[frozenset[str], Mapping[str, SchemaState]]:
        with self._session(name) as cursor:
            extensions = frozenset(row[0] for row in _rows(cursor, "SELECT extname::text FROM pg_extension"))
            if wanted is None:
                return extensions, {}
            groups, schemas = list(wanted.groups.values()), list(wanted.schemas)
            defaults = _rows(cursor, _DEFAULTS, (wanted.owner, groups))
            bare = _rows(cursor, _BARE, (wanted.owner, groups, schemas))
            found = _rows(cursor, _SCHEMAS, (schemas,))
        return extensions, {
            row[0]: SchemaState(
                row[1],
                row[2],
                frozenset(row[3]),
                {
                    (group, kind): frozenset(privileges)
                    for schema, group, kind, privileges in defaults
                    if schema == row[0]
                },
                {(group, kind): tuple(names) for schema, group, kind, names in bare if schema == row[0]},
            )
            for row in found
        }

    def carry_out(self, actions: Sequence[Action], done: list[str]) -> None:
        """Run the steps in order, neighbours of a database in one transaction; `done` grows by each committed batch."""
        for (database, transactional), batch in itertools.groupby(
            actions, key=lambda one: (one.database, one.transactional)
        ):
            descriptions: list[str] = []
            with self._session(database, autocommit=not transactional) as cursor:
                for action in batch:
                    # No parameters: the statement is complete, and a '%' in it stands for itself.
                    cursor.execute(action.statement)
                    descriptions.append(action.description)
            done.extend(descriptions)


def _rows(cursor: Any, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    cursor.execute(query, parameters or None)
    return list(cursor.fetchall())


def _role(row: tuple[Any, ...]) -> RoleState:
    return RoleState(
        name=row[0],
        login=row[1],
        connection_limit=row[2],
        inherit=row[3],
        verifier=row[4],
        powers=frozenset(row[5]),
        member_of=frozenset(row[6]),
        owns_in=frozenset(row[7]),
        administers=frozenset(row[8]),
    )
