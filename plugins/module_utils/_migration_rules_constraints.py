# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether new constraints refuse old writes, and whether old statements miss keys, constraints or views that went."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import VIEWS, Constraint, Table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_locks import proved_not_null
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import HOLD, UNDETERMINED, Finding
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rules_blue_green import Comparison
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Unreadable,
    check_expression,
    columns_in,
    columns_not_null,
    normalised,
    normalised_check,
    rendered,
    statements,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import DELETE, INSERT, Use, Write

_LATER = "Do it in the release after this one, when no slot serves a release that needs it (contract)."
_UNKNOWN_VALUES = "the values that it writes are not known"
_REHEARSE = "Let a release write only what fits, or prove it by a rehearsal; then add the constraint."


def not_null_writes(now: Comparison, use: Use) -> Iterator[Finding]:
    """A column that became NOT NULL and that the statement gives a value of its own."""
    for write in use.writes:
        old, new = now.before.tables.get(write.table), now.after.tables.get(write.table)
        if old is None or new is None or new.new:
            continue
        for name, column in new.columns.items():
            former = old.columns.get(name)
            given = write.kind != DELETE and (write.columns is None or name in write.columns)
            if not given or former is None or former.not_null or not column.not_null:
                continue
            if proved_not_null(old, name, now.before, only_valid=False) or former.null_fraction == 0:
                continue
            told = f"it writes the column, which is NOT NULL from now on; {_UNKNOWN_VALUES}"
            yield now.finding(11, UNDETERMINED, (write.table, name), use, told, _REHEARSE)


def new_constraints(now: Comparison, use: Use) -> Iterator[Finding]:
    """Constraints that were not there, against what the statement writes."""
    for write in use.writes:
        old, new = now.before.tables.get(write.table), now.after.tables.get(write.table)
        if old is None or new is None or new.new:
            continue
        for name, constraint in new.constraints.items():
            former = old.constraints.get(name)
            if former is not None and former.columns == constraint.columns and former.kind == constraint.kind:
                continue
            if constraint.kind == "c":
                yield from _check(now, use, write, old, new, constraint)
            elif constraint.kind == "f":
                yield from _foreign(now, use, write, old, constraint)
        if write.kind != DELETE:
            yield from _uniqueness(now, use, write, old, new)
    for write in use.writes:
        if write.kind == DELETE:
            yield from _restricted(now, use, write)


def _check(
    now: Comparison, use: Use, write: Write, old: Table, new: Table, constraint: Constraint
) -> Iterator[Finding]:
    text = normalised_check(constraint.definition)
    known = (normalised_check(one.definition) for one in old.constraints.values() if one.kind == "c")
    if write.kind == DELETE or text in known:
        return
    expression = check_expression(constraint.definition)
    needed = columns_in(expression)
    given = needed if write.columns is None else needed & write.columns
    omitted = needed - given
    place = (write.table, "")
    if write.kind == INSERT:
        empty = [
            name
            for name in omitted & columns_not_null(constraint.definition)
            if name in new.columns and not new.columns[name].fills_itself
        ]
        if empty:
            told = f"it leaves {', '.join(empty)} out, which {constraint.name} wants filled"
            yield now.finding(11, HOLD, place, use, told, _REHEARSE)
            return
        filled = [
            name
            for name in omitted
            if name in new.columns and new.columns[name].default is not None and name in old.columns
        ]
        given = given | set(filled)
    if given:
        told = f"it writes {', '.join(sorted(given))}, which {constraint.name} checks; {_UNKNOWN_VALUES}"
        yield now.finding(11, UNDETERMINED, place, use, told, _REHEARSE)


def _foreign(now: Comparison, use: Use, write: Write, old: Table, constraint: Constraint) -> Iterator[Finding]:
    same = [
        one
        for one in old.constraints.values()
        if one.kind == "f" and one.references == constraint.references and one.columns == constraint.columns
    ]
    given = set(constraint.columns) & (set(old.columns) if write.columns is None else write.columns)
    if write.kind == DELETE or same or not given:
        return
    told = (
        f"it writes {', '.join(sorted(given))}, which must be in {constraint.references} from now on; {_UNKNOWN_VALUES}"
    )
    yield now.finding(18, UNDETERMINED, (write.table, ""), use, told, _REHEARSE)


def _restricted(now: Comparison, use: Use, write: Write) -> Iterator[Finding]:
    for child, constraint in now.after.referenced_by(write.table):
        former = now.before.tables.get(child.name)
        known = (
            [
                one
                for one in former.constraints.values()
                if one.references == write.table and one.columns == constraint.columns
            ]
            if former
            else []
        )
        if known or constraint.on_delete not in ("a", "r"):
            continue
        statement = now.action(child.name)[1]
        told = f"it deletes rows that {child.name} may refer to from now on: {use.text[:160]}"
        remedy = "Give the foreign key ON DELETE CASCADE or SET NULL, or add it in a later release."
        yield Finding(18, HOLD, child.name, statement.text, statement.revision, told, remedy)


def _uniqueness(now: Comparison, use: Use, write: Write, old: Table, new: Table) -> Iterator[Finding]:
    former = list(old.unique_keys())
    keys = {tuple(key) for key in new.unique_keys()}
    keys |= {
        tuple(filter(None, one.columns))
        for name, one in new.indexes.items()
        if one.unique and not one.plain and name not in old.indexes
    }
    keys |= {one.columns for name, one in new.constraints.items() if one.kind == "x" and name not in old.constraints}
    for key in sorted(keys):
        given = set(key) if write.columns is None else set(key) & write.columns
        if any(set(one) <= set(key) for one in former) or not (given or not key):
            continue
        told = f"({', '.join(key) or 'an expression'}) is unique from now on; {_UNKNOWN_VALUES}"
        yield now.finding(22, UNDETERMINED, (write.table, ""), use, told, _REHEARSE)


def conflict_targets(now: Comparison, use: Use) -> Iterator[Finding]:
    """ON CONFLICT needs a unique key of just these columns, or a constraint of this name."""
    for write in use.writes:
        old, new = now.before.tables.get(write.table), now.after.tables.get(write.table)
        if old is None or new is None:
            continue
        place = (write.table, "")
        wanted = write.conflict_columns
        if wanted and _has_key(old, wanted) and not _has_key(new, wanted):
            hazard = 40 if now.action(write.table)[0].verb == "drop constraint" else 15
            told = f"its ON CONFLICT ({', '.join(sorted(wanted))}) finds no unique index (42P10)"
            yield now.finding(
                hazard, HOLD, place, use, told, f"Build another unique index of the same columns first. {_LATER}"
            )
        name = write.conflict_constraint
        if name and name in old.constraints and name not in new.constraints:
            yield now.finding(40, HOLD, place, use, f"its ON CONFLICT names the constraint {name}", _LATER)


def _has_key(table: Table, columns: frozenset[str]) -> bool:
    return any(set(key) == set(columns) for key in table.unique_keys())


def lost_cascades(now: Comparison, use: Use) -> Iterator[Finding]:
    """A foreign key whose ON DELETE did work for the statement."""
    for write in use.writes:
        if write.kind != DELETE:
            continue
        for child, constraint in now.before.referenced_by(write.table):
            current = now.after.tables.get(child.name)
            if constraint.on_delete not in ("c", "n", "d") or current is None:
                continue
            kept = [
                one
                for one in current.constraints.values()
                if one.references == write.table
                and one.columns == constraint.columns
                and one.on_delete == constraint.on_delete
            ]
            if not kept:
                told = f"its deletes went on to {child.name} by {constraint.name}: {use.text[:160]}"
                statement = now.action(child.name)[1]
                yield Finding(40, HOLD, child.name, statement.text, statement.revision, told, _LATER)


def changed_views(now: Comparison, use: Use) -> Iterator[Finding]:
    """A view that gives other rows or values under the same name; columns at its end are no change."""
    for name in sorted(use.tables):
        old, new = now.before.tables.get(name), now.after.tables.get(name)
        if (
            old is None
            or new is None
            or old.kind not in VIEWS
            or new.kind not in VIEWS
            or old.definition == new.definition
        ):
            continue
        if not _only_longer(old.definition, new.definition):
            told = "the view that it reads is another one"
            yield now.finding(35, UNDETERMINED, (name, ""), use, told, "Give the new view a name of its own.")


def _parts(definition: str) -> tuple[list[str], str]:
    """Output columns, and the rest, in one way of writing."""
    node = statements(definition)[0][1]
    targets = [_plain(rendered(one)) for one in node.targetList or ()]
    node.targetList = None
    return targets, _plain(re.sub(r"\bAS \w+\b(?![()])", "", rendered(node)))


def _plain(text: str) -> str:
    return normalised(re.sub(r"\b[a-z_][a-z0-9_]*\.", "", text))


def _only_longer(old: str, new: str) -> bool:
    try:
        old_targets, old_rest = _parts(old)
        new_targets, new_rest = _parts(new)
    except (Unreadable, IndexError, AttributeError):
        return False
    return old_rest == new_rest and new_targets[: len(old_targets)] == old_targets


RULES = (not_null_writes, new_constraints, conflict_targets, lost_cascades, changed_views)
