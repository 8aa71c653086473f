# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares the database before the migration with what a commit leaves, for each statement of the serving release."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_types as types
from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import (
    VIEWS,
    Catalogue,
    Column,
    Table,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    HOLD,
    UNDETERMINED,
    Finding,
    Settings,
    Statement,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import INSERT, Serving, Use, Write

Blame = Mapping[tuple[str, str], tuple[Action, Statement]]
_LATER = "Do it in the release after this one, when no slot serves a release that uses it (contract)."
_NOTHING = (Action("other"), Statement("", ""))


@dataclass(frozen=True)
class Comparison:
    """The database before the first and after the last statement so far, and which statement did what."""

    before: Catalogue
    after: Catalogue
    serving: Serving
    settings: Settings
    blame: Blame

    def action(self, table: str, column: str = "") -> tuple[Action, Statement]:
        return self.blame.get((table, column)) or self.blame.get((table, "")) or _NOTHING

    def finding(self, hazard: int, verdict: str, place: tuple[str, str], use: Use, what: str, remedy: str) -> Finding:
        table, column = place
        statement = self.action(table, column)[1]
        told = f"{what}: {use.text[:160]}" if use.text else what
        return Finding(
            hazard, verdict, f"{table}.{column}" if column else table, statement.text, statement.revision, told, remedy
        )


Rule = Callable[[Comparison, Use], Iterator[Finding]]


def compare(comparison: Comparison) -> Iterator[Finding]:
    """What statements of the serving release would do otherwise after this commit."""
    for use in comparison.serving.uses:
        for rule in _RULES:
            yield from rule(comparison, use)


def _both(now: Comparison, name: str) -> tuple[Table | None, Table | None]:
    return now.before.tables.get(name), now.after.tables.get(name)


def _relations(now: Comparison, use: Use) -> Iterator[Finding]:
    for name in sorted(use.tables):
        old, new = _both(now, name)
        if old is None or (new is not None and (new.kind in VIEWS or new.origin == old.origin)):
            continue
        if new is not None:
            told = "it needs a table of which another took the name, with other rows"
            yield now.finding(27, HOLD, (name, ""), use, told, _LATER)
            continue
        verb = now.action(name)[0].verb
        hazard = 29 if verb in ("rename table", "set schema") else 35 if old.kind in "vm" else 27
        remedy = "Leave the old name as a view with its grants, in the same transaction; or " if hazard == 29 else ""
        yield now.finding(hazard, HOLD, (name, ""), use, "it needs what is no longer there", remedy + _LATER)


def _columns(now: Comparison, use: Use) -> Iterator[Finding]:
    places = use.reads | use.inner_reads
    places |= {(write.table, column) for write in use.writes for column in write.columns or ()}
    places |= {(write.table, column) for write in use.writes for column in write.conflict_columns or ()}
    places |= {(name, column) for name in use.stars for column in _columns_of(now.before, name)}
    places |= {
        (write.table, column)
        for write in use.writes
        if write.columns is None
        for column in _columns_of(now.before, write.table)
    }
    for name, column in sorted(places):
        old, new = _both(now, name)
        if old is None or new is None or column not in old.columns:
            continue
        if column not in new.columns:
            hazard = 28 if now.action(name, column)[0].verb == "rename column" else 26
            remedy = (
                "Add a column of the new name, write both, fill it; drop the old one later. " if hazard == 28 else ""
            )
            yield now.finding(
                hazard, HOLD, (name, column), use, "it uses a column that is no longer there", remedy + _LATER
            )
        else:
            was, is_now = old.columns[column], new.columns[column]
            if is_now.origin != was.origin and new.kind not in VIEWS and new.origin == old.origin:
                hazard = 28 if is_now.origin else 26
                told = "it uses a column of which another took the name, with other values"
                yield now.finding(hazard, HOLD, (name, column), use, told, _LATER)
            yield from _type(now, use, name, was, is_now)


def _columns_of(catalogue: Catalogue, name: str) -> list[str]:
    return list(catalogue.tables[name].columns) if name in catalogue.tables else []


def _type(now: Comparison, use: Use, name: str, old: Column, new: Column) -> Iterator[Finding]:
    action = now.action(name, old.name)[0]
    converts = action.verb == "alter type" and bool(action.more.get("converts"))
    if old.type in (new.type, now.after.type_before(new.type)) and not converts:
        return
    change = types.change(old.type, new.type, converts, now.after.version, now.after.timezone)
    told = f"{old.type} becomes {new.type}"
    if not change.fits:
        hazard = 2 if (old.type, new.type) == ("timestamp", "timestamptz") else 3
        remedy = (
            "Add a new column of the new type, write both, fill it in batches; drop the old one in a later release."
        )
        yield now.finding(hazard, HOLD, (name, old.name), use, told, remedy)
    elif (name, old.name) in use.returned or name in use.returned_stars:
        yield from _cached(now, use, (name, old.name), told)


def _cached(now: Comparison, use: Use, place: tuple[str, str], told: str) -> Iterator[Finding]:
    if now.settings.plan_caching is False:
        return
    known = now.settings.plan_caching
    told += ", and sessions of the serving release keep plans (0A000 cached plan must not change result type)"
    told += "" if known else " if its driver caches prepared statements, which is not known"
    remedy = "List columns in place of *, or leave the type; else turn the driver's statement cache off first."
    yield now.finding(4, HOLD if known else UNDETERMINED, place, use, told, remedy)


def _stars(now: Comparison, use: Use) -> Iterator[Finding]:
    for name in sorted(use.stars):
        old, new = _both(now, name)
        if old is None or new is None:
            continue
        for column in [one for key, one in new.columns.items() if key not in old.columns]:
            if column.type == "json" and use.distinct:
                told = "DISTINCT compares a json column, which has no equality"
                yield now.finding(51, HOLD, (name, column.name), use, told, "Make it jsonb.")
            if name in use.returned_stars:
                yield from _cached(now, use, (name, column.name), f"* now has {column.name} too")


def _inserts(now: Comparison, use: Use) -> Iterator[Finding]:
    for write in use.writes:
        old, new = _both(now, write.table)
        if write.kind != INSERT or write.columns is None or old is None or new is None:
            continue
        for column in new.columns.values():
            if column.name not in write.columns:
                yield from _omitted(now, use, old, new, column)


def _omitted(now: Comparison, use: Use, old: Table, new: Table, column: Column) -> Iterator[Finding]:
    former = old.columns.get(column.name)
    place = (new.name, column.name)
    if column.not_null and not column.fills_itself and not (former and former.not_null and not former.fills_itself):
        verb = now.action(*place)[0].verb
        hazard = (
            (9 if verb != "add column" else 8)
            if former is None
            else 33
            if former.fills_itself and former.not_null
            else 11
        )
        told = "it inserts without the column, which is NOT NULL and has no default"
        yield now.finding(hazard, HOLD, place, use, told, f"Keep a default, or leave the column nullable. {_LATER}")
        return
    if former is not None and former.default != column.default and not column.generated:
        reader = now.serving.reading(new.name, column.name)
        if reader is not None and former.default is not None:
            hazard = 34 if column.default is not None else 33
            told = f"it inserts the default, {former.default}, which becomes {column.default or 'NULL'}, and reads it"
            yield now.finding(hazard, HOLD, place, use, told, _LATER)
    yield from _sequence_rights(now, use, place, column, former)


def _sequence_rights(
    now: Comparison, use: Use, place: tuple[str, str], column: Column, former: Column | None
) -> Iterator[Finding]:
    if not column.default or "nextval" not in column.default or column.identity or not now.settings.role:
        return
    words = column.default.replace("'", " ").replace("(", " ").split()
    names = [now.after.full(word) for word in words if now.after.full(word) in now.after.sequences]
    names += [f"{place[0]}_{place[1]}_seq"] if column.default == "nextval" else []
    roles = now.after.acting_as(now.settings.role)
    for name in names:
        sequence, past = now.after.sequences.get(name), now.before.sequences.get(name)
        if sequence is None or _may(sequence.grants, roles, "usage"):
            continue
        if (
            former is None
            or former.default != column.default
            or (past is not None and _may(past.grants, roles, "usage"))
        ):
            told = f"its default takes a number from {name}, which {now.settings.role} may not use"
            yield now.finding(36, HOLD, place, use, told, f"GRANT USAGE ON SEQUENCE {name} in the same revision.")


def _may(grants: set[tuple[str, str]], roles: set[str], privilege: str) -> bool:
    return any((role, privilege) in grants for role in roles)


def _not_null(now: Comparison, use: Use) -> Iterator[Finding]:
    for name, column in sorted(use.reads | {(one, key) for one in use.stars for key in _columns_of(now.before, one)}):
        old, new = _both(now, name)
        if old and new and column in old.columns and column in new.columns:
            was, is_now = old.columns[column].not_null, new.columns[column].not_null
            if was and not is_now and new.kind not in VIEWS:
                told = "it reads the column, which may be NULL from now on"
                remedy = "Let the new release write no NULL yet, and drop NOT NULL in the release after this one."
                yield now.finding(12, HOLD, (name, column), use, told, remedy)


def _rights(now: Comparison, use: Use) -> Iterator[Finding]:
    if not now.settings.role:
        return
    before, after = now.before.acting_as(now.settings.role), now.after.acting_as(now.settings.role)
    needed = {(write.table, write.kind) for write in use.writes}
    needed |= {(name, "select") for name, _ in use.reads} | {(name, "select") for name in use.stars}
    for name, privilege in sorted(needed):
        old, new = _both(now, name)
        if old is None or new is None or new.owner in after:
            continue
        if _may(old.grants, before, privilege) and not _may(new.grants, after, privilege):
            hazard = 36 if new.new else 37
            told = f"{now.settings.role} has no right to {privilege.upper()} on {name} any more"
            yield now.finding(
                hazard, HOLD, (name, ""), use, told, f"GRANT {privilege.upper()} ON {name} in the same revision."
            )
    for name in sorted(use.tables):
        old, new = _both(now, name)
        if old and new and new.row_security and not old.row_security:
            told = "row security is on, so rows that no policy shows are gone for it"
            yield now.finding(
                37, HOLD, (name, ""), use, told, "Turn it on in a release of its own, with policies proved on a copy."
            )


def _triggers(now: Comparison, use: Use) -> Iterator[Finding]:
    for write in use.writes:
        old, new = _both(now, write.table)
        if old is None or new is None or new.new:
            continue
        for key, trigger in new.triggers.items():
            former = old.triggers.get(key)
            if not trigger.enabled or write.kind not in trigger.events or former == trigger:
                continue
            function = now.after.functions.get(trigger.function)
            refuses = function is not None and "raise exception" in " ".join(function.source.lower().split())
            told = f"the trigger {key} runs {trigger.function}" + (", which raises an exception" if refuses else "")
            verdict = HOLD if refuses else UNDETERMINED
            yield now.finding(38, verdict, (write.table, ""), use, told, "Prove on a copy that old writes pass.")
        for key, trigger in old.triggers.items():
            current = new.triggers.get(key)
            if trigger.enabled and write.kind in trigger.events and (current is None or not current.enabled):
                yield now.finding(39, HOLD, (write.table, ""), use, f"it ran the trigger {key}, which is off", _LATER)


def _functions(now: Comparison, use: Use) -> Iterator[Finding]:
    for name in sorted(use.calls):
        old, new = now.before.functions.get(name), now.after.functions.get(name)
        if old is None or new == old:
            continue
        statement = now.blame.get((f"function {name}", ""), _NOTHING)[1]
        verdict = HOLD if new is None else UNDETERMINED
        told = f"it calls {name}, which {'is gone' if new is None else 'has another body'}: {use.text[:160]}"
        remedy = "Give the new function a name of its own." if new is not None else _LATER
        yield Finding(35, verdict, name, statement.text, statement.revision, told, remedy)


def _types(now: Comparison, use: Use) -> Iterator[Finding]:
    for name in sorted(use.types):
        if name in {*now.before.enums, *now.before.domains} - {*now.after.enums, *now.after.domains}:
            statement = now.blame.get((f"type {name}", ""), _NOTHING)[1]
            told = f"it casts to the type {name}, which is no longer there: {use.text[:160]}"
            yield Finding(30, HOLD, name, statement.text, statement.revision, told, _LATER)


def _enums(now: Comparison, use: Use) -> Iterator[Finding]:
    for name, old in now.before.enums.items():
        new = now.after.enums.get(name, old)
        if new == old:
            continue
        statement = now.blame.get((f"type {name}", ""), _NOTHING)[1]
        returned = use.returned | {(one, key) for one in use.returned_stars for key in _columns_of(now.before, one)}
        used = (
            returned
            | use.reads
            | {(one.table, key) for one in use.writes for key in one.columns or _columns_of(now.before, one.table)}
        )
        gone, added = set(old) - set(new), set(new) - set(old)
        if gone and _of_type(now, used, name):
            told = f"it uses {name}, whose value {', '.join(sorted(gone))} is gone: {use.text[:160]}"
            yield Finding(
                30,
                HOLD,
                name,
                statement.text,
                statement.revision,
                told,
                "Add the new value, move rows, drop the old one later.",
            )
        elif added and _of_type(now, returned, name):
            told = f"it reads {name}, and does not know {', '.join(sorted(added))}: {use.text[:160]}"
            remedy = "Teach the value to a release that does not write it yet, then write it in the next."
            yield Finding(31, HOLD, name, statement.text, statement.revision, told, remedy)


def _of_type(now: Comparison, places: set[tuple[str, str]], name: str) -> bool:
    for table, column in places:
        known = now.before.tables.get(table)
        if known and column in known.columns and known.columns[column].type.rpartition(".")[2] == name:
            return True
    return False


# Filled by _migration_rules_constraints, which has the rules about keys and checks.
_RULES: list[Rule] = [_relations, _columns, _stars, _inserts, _not_null, _rights, _triggers, _functions, _types, _enums]


def add_rules(*rules: Rule) -> None:
    _RULES.extend(rules)


__all__ = ["Blame", "Comparison", "Write", "add_rules", "compare"]
