# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps that take roles and databases away, and the conditions under which none is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_state import (
    Action,
    RoleState,
    ServerState,
    literal,
    quoted,
)
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import (
    Layout,
    LayoutError,
    Login,
    WantedDatabase,
)


def _absent_logins(wanted: Layout) -> Iterator[tuple[WantedDatabase, Login]]:
    for database in wanted.databases:
        for login in database.logins:
            if database.absent or login.absent:
                yield database, login


def refuse_unsafe(current: ServerState, wanted: Layout) -> None:
    """Raise LayoutError where a role to drop owns something, or a superuser would lose its power."""
    found = [
        f"role {name} is to be dropped and owns objects in {', '.join(sorted(state.owns_in))}: "
        f"give them to another role first (REASSIGN OWNED BY {name} TO ...)"
        for name in [login.name for _database, login in _absent_logins(wanted)]
        + [r.name for r in wanted.roles if r.absent]
        for state in [current.roles.get(name)]
        if state is not None and state.owns_in
    ]
    for database in wanted.databases:
        owner = current.roles.get(database.owner)
        others = sorted(owner.owns_in - {database.name}) if owner and database.absent and database.confirm else []
        if others:
            found.append(
                f"role {database.owner} is to be dropped and owns objects in {', '.join(others)} too: "
                "give them away first"
            )
    found.extend(
        f"role {name} is a superuser, and this layout would take that from it: choose another name"
        for name in sorted(set(wanted.login_names()))
        if name in current.roles and "SUPERUSER" in current.roles[name].powers
    )
    if found:
        raise LayoutError(found)


def _drop_role(state: RoleState, databases: Sequence[str]) -> Iterator[Action]:
    if state.login:
        # Committed by itself: a client that reconnects between the two steps must find the door closed.
        yield Action(f"forbid {state.name} to log in", f"ALTER ROLE {quoted(state.name)} NOLOGIN", transactional=False)
    yield Action(
        f"end the sessions of {state.name}",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal(state.name)}",  # noqa: S608 - quoted
    )
    for database in databases:
        # The role owns nothing (checked before), so this only takes back what it was granted.
        yield Action(
            f"revoke the rights of {state.name} in {database}", f"DROP OWNED BY {quoted(state.name)}", database
        )
    yield Action(f"drop role {state.name}", f"DROP ROLE {quoted(state.name)}")


def removals(current: ServerState, wanted: Layout) -> Iterator[Action]:
    """What goes, logins before databases before owners."""
    for database, login in _absent_logins(wanted):
        if login.name in current.roles:
            where = [database.name] if database.name in current.databases else []
            yield from _drop_role(current.roles[login.name], where)
    for role in wanted.roles:
        if role.absent and role.name in current.roles:
            yield from _drop_role(
                current.roles[role.name], [name for name in role.databases if name in current.databases]
            )
    for database in wanted.databases:
        if database.absent:
            yield from _database_removal(current, database)


def _database_removal(current: ServerState, database: WantedDatabase) -> Iterator[Action]:
    owner = current.roles.get(database.owner)
    if not database.confirm:
        if owner is not None and owner.login:
            yield Action(
                f"forbid role {owner.name} to log in; database {database.name} is kept",
                f"ALTER ROLE {quoted(owner.name)} NOLOGIN",
            )
        return
    if database.name in current.databases:
        yield Action(
            f"drop database {database.name} with its data",
            f"DROP DATABASE {quoted(database.name)} WITH (FORCE)",
            transactional=False,
        )
    for name in [*database.groups.values(), database.owner]:
        if name in current.roles:
            yield from _drop_role(current.roles[name], [])
