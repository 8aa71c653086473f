# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What statements do to tables, their columns and triggers."""

from __future__ import annotations

from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action, NewColumn
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import (
    VIEWS,
    Catalogue,
    Column,
    Table,
    Trigger,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_effects import Failures, on, on_table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import bare, column_of, is_a
from ansible_collections.signalbox.platform.plugins.module_utils._migration_state_constraints import add_constraint
from ansible_collections.signalbox.platform.plugins.module_utils._migration_state_objects import (
    drop_relation,
    make_sequence,
    new_table,
)


def _column_of(new: NewColumn) -> Column:
    return Column(new.name, new.type, new.not_null, new.default, new.identity, bool(new.generated))


@on("create table")
def _create_table(action: Action, catalogue: Catalogue) -> Failures:
    if catalogue.table(action.name) is not None:
        if not action.tolerant:
            yield f"{catalogue.full(action.name)} is there already"
        return
    table = new_table(catalogue, action.name)
    parent = catalogue.table(action.to) if action.to else None
    if parent is not None:
        if action.more["default_partition"] and any(
            one.bound == "DEFAULT" for one in catalogue.partitions(parent.name)
        ):
            yield f"{parent.name} has a default partition already"
        table.bound = "DEFAULT" if action.more["default_partition"] else "FOR VALUES"
        table.parent = parent.name
        table.columns = {one.name: Column(**{**vars(one), "origin": ""}) for one in parent.columns.values()}
        table.grants = table.grants | parent.grants
    for new in action.columns:
        table.columns[new.name] = _column_of(new)
        if new.serial:
            make_sequence(catalogue, f"{table.name}_{new.name}_seq", f"{table.name}.{new.name}")
    for check in action.constraints:
        add_constraint(check, table, catalogue)


@on_table("add column")
def _add_column(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    new = action.new
    if new is None:
        return
    if new.name in table.columns:
        if not action.tolerant:
            yield f"{table.name} has a column {new.name} already"
        return
    for one in (table, *catalogue.partitions(table.name)):
        one.columns[new.name] = _column_of(new)
    if new.serial:
        make_sequence(catalogue, f"{table.name}_{new.name}_seq", f"{table.name}.{new.name}")
    for check in new.constraints:
        add_constraint(check, table, catalogue)


def _missing(action: Action, catalogue: Catalogue, table: Table) -> str:
    if action.column in table.columns or not table.columns or not catalogue.known or action.tolerant:
        return ""
    return f"{table.name} has no column {action.column}"


@on_table("drop column")
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
        yield from drop_relation(Action("drop view", view.name, cascade=True), catalogue, VIEWS)
    for one in (table, *catalogue.partitions(table.name)):
        one.columns.pop(action.column, None)
        one.indexes = {name: index for name, index in one.indexes.items() if action.column not in index.columns}
        one.constraints = {name: check for name, check in one.constraints.items() if action.column not in check.columns}


@on_table("alter type")
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


@on_table("set not null")
def _set_not_null(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    missing = _missing(action, catalogue, table)
    if missing:
        yield missing
    column = table.columns.get(action.column)
    if column is not None:
        if (column.null_fraction or 0) > 0 and not column.not_null:
            yield f"{table.name}.{action.column} is NULL in about {column.null_fraction:.0%} of the rows"
        column.not_null = True


@on_table("drop not null")
def _drop_not_null(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].not_null = False


@on_table("set default")
def _set_default(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].default = action.to


@on_table("drop default")
def _drop_default(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].default = None
        table.columns[action.column].identity = False


@on_table("add identity")
def _add_identity(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    yield from filter(None, [_missing(action, catalogue, table)])
    if action.column in table.columns:
        table.columns[action.column].identity = True


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


@on_table("rename table")
def _rename_table(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    name = f"{table.name.rpartition('.')[0]}.{action.to}"
    if name in catalogue.tables:
        yield f"{name} is there already"
        return
    _moved(catalogue, table, name)


@on_table("set schema")
def _set_schema(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if action.to not in catalogue.schemas and catalogue.known:
        yield f"there is no schema {action.to}"
    _moved(catalogue, table, f"{action.to}.{bare(table.name)}")


@on_table("rename column")
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


@on_table("create trigger")
def _create_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if action.column in table.triggers and not action.tolerant:
        yield f"{table.name} has a trigger {action.column} already"
    table.triggers[action.column] = Trigger(action.column, action.more["function"], action.more["events"])


@on_table("drop trigger")
def _drop_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    if table.triggers.pop(action.column, None) is None and not action.tolerant:
        yield f"{table.name} has no trigger {action.column}"


def _switch_trigger(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    for trigger in table.triggers.values():
        if action.column in ("", trigger.name):
            trigger.enabled = action.verb == "enable trigger"
    yield from ()


on_table("enable trigger")(_switch_trigger)
on_table("disable trigger")(_switch_trigger)


def _row_security(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    table.row_security = action.verb == "enable row security"
    yield from ()


on_table("enable row security")(_row_security)
on_table("disable row security")(_row_security)


def _reaches_every_null(where: Any, column: str) -> bool:
    """UPDATE ... SET c = ... WHERE c IS NULL, or of every row: no NULL is left."""
    if where is None:
        return True
    null = is_a(where, "NullTest") and where.nulltesttype.name == "IS_NULL" and is_a(where.arg, "ColumnRef")
    return null and column_of(where.arg)[1] == column


@on_table("update")
def _update(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    for target in action.node.targetList:
        column = table.columns.get(str(target.name))
        fills = not (is_a(target.val, "A_Const") and target.val.isnull)
        if column is not None and fills and _reaches_every_null(action.node.whereClause, column.name):
            column.null_fraction = 0.0
    yield from ()


for _verb in ("insert", "delete", "truncate", "rewrite", "cluster", "vacuum full", "refresh", "lock table", "owner"):
    on_table(_verb)(lambda action, catalogue, table: iter(()))
