# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what a PostgreSQL server holds and what is asked for to the list of steps in between.

Per database: an owner role that migrates, a group role with the rights of an application, one with the rights of a
reader, and login roles that are members of exactly one group. Nothing is dropped unless its entry says `absent`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_removal import refuse_unsafe, removals
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import (
    Action,
    DatabaseState,
    SchemaState,
    ServerState,
    literal,
    quoted,
)
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import (
    STATISTICS_EXTENSION,
    Layout,
    ServerRole,
    WantedDatabase,
)
from ansible_collections.signalbox.platform.plugins.module_utils._scram import make_verifier, password_matches

VerifierMaker = Callable[[str], str]

# Manual 5.8 "Privileges". TRUNCATE, REFERENCES and TRIGGER are no part of DML.
PRIVILEGES: dict[tuple[str, str], tuple[str, ...]] = {
    ("app", "TABLES"): ("SELECT", "INSERT", "UPDATE", "DELETE"),
    ("app", "SEQUENCES"): ("USAGE", "SELECT", "UPDATE"),
    ("read", "TABLES"): ("SELECT",),
    ("read", "SEQUENCES"): ("SELECT",),
}


def _new_verifier(password: str) -> str:
    return str(make_verifier(password))


def plan(current: ServerState, wanted: Layout, verifier: VerifierMaker = _new_verifier) -> list[Action]:
    """The steps from current to wanted, in an order that works. Raises LayoutError where a step would do harm."""
    refuse_unsafe(current, wanted)
    actions: list[Action] = []
    present = [database for database in wanted.databases if not database.absent]
    for database in present:
        actions.extend(_database_roles(current, database))
    for role in wanted.roles:
        if not role.absent:
            actions.extend(_server_role(current, role))
    actions.extend(_rotator(current, wanted))
    actions.extend(_passwords(current, wanted, verifier))
    for database in present:
        actions.extend(_database(current, database))
    actions.extend(_shared_rights(current, wanted))
    for database in present:
        actions.extend(_inside(current.databases.get(database.name), database))
    actions.extend(_statistics(current))
    actions.extend(removals(current, wanted))
    return actions


def _attributes(login: bool, connection_limit: int, powers: frozenset[str]) -> str:
    return (
        f"{'LOGIN' if login else 'NOLOGIN'} INHERIT NOSUPERUSER NOCREATEDB "
        f"{'CREATEROLE' if 'CREATEROLE' in powers else 'NOCREATEROLE'} NOREPLICATION NOBYPASSRLS "
        f"CONNECTION LIMIT {connection_limit}"
    )


def _role(
    current: ServerState, name: str, login: bool, connection_limit: int = -1, powers: frozenset[str] = frozenset()
) -> Iterator[Action]:
    state, attributes = current.roles.get(name), _attributes(login, connection_limit, powers)
    if state is None:
        kind = "login role" if login else "group role"
        yield Action(f"create {kind} {name}", f"CREATE ROLE {quoted(name)} {attributes}")
        return
    changes = [f"take {power}" for power in sorted(state.powers - powers)]
    changes += [f"give {power}" for power in sorted(powers - state.powers)]
    if state.login != login:
        changes.append("let it log in" if login else "forbid it to log in")
    if not state.inherit:
        changes.append("let it inherit")
    if state.connection_limit != connection_limit:
        changes.append(f"connection limit {state.connection_limit} -> {connection_limit}")
    if changes:
        yield Action(
            f"alter role {name}: {', '.join(changes)}",
            f"ALTER ROLE {quoted(name)} {attributes}",
        )


def _membership(current: ServerState, name: str, groups: Sequence[str]) -> Iterator[Action]:
    state = current.roles.get(name)
    have: frozenset[str] = state.member_of if state else frozenset()
    for group in sorted(have - set(groups)):
        yield Action(f"revoke {group} from {name}", f"REVOKE {quoted(group)} FROM {quoted(name)}")
    for group in groups:
        if group not in have:
            # SET FALSE: the rights are inherited, the role itself cannot be put on.
            yield Action(
                f"grant {group} to {name}", f"GRANT {quoted(group)} TO {quoted(name)} WITH INHERIT TRUE, SET FALSE"
            )


def _database_roles(current: ServerState, database: WantedDatabase) -> Iterator[Action]:
    yield from _role(current, database.owner, True, database.owner_connection_limit)
    for group in database.groups.values():
        yield from _role(current, group, False)
    for login in database.logins:
        if not login.absent:
            yield from _role(current, login.name, True, login.connection_limit)
            yield from _membership(current, login.name, [database.groups[login.access]])


def _server_role(current: ServerState, role: ServerRole) -> Iterator[Action]:
    yield from _role(current, role.name, True, role.connection_limit)
    yield from _membership(current, role.name, role.member_of)


def _rotator(current: ServerState, wanted: Layout) -> Iterator[Action]:
    """It sets the passwords of the databases' logins and can do nothing else with them: not be them, not read for "
    "them."""
    if wanted.rotator is None:
        return
    name, managed = wanted.rotator.name, set(wanted.database_logins())
    yield from _role(current, name, True, wanted.rotator.connection_limit, frozenset({"CREATEROLE"}))
    state = current.roles.get(name)
    for role in sorted((state.member_of if state else frozenset()) - managed):
        yield Action(f"revoke {role} from {name}", f"REVOKE {quoted(role)} FROM {quoted(name)}")
    for role in sorted(managed - (state.administers if state else frozenset())):
        yield Action(
            f"let {name} set the password of {role}",
            f"GRANT {quoted(role)} TO {quoted(name)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        )


def _passwords(current: ServerState, wanted: Layout, verifier: VerifierMaker) -> Iterator[Action]:
    for name in wanted.login_names():
        password = wanted.passwords.get(name)
        state = current.roles.get(name)
        if password is None or password_matches(password, state.verifier if state else None):
            continue
        yield Action(f"set the password of {name}", f"ALTER ROLE {quoted(name)} PASSWORD {literal(verifier(password))}")


def _database(current: ServerState, database: WantedDatabase) -> Iterator[Action]:
    state = current.databases.get(database.name)
    name, owner = quoted(database.name), quoted(database.owner)
    if state is None:
        yield Action(f"create database {database.name}", f"CREATE DATABASE {name} OWNER {owner}", transactional=False)
    elif state.owner != database.owner:
        yield Action(
            f"make {database.owner} the owner of database {database.name}", f"ALTER DATABASE {name} OWNER TO {owner}"
        )
    if state is None or state.public_access:
        yield _close(database.name)
    for group in database.groups.values():
        if state is None or group not in state.connect:
            yield _connect(database.name, group)


def _close(database: str) -> Action:
    return Action(
        f"revoke connect and temporary on database {database} from everybody",
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {quoted(database)} FROM PUBLIC",
    )


def _connect(database: str, role: str) -> Action:
    return Action(
        f"grant connect on database {database} to {role}",
        f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(role)}",
    )


def _shared_rights(current: ServerState, wanted: Layout) -> Iterator[Action]:
    for name in ("postgres", "template1"):
        state = current.databases.get(name)
        if state is not None and state.public_access:
            yield _close(name)
    connections = [(role.name, name) for role in wanted.roles if not role.absent for name in role.databases]
    connections += [(wanted.rotator.name, "postgres")] if wanted.rotator else []
    for role_name, name in connections:
        state = current.databases.get(name)
        if state is None or role_name not in state.connect:
            yield _connect(name, role_name)


def _statistics(current: ServerState) -> Iterator[Action]:
    state = current.databases.get("postgres")
    if state is not None and STATISTICS_EXTENSION not in state.extensions:
        yield Action(
            f"create extension {STATISTICS_EXTENSION} in postgres",
            f"CREATE EXTENSION {quoted(STATISTICS_EXTENSION)}",
            "postgres",
        )


def _inside(state: DatabaseState | None, database: WantedDatabase) -> Iterator[Action]:
    for name in database.schemas:
        schema = state.schemas.get(name) if state else None
        if schema is None and state is None and name == "public":
            # A new database has it from template1: owned by pg_database_owner, closed to PUBLIC since PostgreSQL 15.
            schema = SchemaState(owner="pg_database_owner")
        yield from _schema(schema, database, name)
    for extension in database.extensions:
        if state is None or extension not in state.extensions:
            yield Action(
                f"create extension {extension} in {database.name}",
                f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} CASCADE",
                database.name,
            )


def _schema(state: SchemaState | None, database: WantedDatabase, name: str) -> Iterator[Action]:
    schema, owner, where = quoted(name), quoted(database.owner), f"{database.name}.{name}"
    if state is None:
        yield Action(f"create schema {where}", f"CREATE SCHEMA {schema} AUTHORIZATION {owner}", database.name)
    elif state.owner not in (database.owner, "pg_database_owner"):
        yield Action(
            f"make {database.owner} the owner of schema {where}",
            f"ALTER SCHEMA {schema} OWNER TO {owner}",
            database.name,
        )
    if state is not None and state.public_create:
        yield Action(
            f"revoke create on schema {where} from everybody",
            f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
            database.name,
        )
    for access, group in database.groups.items():
        if state is None or group not in state.usage:
            yield Action(
                f"grant usage on schema {where} to {group}",
                f"GRANT USAGE ON SCHEMA {schema} TO {quoted(group)}",
                database.name,
            )
        for kind in ("TABLES", "SEQUENCES"):
            yield from _privileges(state, database, name, access, kind)


def _privileges(
    state: SchemaState | None, database: WantedDatabase, schema: str, access: str, kind: str
) -> Iterator[Action]:
    group, privileges = database.groups[access], PRIVILEGES[(access, kind)]
    listed, where = ", ".join(privileges), f"{database.name}.{schema}"
    have: frozenset[str] = state.default_privileges.get((group, kind), frozenset()) if state else frozenset()
    if not set(privileges) <= have:
        yield Action(
            f"grant {listed.lower()} on future {kind.lower()} of {where} to {group}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(database.owner)} IN SCHEMA {quoted(schema)} "
            f"GRANT {listed} ON {kind} TO {quoted(group)}",
            database.name,
        )
    for relation in state.bare.get((group, kind), ()) if state else ():
        yield Action(
            f"grant {listed.lower()} on {where}.{relation} to {group}",
            f"GRANT {listed} ON {kind[:-1]} {quoted(schema)}.{quoted(relation)} TO {quoted(group)}",
            database.name,
        )
