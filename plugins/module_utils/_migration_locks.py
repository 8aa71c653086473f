# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which locks a statement takes, and how long the work under them grows with the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_types as types
from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action, Check, NewColumn
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue, Table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_lock_modes import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    BRIEF,
    EXCLUSIVE,
    FOREVER,
    GONE,
    ROW_EXCLUSIVE,
    ROWS,
    SHARE,
    SHARE_ROW,
    SHARE_UPDATE,
    WHOLE,
    Lock,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rows import bounded
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    bare,
    check_expression,
    column_of,
    columns_not_null,
    conjuncts,
    functions_in,
    is_a,
    name_of,
    numbers,
    of_type,
    proves_not_null,
    rendered,
)

_CONCURRENT = "Build it CONCURRENTLY, in a revision of its own, inside op.get_context().autocommit_block()."
_VALIDATE = "Add it NOT VALID, and VALIDATE it in a later revision of its own transaction."
_NEW_COLUMN = "Add a nullable column without it, fill it in batches, and set the default for new rows only."
_EXPAND = "Add a new column of the new type, write both, fill it in batches, and switch reads in a later release."
_USING_INDEX = "Build a unique index CONCURRENTLY first, then add the constraint USING INDEX."


def volatility(calls: frozenset[str], catalogue: Catalogue) -> str:
    """The worst of some functions: v volatile, s stable, i immutable."""
    worst = "i"
    for name in calls:
        function = catalogue.functions.get(name)
        found = function.volatility if function else "v" if name in catalogue.volatile else "s"
        worst = "v" if "v" in (found, worst) else found if found == "s" else worst
    return worst


def _add_column(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    new = action.new
    if new is None:
        return
    if action.tolerant and new.name in table.columns:
        return
    work, hazard, why, remedy = _column_work(new, catalogue)
    yield Lock(table.name, ACCESS_EXCLUSIVE, work, hazard, why, remedy)
    for check in new.constraints:
        if check.kind == "f":
            scans = new.default is not None
            yield from _foreign(check, table, catalogue, scans)


def _column_work(new: NewColumn, catalogue: Catalogue) -> tuple[str, int, str, str]:
    if new.serial or new.identity:
        return WHOLE, 6, "every row gets a number, so the table is rewritten", _NEW_COLUMN
    if new.generated == "stored":
        return (
            WHOLE,
            7,
            "a stored generated column rewrites the table",
            "Add a plain column, fill it in batches, keep it by a trigger.",
        )
    if new.default is not None and catalogue.version < 11:
        return WHOLE, 5, f"PostgreSQL {catalogue.version} rewrites the table for every default", _NEW_COLUMN
    if new.default is not None and volatility(new.calls, catalogue) == "v":
        return WHOLE, 5, f"the default {new.default} is volatile, so the table is rewritten", _NEW_COLUMN
    if bare(new.type) in catalogue.domains:
        return WHOLE, 5, f"{new.type} is a domain, whose checks read every row", _NEW_COLUMN
    for check in new.constraints:
        if check.kind == "c":
            return WHOLE, 19, "a CHECK within ADD COLUMN reads every row", _VALIDATE
        if check.kind in "pu":
            return WHOLE, 21 if check.kind == "u" else 23, "the index of the constraint is built", _USING_INDEX
    return BRIEF, 47, "", ""


def _alter_type(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    column = table.columns.get(action.column)
    if column is None:
        return
    converts = bool(action.more["converts"])
    change = types.change(column.type, action.to, converts, catalogue.version, catalogue.timezone)
    if not change.rewrites:
        yield Lock(table.name, ACCESS_EXCLUSIVE)
        return
    hazard = 2 if (column.type, action.to) == ("timestamp", "timestamptz") else 1
    why = f"{column.type} to {action.to} rewrites the table and its indexes"
    if hazard == 2:
        why += " with a USING" if converts else f" where the time zone is {catalogue.timezone}, not UTC"
    yield Lock(table.name, ACCESS_EXCLUSIVE, WHOLE, hazard, why, _EXPAND)


def proved_not_null(table: Table, column: str, catalogue: Catalogue, only_valid: bool = True) -> bool:
    """Whether a CHECK says already that the column is not null."""
    return any(
        column in columns_not_null(one.definition)
        for one in table.constraints.values()
        if one.kind == "c" and (one.valid or not only_valid)
    )


def _set_not_null(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    column = table.columns.get(action.column)
    proved = catalogue.version >= 12 and proved_not_null(table, action.column, catalogue)
    if proved or (column is not None and column.not_null):
        yield Lock(table.name, ACCESS_EXCLUSIVE)
    else:
        remedy = (
            f"Add CHECK ({action.column} IS NOT NULL) NOT VALID, VALIDATE it in a later revision, then SET NOT NULL."
        )
        yield Lock(table.name, ACCESS_EXCLUSIVE, WHOLE, 10, "no valid CHECK proves it, so every row is read", remedy)


def _foreign(check: Check, table: Table, catalogue: Catalogue, scans: bool) -> Iterator[Lock]:
    parent = catalogue.full(check.references)
    work = WHOLE if scans else BRIEF
    why = f"every row of {table.name} is looked up in {parent}" if scans else ""
    yield Lock(table.name, SHARE_ROW, work, 17 if scans else 47, why, _VALIDATE)
    yield Lock(parent, SHARE_ROW, work, 17 if scans else 47, why, _VALIDATE, (table.name,))


def _add_constraint(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    check = action.check
    if check is None:
        return
    if check.kind == "f":
        yield from _foreign(check, table, catalogue, check.valid)
    elif check.kind == "c":
        if check.valid:
            yield Lock(table.name, ACCESS_EXCLUSIVE, WHOLE, 19, "every row is checked", _VALIDATE)
        else:
            yield Lock(table.name, ACCESS_EXCLUSIVE)
    elif check.using_index:
        yield from _using_index(check, table, catalogue)
    else:
        hazard = {"u": 21, "p": 23, "x": 25}[check.kind]
        remedy = "Make the table anew and copy in batches." if check.kind == "x" else _USING_INDEX
        yield Lock(table.name, ACCESS_EXCLUSIVE, WHOLE, hazard, "its index is built with everybody shut out", remedy)


def _using_index(check: Check, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    index = table.indexes.get(check.using_index)
    nullable = [
        name
        for name in (index.columns if index else ())
        if name in table.columns and not table.columns[name].not_null
        and not (catalogue.version >= 12 and proved_not_null(table, name, catalogue))
    ]  # fmt: skip
    if check.kind == "p" and nullable:
        why = f"{', '.join(nullable)} is nullable, and SET NOT NULL reads every row"
        yield Lock(
            table.name, ACCESS_EXCLUSIVE, WHOLE, 24, why, "Make the columns NOT NULL first, by a validated CHECK."
        )
    else:
        yield Lock(table.name, ACCESS_EXCLUSIVE)


def _validate(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    yield Lock(table.name, SHARE_UPDATE, WHOLE, 20, "VALIDATE reads every row", _VALIDATE)


def _create_index(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    if action.tolerant and action.column in table.indexes:
        return
    if action.concurrently:
        yield Lock(table.name, SHARE_UPDATE, WHOLE, 13, "the index is built")
        return
    parts = [] if action.more["only"] else catalogue.partitions(table.name)
    if table.kind == "p" and not parts:
        yield Lock(table.name, SHARE)
        return
    hazard = 16 if table.kind == "p" else 13
    remedy = (
        "Make the index ON ONLY the parent, build one CONCURRENTLY per partition, and attach each."
        if table.kind == "p"
        else _CONCURRENT
    )
    worked = tuple(one.name for one in parts) or (table.name,)
    for name in (table.name, *(one.name for one in parts)):
        yield Lock(name, SHARE, WHOLE, hazard, "writers wait until the index is built", remedy, worked)


def _drop_index(action: Action, catalogue: Catalogue) -> Iterator[Lock]:
    table = catalogue.owner_of_index(action.name)
    if table is not None:
        yield Lock(table.name, SHARE_UPDATE if action.concurrently else ACCESS_EXCLUSIVE, BRIEF, 14)


def _reindex(action: Action, catalogue: Catalogue) -> Iterator[Lock]:
    if action.more["kind"] == "table":
        tables = [catalogue.table(action.name)]
    elif action.more["kind"] == "index":
        tables = [catalogue.owner_of_index(action.name)]
    else:
        tables = list(catalogue.tables.values())
    for table in filter(None, tables):
        mode = SHARE_UPDATE if action.concurrently else ACCESS_EXCLUSIVE
        yield Lock(
            table.name, mode, WHOLE, 16, "its indexes are built anew", "REINDEX CONCURRENTLY, outside a transaction."
        )


def _default_partition(parent: Table, catalogue: Catalogue) -> Iterator[Lock]:
    for part in catalogue.tables.values():
        if part.parent == parent.name and part.bound == "DEFAULT":
            why = f"every row of the default partition {part.name} is read"
            remedy = f"Move the rows out of {part.name} first, or give it a CHECK that excludes the new range."
            yield Lock(part.name, ACCESS_EXCLUSIVE, WHOLE, 50, why, remedy)


def within_bounds(part: Table, parent: Table, bound: object) -> bool:
    """Whether a valid CHECK shows that all rows of a table are within the range of its partition."""
    low, high = (getattr(bound, name, None) for name in ("lowerdatums", "upperdatums"))
    if not low or not high or len(parent.partition_columns) != 1:
        return False
    key = parent.partition_columns[0]
    column = part.columns.get(key)
    parts = [one for check in part.constraints.values() if check.kind == "c" and check.valid
             for one in conjuncts(check_expression(check.definition))]  # fmt: skip
    found = {
        (name_of(one.name), tuple(numbers(rendered(one.rexpr))))
        for one in parts
        if is_a(one, "A_Expr") and is_a(one.lexpr, "ColumnRef") and column_of(one.lexpr)[1] == key
    }
    wanted = {(">=", tuple(numbers(rendered(low[0])))), ("<", tuple(numbers(rendered(high[0]))))}
    proved = any(key in proves_not_null(one) for one in parts)
    return wanted <= found and (proved or (column is not None and column.not_null))


def _attach(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    yield Lock(table.name, SHARE_UPDATE)
    part = catalogue.table(action.to)
    if part is not None:
        proved = within_bounds(part, table, action.node)
        why = "" if proved else "no valid CHECK shows that its rows are within the bounds, so each is read"
        remedy = "Add a CHECK with the bounds NOT VALID, VALIDATE it, then ATTACH, then drop the CHECK."
        yield Lock(part.name, ACCESS_EXCLUSIVE, BRIEF if proved else WHOLE, 47 if proved else 50, why, remedy)
    yield from _default_partition(table, catalogue)


def _create_table(action: Action, catalogue: Catalogue) -> Iterator[Lock]:
    if catalogue.table(action.name) is not None:
        return
    parent = catalogue.table(action.to) if action.to else None
    if parent is not None:
        yield Lock(parent.name, ACCESS_EXCLUSIVE)
        yield from _default_partition(parent, catalogue)
    for check in action.constraints:
        if check.kind == "f":
            yield Lock(catalogue.full(check.references), SHARE_ROW)


def _detach(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    mode = SHARE_UPDATE if action.concurrently else ACCESS_EXCLUSIVE
    yield Lock(table.name, mode, BRIEF, 16)
    yield Lock(catalogue.full(action.to), mode, BRIEF, 16)


def _refresh(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    mode = EXCLUSIVE if action.concurrently else ACCESS_EXCLUSIVE
    worked = tuple(name for name, _ in table.depends) or (table.name,)
    remedy = "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on it."
    yield Lock(table.name, mode, WHOLE, 49, "the query of the view runs under the lock", remedy, worked)


def _shut_out(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    why = f"{action.verb} writes the whole table anew with everybody shut out"
    yield Lock(table.name, ACCESS_EXCLUSIVE, WHOLE, 49, why, "Do it in a maintenance window.")


def _lock_table(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    yield Lock(
        table.name, int(action.more["mode"]), BRIEF, 49, "LOCK TABLE", "Leave the lock to the statements that need it."
    )


def _write_rows(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    if bounded(table, action.node):
        return
    remedy = "Do it in batches by the primary key, each in a transaction of its own, outside the migration."
    mode = GONE if action.verb == "delete" else ROWS
    yield Lock(table.name, mode, WHOLE, 43, f"{action.verb.upper()} without a condition on a key", remedy)


def _insert(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    sources = tuple(catalogue.full(name_of(one)) for one in of_type(action.node.selectStmt, "RangeVar"))
    if sources:
        yield Lock(table.name, ROW_EXCLUSIVE, WHOLE, 43, "rows are copied", "Copy in batches.", sources)


def _select(action: Action, catalogue: Catalogue) -> Iterator[Lock]:
    if functions_in(action.node) & {"pg_sleep", "pg_sleep_for", "pg_sleep_until"}:
        yield Lock("", ACCESS_SHARE, FOREVER, 48, "it sleeps", "Leave out what waits.")
    for relation in of_type(action.node, "RangeVar"):
        name = catalogue.full(name_of(relation))
        yield Lock(name, ACCESS_SHARE, WHOLE, 42, "it reads the table")


def _drop_constraint(action: Action, table: Table, catalogue: Catalogue) -> Iterator[Lock]:
    constraint = table.constraints.get(action.column)
    if constraint is None:
        return
    yield Lock(table.name, ACCESS_EXCLUSIVE)
    if constraint.references:
        yield Lock(constraint.references, ACCESS_EXCLUSIVE)


_ON_TABLE: dict[str, Callable[[Action, Table, Catalogue], Iterator[Lock]]] = {
    "add column": _add_column,
    "alter type": _alter_type,
    "set not null": _set_not_null,
    "add constraint": _add_constraint,
    "validate constraint": _validate,
    "create index": _create_index,
    "attach partition": _attach,
    "detach partition": _detach,
    "refresh": _refresh,
    "rewrite": _shut_out,
    "cluster": _shut_out,
    "vacuum full": _shut_out,
    "lock table": _lock_table,
    "update": _write_rows,
    "delete": _write_rows,
    "insert": _insert,
    "drop constraint": _drop_constraint,
}
_BRIEFLY = {
    **dict.fromkeys(
        ("drop column", "drop not null", "set default", "drop default", "rename column", "rename table",
         "rename constraint",
         "set schema", "drop table", "drop view", "truncate", "enable row security", "disable row security", "owner",
         "create policy", "drop policy", "drop trigger", "alter table otherwise", "brief", "add identity"),
        ACCESS_EXCLUSIVE,
    ),
    **dict.fromkeys(("create trigger", "enable trigger", "disable trigger"), SHARE_ROW),
}  # fmt: skip
_ANYWHERE: dict[str, Callable[[Action, Catalogue], Iterator[Lock]]] = {
    "drop index": _drop_index,
    "reindex": _reindex,
    "create table": _create_table,
    "select": _select,
}


def locks_of(action: Action, catalogue: Catalogue) -> list[Lock]:
    """All locks of one action, as the catalogue is before it."""
    if action.verb in _ANYWHERE:
        return list(_ANYWHERE[action.verb](action, catalogue))
    table = catalogue.table(action.name) if action.name else None
    if table is None:
        return []
    if action.verb in _ON_TABLE:
        return list(_ON_TABLE[action.verb](action, table, catalogue))
    if action.verb in _BRIEFLY:
        return [Lock(table.name, _BRIEFLY[action.verb])]
    return []
