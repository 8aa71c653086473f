# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What cannot run where it stands, runs in part, destroys data, or changes rights and sequences; action by action."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    HOLD,
    UNDETERMINED,
    Finding,
    Settings,
    Statement,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import bare, functions_in, of_type
from ansible_collections.signalbox.platform.plugins.module_utils._migration_state_objects import fed_by
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import INSERT, READ, Serving

_AUTOCOMMIT = "Give it a revision of its own, inside op.get_context().autocommit_block()."
# Run again after a commit in their middle, these fail; with IF [NOT] EXISTS they do not.
_NOT_REPEATABLE = frozenset(
    {"add column", "create table", "add constraint", "drop column", "drop table", "drop view", "drop constraint",
     "rename column", "rename table", "rename constraint", "rename index", "rename value", "set schema", "create enum",
     "add value", "create trigger", "drop trigger", "create sequence", "drop sequence", "create view", "create matview",
     "create table as", "drop type", "drop function", "create schema", "create policy", "drop policy",
     "attach partition",
     "detach partition", "insert"}
)  # fmt: skip
_WITHOUT_TRANSACTION = {"vacuum", "vacuum full"}
_KNOWN_OTHER = {
    "NotifyStmt", "ListenStmt", "DiscardStmt", "ExplainStmt", "CheckPointStmt", "PrepareStmt", "DeallocateStmt",
    "CreateForeignTableStmt", "CreateStatsStmt",
}  # fmt: skip


def repeatable(action: Action) -> bool:
    """Whether the statement could run once more after it was committed."""
    replaces = bool(action.more.get("replace"))
    return action.verb not in _NOT_REPEATABLE or action.tolerant or replaces


def forbidden(action: Action, statement: Statement, catalogue: Catalogue) -> Iterator[Finding]:
    """Statements that PostgreSQL refuses inside a transaction."""
    why = ""
    if action.concurrently and action.verb != "refresh":
        why = f"{action.verb} CONCURRENTLY cannot run inside a transaction (25001)"
    elif action.verb in _WITHOUT_TRANSACTION or (action.verb == "cluster" and not action.name):
        why = f"{action.verb.upper()} cannot run inside a transaction (25001)"
    elif action.verb == "reindex" and action.more["kind"] in ("schema", "system", "database"):
        why = "REINDEX of all tables cannot run inside a transaction (25001)"
    elif action.verb == "add value" and catalogue.known and catalogue.version < 12:
        why = f"PostgreSQL {catalogue.version} adds no enum value inside a transaction (25001)"
    if why:
        yield Finding(45, HOLD, action.name, statement.text, statement.revision, why, _AUTOCOMMIT)


def uses_new_value(action: Action, added: dict[str, str], statement: Statement) -> Iterator[Finding]:
    """An enum value that the same transaction added."""
    nodes = [action.node, *(one.default for one in (action.new, *action.columns) if one and one.default)]
    texts = {str(one.val.sval) for node in nodes for one in of_type(node, "A_Const") if hasattr(one.val, "sval")}
    texts |= {part for node in nodes if isinstance(node, str) for part in node.split("'")[1::2]}
    for value in sorted(texts & set(added)):
        told = f"{value} of {added[value]} was added by the same transaction (55P04 unsafe use of new value)"
        yield Finding(
            32,
            HOLD,
            added[value],
            statement.text,
            statement.revision,
            told,
            "Use it in a later revision with a transaction of its own.",
        )


def unreadable(action: Action, statement: Statement, catalogue: Catalogue) -> Iterator[Finding]:
    """Statements whose effect is not known."""
    if action.verb == "select":
        for name in sorted(functions_in(action.node)):
            function = catalogue.functions.get(name)
            if function is not None and function.volatility == "v":
                told = f"it calls the function {name}, which may do anything"
                yield Finding(
                    52,
                    UNDETERMINED,
                    name,
                    statement.text,
                    statement.revision,
                    told,
                    "Write out what it does, or prove it by a rehearsal.",
                )
    known = action.verb not in ("other", "alter other", "drop other", "drop extension")
    if known or action.name in _KNOWN_OTHER:
        return
    told = f"{action.name or action.verb}: the gate does not know what it does to old statements"
    yield Finding(52, UNDETERMINED, action.name, statement.text, statement.revision, told, "Prove it by a rehearsal.")


def truncated(action: Action, statement: Statement, catalogue: Catalogue, serving: Serving) -> Iterator[Finding]:
    """TRUNCATE of what the serving release uses, or DELETE of all its rows."""
    everything = action.verb == "delete" and action.node.whereClause is None
    if action.verb != "truncate" and not everything:
        return
    names = [catalogue.full(action.name)]
    for name in names:
        for child, _ in catalogue.referenced_by(name):
            if action.cascade and child.name not in names:
                names.append(child.name)
    for name in names:
        use = next((one for one, _ in serving.touching(name)), None)
        if use is not None:
            told = f"all rows of {name} go, and the release uses them: {use.text[:160]}"
            remedy = "Delete in batches what is no longer wanted, or do it in the release after this one."
            yield Finding(43 if everything else 44, HOLD, name, statement.text, statement.revision, told, remedy)
            return


def detached(action: Action, statement: Statement, catalogue: Catalogue, serving: Serving) -> Iterator[Finding]:
    """A partition whose rows the release reads, or into which it writes."""
    part = catalogue.table(action.to if action.verb == "detach partition" else action.name)
    if action.verb not in ("detach partition", "drop table") or part is None or not part.parent:
        return
    name, hazard = part.parent, 16 if action.verb == "detach partition" else 27
    default = any(one.bound == "DEFAULT" for one in catalogue.partitions(name))
    for use, kinds in serving.touching(name):
        if READ in kinds or not default:
            told = f"the rows of {part.name} are gone for it: {use.text[:160]}"
            if READ not in kinds:
                told = f"rows for the range of {part.name} are refused: {use.text[:160]}"
            verdict = HOLD if READ in kinds else UNDETERMINED
            remedy = "Do it when no release needs those rows."
            yield Finding(hazard, verdict, name, statement.text, statement.revision, told, remedy)
            return


_SEQUENCE_WORDS = {"restart", "maxvalue", "minvalue", "as", "increment", "cycle"}


def sequences(action: Action, statement: Statement, catalogue: Catalogue, serving: Serving) -> Iterator[Finding]:
    """Numbers that a serving INSERT takes."""
    names: list[str] = []
    if action.verb == "alter sequence":
        words = action.more["words"] & _SEQUENCE_WORDS
        known = catalogue.sequences.get(catalogue.full(action.name))
        wider = ("smallint", "integer", "bigint")
        if known is not None and action.to in wider and wider.index(action.to) >= wider.index(known.type):
            words = words - {"as"}
        names = [catalogue.full(action.name)] if words else []
    elif action.verb == "select" and "setval" in functions_in(action.node):
        texts = [str(one.val.sval) for one in of_type(action.node, "A_Const") if hasattr(one.val, "sval")]
        names = [catalogue.full(text) for text in texts if catalogue.full(text) in catalogue.sequences]
    elif action.verb in ("drop sequence", "rename sequence"):
        yield from _asked_by_name(catalogue.full(action.name), statement, serving)
    for name in names:
        yield from _asked_by_name(name, statement, serving)
        sequence = catalogue.sequences.get(name)
        owned = [tuple(sequence.owned_by.rsplit(".", 1))] if sequence is not None and sequence.owned_by else []
        for table, column in owned + [(one.name, key.name) for one, key in fed_by(name, catalogue)]:
            for use, write in serving.writing(table, INSERT):
                if write.columns is not None and column not in write.columns:
                    told = f"it takes numbers from {name}, which is changed under it: {use.text[:160]}"
                    remedy = "Set a sequence only forward, by more than the inserts in flight; widen both first."
                    yield Finding(41, HOLD, name, statement.text, statement.revision, told, remedy)
                    return


def _asked_by_name(name: str, statement: Statement, serving: Serving) -> Iterator[Finding]:
    """A serving statement that calls nextval() itself; of which sequence, its normalised text may not say."""
    for use in serving.uses:
        if use.sequences & {name, ""}:
            verdict = HOLD if name in use.sequences else UNDETERMINED
            told = f"it asks {'it' if verdict == HOLD else 'a sequence'} by name: {use.text[:160]}"
            yield Finding(41, verdict, name, statement.text, statement.revision, told, "Leave the sequence as it is.")
            return


def rights(
    action: Action, statement: Statement, catalogue: Catalogue, serving: Serving, settings: Settings
) -> Iterator[Finding]:
    """REVOKE of more than one object, owners and policies."""
    roles = catalogue.acting_as(settings.role) if settings.role else set()
    told = ""
    verdict = UNDETERMINED
    if action.verb == "revoke" and action.more["kind"] not in ("table", "sequence"):
        if not settings.role or roles & set(action.more["roles"]):
            told = f"rights on {action.name} are taken from a role that the app acts as"
    elif action.verb in ("owner", "create policy", "drop policy"):
        table = catalogue.table(action.name)
        used = table is not None and any(True for _ in serving.touching(table.name))
        if table is not None and used and action.verb == "owner" and table.owner in roles and action.to not in roles:
            told, verdict = f"{settings.role} has its rights on {table.name} as the owner, who changes", HOLD
        elif table is not None and used and action.verb != "owner" and table.row_security and not table.new:
            told = f"policies of {table.name} change, and row security is on"
    if told:
        yield Finding(
            37,
            verdict,
            action.name,
            statement.text,
            statement.revision,
            told,
            "Prove with the app's role, on a copy, what it still sees.",
        )


def lost_speed(
    action: Action, statement: Statement, catalogue: Catalogue, serving: Serving, settings: Settings
) -> Iterator[Finding]:
    """An index without which a serving statement reads a large table."""
    if action.verb != "drop index":
        return
    table = catalogue.owner_of_index(action.name)
    if table is None or catalogue.rows_of(table) <= settings.small_rows:
        return
    index = table.indexes[bare(action.name)]
    first = index.columns[0] if index.columns else ""
    if any(one.columns[:1] == (first,) for name, one in table.indexes.items() if name != index.name):
        return
    for use in serving.uses:
        if (table.name, first) in use.filters:
            rows = f"{catalogue.rows_of(table):,} rows of {table.name}"
            told = f"it searches {rows} by {first}, for which no other index is left: {use.text[:160]}"
            yield Finding(
                14,
                HOLD,
                table.name,
                statement.text,
                statement.revision,
                told,
                "Drop it when no release needs it, or build its successor first.",
            )
            return
