# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies pending statements to the catalogue, so that each is judged by what those before it left; tells which fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action, Check, NewColumn
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import (
    VIEWS,
    Catalogue,
    Column,
    Constraint,
    Function,
    Index,
    Sequence_,
    Table,
    Trigger,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import bare, is_a, name_of, of_type, rendered

Failures = Iterator[str]
_TO_NAMED_TABLE: dict[str, Callable[[Action, Catalogue, Table], Failures]] = {}
_OTHERS: dict[str, Callable[[Action, Catalogue], Failures]] = {}


def _table(verb: str) -> Callable[[Callable[[Action, Catalogue, Table], Failures]], None]:
    def keep(function: Callable[[Action, Catalogue, Table], Failures]) -> None:
        _TO_NAMED_TABLE[verb] = function

    return keep


def _other(verb: str) -> Callable[[Callable[[Action, Catalogue], Failures]], None]:
    def keep(function: Callable[[Action, Catalogue], Failures]) -> None:
        _OTHERS[verb] = function

    return keep


def apply(action: Action, catalogue: Catalogue) -> list[str]:
    """Change the catalogue as the statement would; reasons why the statement fails."""
    if action.verb in _TO_NAMED_TABLE:
        table = catalogue.table(action.name)
        if table is None:
            known = catalogue.known and not action.tolerant
            return [f"there is no table {catalogue.full(action.name)}"] if known else []
        return list(_TO_NAMED_TABLE[action.verb](action, catalogue, table))
    if action.verb in _OTHERS:
        return list(_OTHERS[action.verb](action, catalogue))
    return []


def _column_of(new: NewColumn) -> Column:
    return Column(new.name, new.type, new.not_null, new.default, new.identity, bool(new.generated))


def _constraint_of(check: Check, catalogue: Catalogue) -> Constraint:
    return Constraint(
        check.name,
        check.kind,
        check.columns,
        f"CHECK ({check.definition})" if check.kind == "c" else "",
        check.valid,
        catalogue.full(check.references) if check.references else "",
        check.on_delete,
        check.using_index or (check.name if check.kind in "pux" else ""),
        revision_made=True,
    )


def add_constraint(check: Check, table: Table, catalogue: Catalogue) -> None:
    constraint = _constraint_of(check, catalogue)
    if check.using_index and check.using_index in table.indexes:
        index = table.indexes.pop(check.using_index)
        index.name, constraint.columns = check.name, index.columns
        constraint.index = check.name
        table.indexes[check.name] = index
    elif check.kind in "pux":
        table.indexes[check.name] = Index(check.name, check.columns, check.kind in "pu", revision_made=True)
    table.constraints[check.name] = constraint
    if check.kind == "p":
        for name in constraint.columns:
            if name in table.columns:
                table.columns[name].not_null = True


def _granted(catalogue: Catalogue, kind: str) -> set[tuple[str, str]]:
    return {(grantee, privilege) for _, of, grantee, privilege in catalogue.default_grants if of == kind}


def _new(catalogue: Catalogue, name: str, kind: str = "r") -> Table:
    table = Table(catalogue.full(name), kind, new=True, grants=_granted(catalogue, "r"))
    catalogue.tables[table.name] = table
    return table


def _make_sequence(catalogue: Catalogue, name: str, owned_by: str = "") -> None:
    full = catalogue.full(name)
    catalogue.sequences[full] = Sequence_(full, owned_by, True, _granted(catalogue, "S"))


@_other("create table")
def _create_table(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.table(action.name) is not None:
        if not action.tolerant:
            yield f"{catalogue.full(action.name)} is there already"
        return
    table = _new(catalogue, action.name)
    parent = catalogue.table(action.to) if action.to else None
    if parent is not None:
        table.parent, table.columns = parent.name, {name: Column(**vars(one)) for name, one in parent.columns.items()}
        table.grants = table.grants | parent.grants
    for new in action.columns:
        table.columns[new.name] = _column_of(new)
        if new.serial:
            _make_sequence(catalogue, f"{table.name}_{new.name}_seq", f"{table.name}.{new.name}")
    for check in action.constraints:
        add_constraint(check, table, catalogue)


@_other("create table as")
def _create_table_as(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.table(action.name) is not None and not action.tolerant:
        yield f"{catalogue.full(action.name)} is there already"
    else:
        _new(catalogue, action.name).rows = -1


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
    view = _new(catalogue, action.name, kind)
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


_other("create view")(lambda action, catalogue: _view(action, catalogue, "v"))
_other("create matview")(lambda action, catalogue: _view(action, catalogue, "m"))


def _drop(action: Action, catalogue: Catalogue, kinds: tuple[str, ...]) -> Failures:
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
            yield from _drop(Action("drop view", view.name, cascade=True), catalogue, VIEWS)


_other("drop table")(lambda action, catalogue: _drop(action, catalogue, ("r", "p", "f")))
_other("drop view")(lambda action, catalogue: _drop(action, catalogue, VIEWS))


@_table("add column")
def _add_column(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    new = action.new
    assert new is not None
    if new.name in table.columns:
        if not action.tolerant:
            yield f"{table.name} has a column {new.name} already"
        return
    for one in (table, *catalogue.partitions(table.name)):
        one.columns[new.name] = _column_of(new)
    if new.serial:
        _make_sequence(catalogue, f"{table.name}_{new.name}_seq", f"{table.name}.{new.name}")
    for check in new.constraints:
        add_constraint(check, table, catalogue)


def _missing(action: Action, catalogue: Catalogue, table: Table) -> str:
    if action.column in table.columns or not table.columns or not catalogue.known or action.tolerant:
        return ""
    return f"{table.name} has no column {action.column}"


@_table("drop column")
def _drop_column(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    missing = _missing(action, catalogue, table)
    if missing:
        yield missing
        return
    views = catalogue.views_on(table.name, action.column)
    if views and not action.cascade:
        for view in views:
            yield f"the view {view.name} uses {table.name}.{action.column}"
        return
    for view in views:
        yield from _drop(Action("drop view", view.name, cascade=True), catalogue, VIEWS)
    for one in (table, *catalogue.partitions(table.name)):
        one.columns.pop(action.column, None)
        one.indexes = {name: index for name, index in one.indexes.items() if action.column not in index.columns}
        one.constraints = {name: check for name, check in one.constraints.items() if action.column not in check.columns}


@_table("alter type")
def _alter_type(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    missing = _missing(action, catalogue, table)
    if missing:
        yield missing
        return
    column = table.columns.get(action.column)
    if column is None or column.type == action.to:
        return
    for view in catalogue.views_on(table.name, action.column):
        yield f"the view {view.name} uses {table.name}.{action.column}, whose type cannot change under it"
    column.type = action.to


@_table("set not null")
def _set_not_null(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    missing = _missing(action, catalogue, table)
    if missing:
        yield missing
    column = table.columns.get(action.column)
    if column is not None:
        if (column.null_fraction or 0) > 0 and not column.not_null:
            yield f"{table.name}.{action.column} is NULL in about {column.null_fraction:.0%} of the rows"
        column.not_null = True


@_table("drop not null")
def _drop_not_null(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].not_null = False


@_table("set default")
def _set_default(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].default = action.to


@_table("drop default")
def _drop_default(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].default = None
        table.columns[action.column].identity = False


@_table("add identity")
def _add_identity(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].identity = True


@_table("add constraint")
def _add_constraint(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    check = action.check
    assert check is not None
    if check.name in table.constraints:
        yield f"{table.name} has a constraint {check.name} already"
        return
    if check.using_index and check.using_index not in table.indexes:
        yield f"{table.name} has no valid index {check.using_index}"
    if check.references and catalogue.table(check.references) is None and catalogue.known:
        yield f"there is no table {catalogue.full(check.references)}"
    for name in check.columns:
        if table.columns and name not in table.columns and check.kind != "c":
            yield f"{table.name} has no column {name}"
    add_constraint(check, table, catalogue)


@_table("validate constraint")
def _validate(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    constraint = table.constraints.get(action.column)
    if constraint is None:
        yield f"{table.name} has no constraint {action.column}"
    else:
        constraint.valid = True


@_table("drop constraint")
def _drop_constraint(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    constraint = table.constraints.get(action.column)
    if constraint is None:
        if not action.tolerant and catalogue.known:
            yield f"{table.name} has no constraint {action.column}"
        return
    if constraint.kind in "pu":
        for child, foreign in catalogue.referenced_by(table.name):
            others = [key for key in table.unique_keys() if set(key) != set(constraint.columns)]
            if not action.cascade and not others:
                yield f"{foreign.name} of {child.name} depends on {action.column}"
        table.indexes.pop(constraint.index, None)
    table.constraints.pop(action.column)


@_table("rename constraint")
def _rename_constraint(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    constraint = table.constraints.pop(action.column, None)
    if constraint is None:
        yield f"{table.name} has no constraint {action.column}"
        return
    if constraint.index in table.indexes:
        index = table.indexes.pop(constraint.index)
        index.name = constraint.index = action.to
        table.indexes[action.to] = index
    constraint.name = action.to
    table.constraints[action.to] = constraint


def _moved(catalogue: Catalogue, table: Table, name: str) -> None:
    old = table.name
    catalogue.tables.pop(old, None)
    table.name = name
    catalogue.tables[name] = table
    for one in catalogue.tables.values():
        one.depends = frozenset((name if used == old else used, column) for used, column in one.depends)
        one.parent = name if one.parent == old else one.parent
        for constraint in one.constraints.values():
            constraint.references = name if constraint.references == old else constraint.references


@_table("rename table")
def _rename_table(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    name = f"{table.name.rpartition('.')[0]}.{action.to}"
    if name in catalogue.tables:
        yield f"{name} is there already"
        return
    _moved(catalogue, table, name)


@_table("set schema")
def _set_schema(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if action.to not in catalogue.schemas and catalogue.known:
        yield f"there is no schema {action.to}"
    _moved(catalogue, table, f"{action.to}.{bare(table.name)}")


@_table("rename column")
def _rename_column(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    missing = _missing(action, catalogue, table)
    if missing or action.to in table.columns:
        yield missing or f"{table.name} has a column {action.to} already"
        return
    if action.column in table.columns:
        column = table.columns.pop(action.column)
        column.name = action.to
        table.columns[action.to] = column
    swap = {action.column: action.to}
    for index in table.indexes.values():
        index.columns = tuple(swap.get(name, name) for name in index.columns)
    for constraint in table.constraints.values():
        constraint.columns = tuple(swap.get(name, name) for name in constraint.columns)
    for view in catalogue.views_on(table.name):
        view.depends = frozenset((used, swap.get(of, of) if used == table.name else of) for used, of in view.depends)


@_table("create index")
def _create_index(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if action.column in table.indexes:
        if not action.tolerant:
            yield f"there is an index {action.column} already"
        return
    for name in action.more["columns"]:
        if name and table.columns and name not in table.columns:
            yield f"{table.name} has no column {name}"
    columns, unique, plain = action.more["columns"], action.more["unique"], action.more["plain"]
    table.indexes[action.column] = Index(action.column, columns, unique, plain, revision_made=True)


@_other("drop index")
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


@_other("rename index")
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


@_table("attach partition")
def _attach(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    part = catalogue.table(action.to)
    if part is None:
        yield f"there is no table {catalogue.full(action.to)}"
    else:
        part.parent = table.name


@_table("detach partition")
def _detach(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    part = catalogue.table(action.to)
    if part is None or part.parent != table.name:
        yield f"{action.to} is no partition of {table.name}"
        return
    part.parent = ""
    if action.concurrently and any(one.bound == "DEFAULT" for one in catalogue.partitions(table.name)):
        yield f"{table.name} has a default partition, and then no other can be detached concurrently"


@_table("create trigger")
def _create_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if action.column in table.triggers and not action.tolerant:
        yield f"{table.name} has a trigger {action.column} already"
    table.triggers[action.column] = Trigger(action.column, action.more["function"], action.more["events"])


@_table("drop trigger")
def _drop_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if table.triggers.pop(action.column, None) is None and not action.tolerant:
        yield f"{table.name} has no trigger {action.column}"


def _switch_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    for trigger in table.triggers.values():
        if action.column in ("", trigger.name):
            trigger.enabled = action.verb == "enable trigger"
    yield from ()


_table("enable trigger")(_switch_trigger)
_table("disable trigger")(_switch_trigger)


def _row_security(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    table.row_security = action.verb == "enable row security"
    yield from ()


_table("enable row security")(_row_security)
_table("disable row security")(_row_security)


@_other("create enum")
def _create_enum(action: Action, catalogue: Catalogue) -> Failures:
    name = bare(action.name)
    if name in catalogue.enums:
        yield f"there is a type {name} already"
    catalogue.enums[name] = [str(one.sval) for one in action.node.vals or ()]
    catalogue.new_enums.add(name)


@_other("add value")
def _add_value(action: Action, catalogue: Catalogue) -> Failures:
    values = catalogue.enums.get(bare(action.name))
    if values is not None and action.to in values and not action.tolerant:
        yield f"{action.name} has a value {action.to} already"
    elif values is not None and action.to not in values:
        values.append(action.to)


@_other("rename value")
def _rename_value(action: Action, catalogue: Catalogue) -> Failures:
    values = catalogue.enums.get(bare(action.name), [])
    if action.column not in values and catalogue.known:
        yield f"{action.name} has no value {action.column}"
    values[:] = [action.to if one == action.column else one for one in values]


@_other("create function")
def _create_function(action: Action, catalogue: Catalogue) -> Failures:
    name = bare(action.name)
    catalogue.functions[name] = Function(name, action.more["volatility"], action.to)
    yield from ()


@_other("drop function")
def _drop_function(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.functions.pop(bare(action.name), None) is None and catalogue.known and not action.tolerant:
        yield f"there is no function {action.name}"


@_other("create sequence")
def _create_sequence(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.full(action.name) in catalogue.sequences and not action.tolerant:
        yield f"there is a sequence {action.name} already"
    elif catalogue.full(action.name) not in catalogue.sequences:
        _make_sequence(catalogue, action.name)


@_other("drop sequence")
def _drop_sequence(action: Action, catalogue: Catalogue) -> Failures:
    sequence = catalogue.sequences.pop(catalogue.full(action.name), None)
    if sequence is None and catalogue.known and not action.tolerant:
        yield f"there is no sequence {action.name}"
    elif sequence is not None and sequence.owned_by and not action.cascade and not action.to:
        yield f"the default of {sequence.owned_by} uses {action.name}"


@_other("create schema")
def _create_schema(action: Action, catalogue: Catalogue) -> Failures:
    if action.name in catalogue.schemas and not action.tolerant:
        yield f"there is a schema {action.name} already"
    catalogue.schemas.add(action.name)


_EVERY = frozenset({"select", "insert", "update", "delete", "truncate", "references", "trigger", "usage"})


def _grant(action: Action, catalogue: Catalogue) -> Failures:
    name = catalogue.full(action.name)
    subject: Table | Sequence_ | None = catalogue.tables.get(name) or catalogue.sequences.get(name)
    if subject is None or action.more["kind"] not in ("table", "sequence"):
        return
    privileges = {one.lower() for one in action.more["privileges"]} or _EVERY
    pairs = {(role, privilege) for role in action.more["roles"] for privilege in privileges}
    subject.grants = subject.grants | pairs if action.verb == "grant" else subject.grants - pairs
    yield from ()


_other("grant")(_grant)
_other("revoke")(_grant)


@_table("update")
def _update(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    # UPDATE ... SET c = ... WHERE c IS NULL, or of every row: no NULL is left.
    for target in action.node.targetList:
        column = table.columns.get(str(target.name))
        if column is not None and not (is_a(target.val, "A_Const") and target.val.isnull):
            column.null_fraction = 0.0
    yield from ()


for _verb in ("insert", "delete", "truncate", "rewrite", "cluster", "vacuum full", "refresh", "lock table", "owner"):
    _table(_verb)(lambda action, catalogue, table: iter(()))
