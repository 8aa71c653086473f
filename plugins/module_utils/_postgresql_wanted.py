# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database layout that is asked for: parsed from plain data, with every mistake named at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PASSWORD_MINIMUM = 16
STATISTICS_EXTENSION = "pg_stat_statements"

# Lower case only: such names need no quotes anywhere. 63 bytes is NAMEDATALEN - 1; groups add a suffix of up to 5.
_NAME = re.compile(r"^[a-z_][a-z0-9_]{0,57}$")
_EXTENSION = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_PROTECTED_DATABASES = ("postgres", "template0", "template1")


class LayoutError(Exception):
    """A layout that cannot be, with one sentence per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Login:
    """A login role of one database; its rights come from a group role alone."""

    name: str
    access: str = "app"
    connection_limit: int = -1
    absent: bool = False


@dataclass(frozen=True)
class WantedDatabase:
    name: str
    owner: str
    owner_connection_limit: int = -1
    extensions: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ("public",)
    logins: tuple[Login, ...] = ()
    absent: bool = False
    confirm: str = ""

    @property
    def groups(self) -> dict[str, str]:
        """Access -> group role."""
        return {"app": f"{self.name}_app", "read": f"{self.name}_read"}


@dataclass(frozen=True)
class ServerRole:
    """A login role that is not bound to one database: monitoring, checks."""

    name: str
    member_of: tuple[str, ...] = ()
    databases: tuple[str, ...] = ("postgres",)
    connection_limit: int = -1
    absent: bool = False


@dataclass(frozen=True)
class Rotator:
    """The login of whoever sets the passwords of owners and logins from outside: Vault."""

    name: str
    connection_limit: int = 10


@dataclass(frozen=True)
class Layout:
    databases: tuple[WantedDatabase, ...] = ()
    roles: tuple[ServerRole, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    rotator: Rotator | None = None

    def database_logins(self) -> Iterator[str]:
        """Owners and logins of the databases: those whose passwords a rotator sets."""
        for database in self.databases:
            if not database.absent:
                yield database.owner
                yield from (login.name for login in database.logins if not login.absent)

    def login_names(self) -> Iterator[str]:
        """Every role that is to be able to log in."""
        yield from self.database_logins()
        yield from (role.name for role in self.roles if not role.absent)
        if self.rotator is not None:
            yield self.rotator.name


def _login(raw: Mapping[str, Any]) -> Login:
    return Login(
        name=str(raw["name"]),
        access=str(raw.get("access") or "app"),
        connection_limit=_limit(raw.get("connection_limit")),
        absent=raw.get("state") == "absent",
    )


def _limit(value: Any) -> int:
    return -1 if value is None else int(value)


def _database(raw: Mapping[str, Any]) -> WantedDatabase:
    name = str(raw["name"])
    return WantedDatabase(
        name=name,
        owner=str(raw.get("owner") or f"{name}_owner"),
        owner_connection_limit=_limit(raw.get("owner_connection_limit")),
        extensions=tuple(dict.fromkeys([STATISTICS_EXTENSION, *(raw.get("extensions") or [])])),
        schemas=tuple(raw.get("schemas") or ["public"]),
        logins=tuple(_login(login) for login in raw.get("logins") or []),
        absent=raw.get("state") == "absent",
        confirm=str(raw.get("confirm") or ""),
    )


def _role(raw: Mapping[str, Any]) -> ServerRole:
    return ServerRole(
        name=str(raw["name"]),
        member_of=tuple(raw.get("member_of") or []),
        databases=tuple(raw.get("databases") or ["postgres"]),
        connection_limit=_limit(raw.get("connection_limit")),
        absent=raw.get("state") == "absent",
    )


def _rotator(raw: Mapping[str, Any] | None) -> Rotator | None:
    return Rotator(str(raw["name"])) if raw and raw.get("name") else None


def parse(
    databases: Sequence[Mapping[str, Any]],
    roles: Sequence[Mapping[str, Any]],
    passwords: Mapping[str, str],
    rotator: Mapping[str, Any] | None = None,
) -> Layout:
    """Make a layout of plain data, or raise LayoutError with all problems."""
    nameless = [
        f"{path}[{index}].name: is missing"
        for path, entries in (("databases", databases), ("roles", roles))
        for index, entry in enumerate(entries)
        if not entry.get("name")
    ]
    if nameless:
        raise LayoutError(nameless)
    known = _rotator(rotator)
    secret = {known.name: str(rotator["password"])} if known and rotator and rotator.get("password") else {}
    layout = Layout(tuple(map(_database, databases)), tuple(map(_role, roles)), {**passwords, **secret}, known)
    found = problems(layout)
    if found:
        raise LayoutError(found)
    return layout


def _name_problem(path: str, name: str) -> Iterator[str]:
    if not _NAME.match(name):
        yield f"{path}: '{name}' must be lower-case letters, digits and '_', at most 58, and begin with no digit"
    elif name.startswith("pg_") or name in ("postgres", "public"):
        yield f"{path}: '{name}' is PostgreSQL's own; choose another name"


def _database_problems(database: WantedDatabase) -> Iterator[str]:
    path = f"databases.{database.name}"
    if database.name in _PROTECTED_DATABASES:
        yield f"{path}: is PostgreSQL's own; choose another name"
    else:
        yield from _name_problem(path, database.name)
    yield from _name_problem(f"{path}.owner", database.owner)
    for schema in database.schemas:
        if schema != "public":
            yield from _name_problem(f"{path}.schemas", schema)
    for extension in database.extensions:
        if not _EXTENSION.match(extension):
            yield f"{path}.extensions: '{extension}' is no name of an extension"
    for login in database.logins:
        yield from _name_problem(f"{path}.logins", login.name)
        if login.access not in database.groups:
            yield f"{path}.logins.{login.name}.access: is '{login.access}', and must be app or read"
    if database.absent and database.confirm not in ("", database.name):
        yield f"{path}.confirm: is '{database.confirm}'; only the database's own name confirms that its data is dropped"
    if database.confirm and not database.absent:
        yield f"{path}.confirm: belongs to state absent; remove it"


def _duplicates(layout: Layout) -> Iterator[str]:
    owners = [database.owner for database in layout.databases]
    groups = [group for database in layout.databases for group in database.groups.values()]
    logins = [login.name for database in layout.databases for login in database.logins]
    names = owners + groups + logins + [role.name for role in layout.roles]
    names += [layout.rotator.name] if layout.rotator else []
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"role '{name}' is used more than once; every owner, group, login and role needs a name of its own"
    databases = [database.name for database in layout.databases]
    for name in sorted({name for name in databases if databases.count(name) > 1}):
        yield f"databases.{name}: is declared more than once"


def problems(layout: Layout) -> list[str]:
    """Every mistake of a layout, one sentence each; no secret is in any of them."""
    found = [problem for database in layout.databases for problem in _database_problems(database)]
    for role in layout.roles:
        found.extend(_name_problem(f"roles.{role.name}", role.name))
    if layout.rotator is not None:
        found.extend(_name_problem("rotator", layout.rotator.name))
        found.extend(
            f"passwords.{name}: is set by the rotator {layout.rotator.name}; remove it here"
            for name in sorted(set(layout.database_logins()) & set(layout.passwords))
        )
    found.extend(_duplicates(layout))
    known = set(layout.login_names())
    for name, password in sorted(layout.passwords.items()):
        if len(password) < PASSWORD_MINIMUM:
            found.append(f"passwords.{name}: has fewer than {PASSWORD_MINIMUM} characters; generate a longer one")
        elif "\0" in password:
            found.append(f"passwords.{name}: holds a NUL character, which PostgreSQL refuses")
        if name not in known:
            found.append(
                f"passwords.{name}: no owner, login or role of this name is declared; remove it or declare the role"
            )
    return found
