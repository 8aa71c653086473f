# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What statements do to views, types, functions, sequences, indexes, schemas and grants."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import (
    VIEWS,
    Catalogue,
    Column,
    Function,
    Sequence_,
    Table,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_effects import Failures, on
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    bare,
    is_a,
    name_of,
    of_type,
    rendered,
)


def granted(catalogue: Catalogue, kind: str) -> set[tuple[str, str]]:
    return {(grantee, privilege) for _, of, grantee, privilege in catalogue.default_grants if of == kind}


def new_table(catalogue: Catalogue, name: str, kind: str = "r") -> Table:
    table = Table(catalogue.full(name), kind, new=True, grants=granted(catalogue, "r"))
    catalogue.tables[table.name] = table
    return table


def make_sequence(catalogue: Catalogue, name: str, owned_by: str = "") -> None:
    full = catalogue.full(name)
    catalogue.sequences[full] = Sequence_(full, owned_by, new=True, grants=granted(catalogue, "S"))


@on("create table as")
def _create_table_as(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.table(action.name) is not None and not action.tolerant:
        yield f"{catalogue.full(action.name)} is there already"
    else:
        new_table(catalogue, action.name).rows = -1


def _view(action: Action, catalogue: Catalogue, kind: str) -> Failures:
    old = catalogue.table(action.name)
    if old is not None and not action.more.get("replace"):
        if not action.tolerant:
            yield f"{old.name} is there already"
        return
    below = {catalogue.full(name_of(one)) for one in of_type(action.node, "RangeVar")}
    known = [catalogue.tables[name] for name in sorted(below) if name in catalogue.tables]
    words = {str(part.sval) for one in of_type(action.node, "ColumnRef") for part in one.fields if is_a(part, "String")}
    star = any(True for _ in of_type(action.node, "A_Star"))
    used = {(table.name, column) for table in known for column in table.columns if star or column in words}
    view = new_table(catalogue, action.name, kind)
    if old is not None:
        view.grants, view.new, view.owner = old.grants, False, old.owner
    view.definition = rendered(action.node)
    view.depends = frozenset(used | {(table.name, "") for table in known})
    for target in getattr(action.node, "targetList", None) or ():
        for name in _target_names(target, known):
            types = [table.columns[name].type for table in known if name in table.columns]
            view.columns[name] = Column(name, types[0] if types else "")


def _target_names(target: Any, known: list[Table]) -> list[str]:
    if target.name:
        return [str(target.name)]
    if is_a(target.val, "ColumnRef"):
        last = target.val.fields[-1]
        if is_a(last, "A_Star"):
            return [column for table in known for column in table.columns]
        return [str(last.sval)]
    return [bare(name_of(target.val.funcname))] if is_a(target.val, "FuncCall") else []


on("create view")(lambda action, catalogue: _view(action, catalogue, "v"))
on("create matview")(lambda action, catalogue: _view(action, catalogue, "m"))


def drop_relation(action: Action, catalogue: Catalogue, kinds: tuple[str, ...]) -> Failures:
    table = catalogue.table(action.name)
    if table is None:
        if catalogue.known and not action.tolerant:
            yield f"there is no {catalogue.full(action.name)}"
        return
    views = [one for one in catalogue.views_on(table.name) if one.name != table.name]
    children = [one for one in catalogue.referenced_by(table.name) if one[0].name != table.name]
    if not action.cascade:
        for view in views:
            yield f"the view {view.name} uses {table.name}"
        for child, constraint in children:
            yield f"{constraint.name} of {child.name} references {table.name}"
        if views or children:
            return
    for child, constraint in children:
        child.constraints.pop(constraint.name, None)
    for one in [table, *catalogue.partitions(table.name)]:
        catalogue.tables.pop(one.name, None)
    for view in views:
        if view.name in catalogue.tables:
            yield from drop_relation(Action("drop view", view.name, cascade=True), catalogue, VIEWS)


on("drop table")(lambda action, catalogue: drop_relation(action, catalogue, ("r", "p", "f")))
on("drop view")(lambda action, catalogue: drop_relation(action, catalogue, VIEWS))


@on("drop index")
def _drop_index(action: Action, catalogue: Catalogue) -> Failures:
    table = catalogue.owner_of_index(action.name)
    if table is None:
        if catalogue.known and not action.tolerant:
            yield f"there is no index {action.name}"
        return
    name = bare(action.name)
    if any(one.index == name for one in table.constraints.values()):
        yield f"a constraint of {table.name} needs the index {name}"
        return
    table.indexes.pop(name)


@on("rename index")
def _rename_index(action: Action, catalogue: Catalogue) -> Failures:
    table = catalogue.owner_of_index(action.name)
    if table is None:
        if catalogue.known and not action.tolerant:
            yield f"there is no index {action.name}"
        return
    name = bare(action.name)
    index = table.indexes.pop(name)
    index.name = action.to
    table.indexes[action.to] = index
    for constraint in [one for one in table.constraints.values() if one.index == name]:
        table.constraints.pop(constraint.name)
        constraint.name = constraint.index = action.to
        table.constraints[action.to] = constraint


@on("create enum")
def _create_enum(action: Action, catalogue: Catalogue) -> Failures:
    name = bare(action.name)
    if name in catalogue.enums:
        yield f"there is a type {name} already"
    catalogue.enums[name] = [str(one.sval) for one in action.node.vals or ()]
    catalogue.new_enums.add(name)


@on("add value")
def _add_value(action: Action, catalogue: Catalogue) -> Failures:
    values = catalogue.enums.get(bare(action.name))
    if values is not None and action.to in values and not action.tolerant:
        yield f"{action.name} has a value {action.to} already"
    elif values is not None and action.to not in values:
        values.append(action.to)


@on("rename value")
def _rename_value(action: Action, catalogue: Catalogue) -> Failures:
    values = catalogue.enums.get(bare(action.name), [])
    if action.column not in values and catalogue.known:
        yield f"{action.name} has no value {action.column}"
    values[:] = [action.to if one == action.column else one for one in values]


@on("create function")
def _create_function(action: Action, catalogue: Catalogue) -> Failures:
    name = bare(action.name)
    catalogue.functions[name] = Function(name, action.more["volatility"], action.to)
    yield from ()


@on("drop function")
def _drop_function(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.functions.pop(bare(action.name), None) is None and catalogue.known and not action.tolerant:
        yield f"there is no function {action.name}"


@on("create sequence")
def _create_sequence(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.full(action.name) in catalogue.sequences and not action.tolerant:
        yield f"there is a sequence {action.name} already"
    elif catalogue.full(action.name) not in catalogue.sequences:
        make_sequence(catalogue, action.name)


def fed_by(name: str, catalogue: Catalogue) -> list[tuple[Table, Column]]:
    """Columns whose default takes numbers from a sequence."""
    return [
        (table, column)
        for table in catalogue.tables.values()
        for column in table.columns.values()
        if column.default and "nextval" in column.default and bare(name) in re.findall(r"\w+", column.default)
    ]


@on("drop sequence")
def _drop_sequence(action: Action, catalogue: Catalogue) -> Failures:
    name = catalogue.full(action.name)
    if name not in catalogue.sequences:
        if catalogue.known and not action.tolerant:
            yield f"there is no sequence {name}"
        return
    users = fed_by(name, catalogue)
    if users and not action.cascade:
        yield f"the default of {users[0][0].name}.{users[0][1].name} uses {name}"
        return
    catalogue.sequences.pop(name)
    for _, column in users:
        column.default = None


@on("rename sequence")
def _rename_sequence(action: Action, catalogue: Catalogue) -> Failures:
    sequence = catalogue.sequences.pop(catalogue.full(action.name), None)
    if sequence is None:
        if catalogue.known and not action.tolerant:
            yield f"there is no sequence {action.name}"
        return
    # Defaults follow it: they are the same as before, however they are printed.
    sequence.name = f"{sequence.name.rpartition('.')[0]}.{action.to}"
    catalogue.sequences[sequence.name] = sequence


@on("drop type")
def _drop_type(action: Action, catalogue: Catalogue) -> Failures:
    name = bare(action.name)
    for table in list(catalogue.tables.values()):
        for column in [one for one in table.columns.values() if bare(one.type).removesuffix("[]") == name]:
            if action.cascade:
                table.columns.pop(column.name)
            else:
                yield f"{table.name}.{column.name} is of the type {name}"
                return
    if (
        catalogue.enums.pop(name, None) is None
        and name not in catalogue.domains
        and catalogue.known
        and not action.tolerant
    ):
        yield f"the gate knows no type {name}"


@on("rename type")
def _rename_type(action: Action, catalogue: Catalogue) -> Failures:
    old = bare(action.name)
    if old in catalogue.enums:
        catalogue.enums[action.to] = catalogue.enums.pop(old)
    catalogue.renamed_types[action.to] = catalogue.type_before(old)
    if old in catalogue.new_enums:
        catalogue.new_enums.add(action.to)
    for table in catalogue.tables.values():
        for column in table.columns.values():
            if bare(column.type) == old:
                column.type = action.to
    yield from ()


@on("default privileges")
def _default_privileges(action: Action, catalogue: Catalogue) -> Failures:
    # What is granted by default from now on is not worked out; what is taken away counts as all.
    if not action.node.action.is_grant:
        catalogue.default_grants = ()
    yield from ()


@on("drop schema")
def _drop_schema(action: Action, catalogue: Catalogue) -> Failures:
    inside = [one for one in catalogue.tables if one.startswith(f"{action.name}.")]
    if action.name not in catalogue.schemas:
        if catalogue.known and not action.tolerant:
            yield f"there is no schema {action.name}"
    elif inside and not action.cascade:
        yield f"{inside[0]} is in the schema {action.name}"
    else:
        for one in inside:
            catalogue.tables.pop(one)
        catalogue.schemas.discard(action.name)


@on("create schema")
def _create_schema(action: Action, catalogue: Catalogue) -> Failures:
    if action.name in catalogue.schemas and not action.tolerant:
        yield f"there is a schema {action.name} already"
    catalogue.schemas.add(action.name)


_EVERY = frozenset({"select", "insert", "update", "delete", "truncate", "references", "trigger", "usage"})


def _subjects(action: Action, catalogue: Catalogue) -> list[Table | Sequence_]:
    """What a GRANT is about: one relation, or all of a schema."""
    if action.more["kind"] not in ("table", "sequence"):
        return []
    if action.more["all"]:
        known: dict[str, Table | Sequence_] = (
            {**catalogue.tables} if action.more["kind"] == "table" else {**catalogue.sequences}
        )
        return [one for name, one in known.items() if name.startswith(f"{action.name}.")]
    name = catalogue.full(action.name)
    found = catalogue.tables.get(name) or catalogue.sequences.get(name)
    return [found] if found is not None else []


def _grant(action: Action, catalogue: Catalogue) -> Failures:
    privileges = {one.lower() for one in action.more["privileges"]} or _EVERY
    pairs = {(role, privilege) for role in action.more["roles"] for privilege in privileges}
    for subject in _subjects(action, catalogue):
        subject.grants = subject.grants | pairs if action.verb == "grant" else subject.grants - pairs
    yield from ()


on("grant")(_grant)
on("revoke")(_grant)
