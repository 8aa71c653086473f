# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the pending set in thought, as the migration tool will run it, and joins what the rules found to one verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_rules_constraints as constraints
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_rules_transaction as transaction
from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue, catalogue_of
from ansible_collections.signalbox.platform.plugins.module_utils._migration_locks import locks_of
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    ALL,
    EACH,
    HOLD,
    NONE,
    UNDETERMINED,
    Finding,
    Report,
    Revision,
    Settings,
    Statement,
    in_order,
    worst,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_readers import actions_of, bookkeeping
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rules_blue_green import (
    Comparison,
    add_rules,
    compare,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rules_lock import LockRules, Timeouts
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rules_unknown import unknown
from ansible_collections.signalbox.platform.plugins.module_utils._migration_serving import serving_of
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Node,
    Unreadable,
    bare,
    configured,
    is_a,
    plpgsql_statements,
    rendered,
    statements,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_state import apply
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import Serving

add_rules(*constraints.RULES)


@dataclasses.dataclass(frozen=True)
class Context:
    """What is known about the place where the migration will run; None for what is not."""

    catalogue: Mapping[str, Any] | None = None
    serving: Sequence[str] | None = None
    complete: bool = True
    settings: Settings = dataclasses.field(default_factory=Settings)


class _Run:
    """One way through the pending revisions."""

    def __init__(self, settings: Settings, mode: str, known: Catalogue | None, serving: Serving | None) -> None:
        self.settings, self.mode, self.serving = settings, mode, serving
        self.start = known or Catalogue(known=False)
        self.now = self.start.copy()
        timeouts = Timeouts(
            {
                "lock_timeout": self.settings.lock_timeout_seconds,
                "statement_timeout": self.settings.statement_timeout_seconds,
            }
        )
        self.locks = LockRules(self.serving, self.settings, timeouts)
        self.findings: list[Finding] = []
        self.blame: dict[tuple[str, str], tuple[Action, Statement]] = {}
        self.in_transaction = self.dirty = False
        self.added: dict[str, str] = {}
        self.done: list[tuple[Action, Statement]] = []  # of this revision, in the open transaction
        self.partial: list[tuple[Action, Statement]] = []  # of this revision, committed in its middle

    def run(self, revisions: Sequence[Revision]) -> list[Finding]:
        if self.mode == ALL:
            self._begin()
        for revision in revisions:
            self.done, self.partial = [], []
            if self.mode == EACH:
                self._begin()
            self._revision(revision)
            if self.mode == EACH or not self.in_transaction:
                self._commit()
            if self.mode == ALL and not self.in_transaction:
                self._begin()  # Alembic opens another one for the next revision
        self._commit()
        return self.findings

    def _revision(self, revision: Revision) -> None:
        if revision.blind:
            remedy = "Write the revision without asking the database, or prove it by a rehearsal."
            self.findings.append(Finding(52, UNDETERMINED, revision.id, "", revision.id, revision.blind, remedy))
        try:
            parsed = statements(revision.sql)
        except Unreadable as error:
            remedy = "Mend the statement; the gate reads what PostgreSQL's own grammar takes."
            self.findings.append(Finding(53, HOLD, revision.id, revision.sql[:200], revision.id, str(error), remedy))
            return
        for text, node in parsed:
            if not bookkeeping(node):
                self._statement(Statement(revision.id, text), node)

    def _statement(self, statement: Statement, node: Node) -> None:
        if is_a(node, "DoStmt"):
            self._block(statement, node)
            return
        for action in actions_of(node):
            self._action(action, statement)
        if not self.in_transaction:
            self.locks.end_transaction()
            self._compare()

    def _block(self, statement: Statement, node: Node) -> None:
        inner, blind = plpgsql_statements(rendered(node))
        if blind:
            remedy = "Write the statements out, each by itself; or prove the revision by a rehearsal."
            self.findings.append(
                Finding(52, UNDETERMINED, "DO", statement.text, statement.revision, f"it holds {blind}", remedy)
            )
        for sql, optional in inner:
            try:
                parsed = statements(sql)
            except Unreadable as error:
                told = f"a statement in it cannot be read: {error}"
                self.findings.append(
                    Finding(52, UNDETERMINED, "DO", statement.text, statement.revision, told, "Write it out.")
                )
                continue
            for _, one in parsed:
                for action in actions_of(one):
                    self._action(dataclasses.replace(action, tolerant=action.tolerant or optional), statement)

    def _action(self, action: Action, statement: Statement) -> None:
        if action.verb in ("begin", "commit", "rollback"):
            self._begin() if action.verb == "begin" else self._commit_within(statement)
            return
        if action.verb == "set":
            self.locks.timeouts.set(action.name, action.to, action.more["reset"], action.more["local"])
            return
        if action.verb == "select":
            for name, value in configured(action.node):
                self.locks.timeouts.set(name, value, False, False)
        self._judge(action, statement)
        self.findings += unknown(action, statement, self.now, self.serving, self.settings)
        self._remember(action, statement)
        for failure in apply(action, self.now):
            told = f"it fails: {failure}"
            remedy = "Mend the revision, or change what it meets first."
            self.findings.append(Finding(53, HOLD, action.name, statement.text, statement.revision, told, remedy))
        self.dirty = True
        self.done.append((action, statement))

    def _judge(self, action: Action, statement: Statement) -> None:
        found = self.findings
        if self.in_transaction:
            found += transaction.forbidden(action, statement, self.now)
            found += transaction.uses_new_value(action, self.added, statement)
            # Before PostgreSQL 17 that holds for a type of the same transaction too.
            if action.verb == "add value" and (self.now.version < 17 or bare(action.name) not in self.now.new_enums):
                self.added[action.to] = action.name
        found += transaction.unreadable(action, statement, self.now)
        found += self.locks.judge(locks_of(action, self.now), statement, self.now, self.in_transaction)
        if self.serving is not None:
            found += transaction.truncated(action, statement, self.now, self.serving)
            found += transaction.detached(action, statement, self.now, self.serving)
            found += transaction.sequences(action, statement, self.now, self.serving)
            found += transaction.rights(action, statement, self.now, self.serving, self.settings)
            found += transaction.lost_speed(action, statement, self.now, self.serving, self.settings)

    def _remember(self, action: Action, statement: Statement) -> None:
        if action.verb in ("create function", "drop function"):
            self.blame[(f"function {bare(action.name)}", "")] = (action, statement)
        if action.verb in ("add value", "rename value", "rename type", "drop type"):
            self.blame[(f"type {bare(action.name)}", "")] = (action, statement)
        table = self.now.owner_of_index(action.name) if action.verb == "drop index" else None
        name = table.name if table else self.now.full(action.name)
        if action.column:
            self.blame[(name, action.column)] = (action, statement)
        self.blame[(name, "")] = (action, statement)
        if action.cascade:
            for view in self.now.views_on(name, action.column):
                self.blame[(view.name, "")] = (action, statement)

    def _begin(self) -> None:
        self.in_transaction = True

    def _commit_within(self, statement: Statement) -> None:
        self.partial += [one for one in self.done if not transaction.repeatable(one[0])]
        self._commit()

    def _commit(self) -> None:
        if self.partial and self.done and self.done[-1] != self.partial[-1]:
            action, statement = self.partial[0]
            told = "committed in the middle of its revision: once a later statement fails, that can not be run again"
            remedy = (
                "Give what needs autocommit a revision of its own, or make each statement repeatable (IF NOT EXISTS)."
            )
            self.findings.append(Finding(46, HOLD, action.name, statement.text, statement.revision, told, remedy))
            self.partial = []
        self.in_transaction = False
        self.added.clear()
        self.done = []
        self.locks.end_transaction()
        self._compare()

    def _compare(self) -> None:
        if self.serving is not None and self.dirty:
            self.findings += compare(Comparison(self.start, self.now, self.serving, self.settings, self.blame))
        self.dirty = False


def judge(revisions: Sequence[Revision], context: Context, others: Iterable[Finding] = ()) -> Report:
    """The verdict on a pending set; `others` are findings of other sources, such as the tree of revisions."""
    known = catalogue_of(context.catalogue) if context.catalogue is not None else None
    modes = [context.settings.transaction] if context.settings.transaction else [ALL, EACH, NONE]
    serving = None
    if known is not None and context.serving is not None:
        serving = serving_of(dict.fromkeys(context.serving), known, context.complete)
    ways = [in_order(_Run(context.settings, mode, known, serving).run(revisions)) for mode in modes]
    findings = [one for way in ways for one in way]
    if len({worst(one.verdict for one in way) for way in ways}) > 1:
        # What only one way holds back is a doubt.
        findings = [dataclasses.replace(one, verdict=UNDETERMINED) if one.verdict == HOLD else one for one in findings]
        told = "whether the revisions share a transaction is not known, and it matters"
        remedy = "Say how the migration tool runs its transactions."
        findings.append(Finding(42, UNDETERMINED, "the set", "", "", told, remedy))
    findings = in_order([*others, *findings])
    by_revision = {one.id: worst(found.verdict for found in findings if found.revision == one.id) for one in revisions}
    return Report(
        worst(one.verdict for one in findings),
        by_revision,
        findings,
        covered=_covered(context, known is not None, serving),
    )


def _covered(context: Context, known: bool, serving: Serving | None) -> dict[str, Any]:
    if serving is None:
        return {"catalogue": known, "statements": None, "complete": False}
    return {
        "catalogue": True,
        "statements": len(serving.uses),
        "complete": context.complete,
        "not_understood": serving.skipped,
    }
