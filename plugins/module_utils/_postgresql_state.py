# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PostgreSQL server holds, as far as a database layout needs it, and the steps that change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MAINTENANCE_DATABASE = "postgres"


@dataclass(frozen=True)
class RoleState:
    """pg_authid, pg_auth_members and pg_shdepend of one role."""

    name: str
    login: bool = True
    connection_limit: int = -1
    # Any of SUPERUSER, CREATEDB, CREATEROLE, REPLICATION, BYPASSRLS that the role has.
    powers: frozenset[str] = frozenset()
    inherit: bool = True
    verifier: str | None = field(default=None, repr=False)
    member_of: frozenset[str] = frozenset()
    # Of member_of, those it may only administer: ADMIN without INHERIT and SET.
    administers: frozenset[str] = frozenset()
    # Databases in which the role owns something, the database itself included.
    owns_in: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SchemaState:
    """One schema: its rights, and the relations of the owner that a group has no right on at all."""

    owner: str
    public_create: bool = False
    usage: frozenset[str] = frozenset()
    # (group, "TABLES" or "SEQUENCES") -> privileges granted by default on what the database's owner will create.
    default_privileges: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    # (group, "TABLES" or "SEQUENCES") -> names without any right.
    bare: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class DatabaseState:
    name: str
    owner: str
    # PUBLIC may connect or make temporary tables: PostgreSQL's default.
    public_access: bool = True
    connect: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    schemas: Mapping[str, SchemaState] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerState:
    roles: Mapping[str, RoleState] = field(default_factory=dict)
    databases: Mapping[str, DatabaseState] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One statement and what it does in words. The statement may hold a verifier, the description never does."""

    description: str
    statement: str = field(repr=False)
    database: str = MAINTENANCE_DATABASE
    # CREATE DATABASE and DROP DATABASE refuse to run inside a transaction.
    transactional: bool = True


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string constant (standard_conforming_strings is on since PostgreSQL 9.1)."""
    return "'" + text.replace("'", "''") + "'"
