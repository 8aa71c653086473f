# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A live database as the migration gate sees it; pending statements are applied to it one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_types import canonical

VIEWS = ("v", "m")


@dataclass
class Column:
    name: str
    type: str
    not_null: bool = False
    default: str | None = None
    identity: bool = False
    generated: bool = False
    null_fraction: float | None = None
    # What it was called when the migration began; empty for what the migration made.
    origin: str = ""

    @property
    def fills_itself(self) -> bool:
        """Whether an insert may leave it out although it is NOT NULL."""
        return self.default is not None or self.identity or self.generated


@dataclass
class Constraint:
    name: str
    kind: str  # c check, f foreign key, p primary key, u unique, x exclusion
    columns: tuple[str, ...] = ()
    definition: str = ""
    valid: bool = True
    references: str = ""
    on_delete: str = "a"
    index: str = ""
    revision_made: bool = False


@dataclass
class Index:
    name: str
    columns: tuple[str, ...] = ()
    unique: bool = False
    plain: bool = True
    revision_made: bool = False


@dataclass
class Trigger:
    name: str
    function: str
    events: frozenset[str]
    enabled: bool = True


@dataclass
class Table:
    """A table, view or materialized view, by its full name. Rows below 0 are not known."""

    name: str
    kind: str = "r"
    owner: str = ""
    rows: int = 0
    bytes: int = 0
    new: bool = False
    parent: str = ""
    bound: str = ""
    partition_columns: tuple[str, ...] = ()
    row_security: bool = False
    definition: str = ""
    depends: frozenset[tuple[str, str]] = frozenset()
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    grants: set[tuple[str, str]] = field(default_factory=set)
    origin: str = ""

    def unique_keys(self) -> Iterator[tuple[str, ...]]:
        """Columns that are unique for all rows."""
        for index in self.indexes.values():
            if index.unique and index.plain:
                yield index.columns
        for constraint in self.constraints.values():
            if constraint.kind in "pu":
                yield constraint.columns


@dataclass
class Function:
    name: str
    volatility: str
    source: str = ""


@dataclass
class Sequence_:
    name: str
    owned_by: str = ""
    type: str = "bigint"
    new: bool = False
    grants: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Catalogue:
    version: int = 0
    timezone: str = ""
    search_path: tuple[str, ...] = ("public",)
    tables: dict[str, Table] = field(default_factory=dict)
    sequences: dict[str, Sequence_] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    new_enums: set[str] = field(default_factory=set)
    renamed_types: dict[str, str] = field(default_factory=dict)
    schemas: set[str] = field(default_factory=lambda: {"public"})
    volatile: frozenset[str] = frozenset()
    default_grants: tuple[tuple[str, str, str, str], ...] = ()
    memberships: tuple[tuple[str, str], ...] = ()
    known: bool = True

    def copy(self) -> Catalogue:
        return copy.deepcopy(self)

    def full(self, name: str) -> str:
        """The full name of a relation as SQL writes it; one that is not there gets the first schema."""
        if "." in name:
            return name
        for schema in self.search_path:
            if f"{schema}.{name}" in self.tables or f"{schema}.{name}" in self.sequences:
                return f"{schema}.{name}"
        return f"{(self.search_path or ('public',))[0]}.{name}"

    def table(self, name: str) -> Table | None:
        return self.tables.get(self.full(name))

    def type_before(self, name: str) -> str:
        """A type by the name that it had when the migration began."""
        return self.renamed_types.get(name, name)

    def owner_of_index(self, name: str) -> Table | None:
        bare = name.rpartition(".")[2]
        return next((table for table in self.tables.values() if bare in table.indexes), None)

    def partitions(self, name: str) -> list[Table]:
        """All below a partitioned table, however deep."""
        found: list[Table] = []
        for table in self.tables.values():
            if table.parent == name:
                found += [table, *self.partitions(table.name)]
        return found

    def views_on(self, name: str, column: str = "") -> list[Table]:
        """Views that use a relation, or one of its columns."""
        return [
            view
            for view in self.tables.values()
            if any(used == name and column in ("", of) for used, of in view.depends)
        ]

    def referenced_by(self, name: str) -> list[tuple[Table, Constraint]]:
        return [
            (table, constraint)
            for table in self.tables.values()
            for constraint in table.constraints.values()
            if constraint.kind == "f" and constraint.references == name
        ]

    def rows_of(self, table: Table) -> int:
        """Rows of a table with its partitions; below 0 where a part is not known."""
        parts = [table, *self.partitions(table.name)]
        return -1 if any(part.rows < 0 for part in parts) else sum(part.rows for part in parts)

    def bytes_of(self, table: Table) -> int:
        return sum(part.bytes for part in (table, *self.partitions(table.name)))

    def acting_as(self, role: str) -> set[str]:
        """A role with all that it takes rights from."""
        roles = {role, "public"}
        while True:
            more = {group for member, group in self.memberships if member in roles} - roles
            if not more:
                return roles
            roles |= more


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['schema']}.{row['name']}"


def _pairs(rows: Iterable[Sequence[str]] | None) -> set[tuple[str, str]]:
    return {(str(one), str(other)) for one, other in rows or ()}


def _table(row: Mapping[str, Any]) -> Table:
    return Table(
        name=_named(row),
        kind=row["kind"],
        owner=row["owner"],
        rows=int(row["rows"]),
        bytes=int(row["bytes"] or 0),
        parent=row["parent"] or "",
        bound=row["bound"] or "",
        partition_columns=tuple(row["partition_columns"] or ()),
        row_security=row["row_security"],
        definition=row["definition"] or "",
        depends=frozenset(_pairs(row["depends"])),
        columns={
            one["name"]: Column(
                one["name"],
                canonical(one["type"]),
                one["not_null"],
                one["default"] if not one["generated"] else None,
                one["identity"],
                one["generated"],
                one["null_fraction"],
                one["name"],
            )
            for one in row["columns"] or ()
        },
        constraints={
            one["name"]: Constraint(
                one["name"],
                one["kind"],
                tuple(one["columns"] or ()),
                one["definition"],
                one["valid"],
                one["references"] or "",
                (one["on_delete"] or "a").strip() or "a",
                one["index"] or "",
            )
            for one in row["constraints"] or ()
        },
        indexes={
            one["name"]: Index(one["name"], tuple(one["columns"] or ()), one["unique"], one["plain"])
            for one in row["indexes"] or ()
            if one["valid"]
        },
        triggers={
            one["name"]: Trigger(one["name"], one["function"], frozenset(one["events"]), one["enabled"])
            for one in row["triggers"] or ()
        },
        grants=_pairs(row["grants"]),
        origin=_named(row),
    )


def catalogue_of(data: Mapping[str, Any]) -> Catalogue:
    """The answer of the database in one structure."""
    return Catalogue(
        version=int(data["version"]),
        timezone=data["timezone"],
        search_path=tuple(data["search_path"] or ("public",)),
        tables={_named(row): _table(row) for row in data["tables"]},
        sequences={
            _named(row): Sequence_(_named(row), row["owned_by"] or "", row["type"], grants=_pairs(row["grants"]))
            for row in data["sequences"]
        },
        functions={
            row["name"]: Function(row["name"], row["volatility"], row["source"] or "") for row in data["functions"]
        },
        enums={row["name"]: list(row["values"] or ()) for row in data["enums"]},
        domains=set(data["domains"]),
        schemas=set(data["schemas"] or ()),
        volatile=frozenset(data["volatile"] or ()),
        default_grants=tuple((one[0], one[1], one[2], one[3]) for one in data["default_grants"]),
        memberships=tuple((one[0], one[1]) for one in data["memberships"]),
    )
