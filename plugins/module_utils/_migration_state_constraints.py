# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What statements do to constraints, indexes and partitions of a table."""

from __future__ import annotations

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action, Check
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import (
    Catalogue,
    Constraint,
    Index,
    Table,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_effects import Failures, on_table


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


@on_table("add constraint")
def _add_constraint(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    check = action.check
    if check is None:
        return
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


@on_table("validate constraint")
def _validate(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    constraint = table.constraints.get(action.column)
    if constraint is None:
        yield f"{table.name} has no constraint {action.column}"
    else:
        constraint.valid = True


@on_table("drop constraint")
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


@on_table("rename constraint")
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


@on_table("create index")
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


@on_table("attach partition")
def _attach(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    part = catalogue.table(action.to)
    if part is None:
        yield f"there is no table {catalogue.full(action.to)}"
    else:
        part.parent = table.name


@on_table("detach partition")
def _detach(action: Action, catalogue: Catalogue, table: Table) -> Failures:
    part = catalogue.table(action.to)
    if part is None or part.parent != table.name:
        yield f"{action.to} is no partition of {table.name}"
        return
    part.parent = ""
    if action.concurrently and any(one.bound == "DEFAULT" for one in catalogue.partitions(table.name)):
        yield f"{table.name} has a default partition, and then no other can be detached concurrently"
