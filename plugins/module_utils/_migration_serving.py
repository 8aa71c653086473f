# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the statements of the serving release need of the database: tables, columns, rights, unique keys, functions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import VIEWS, Catalogue, Table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Node,
    Unreadable,
    bare,
    column_of,
    is_a,
    is_node,
    name_of,
    statements,
)

Place = tuple[str, str]  # table, column
READ, INSERT, UPDATE, DELETE = "select", "insert", "update", "delete"


@dataclass
class Write:
    """What a statement writes. Columns are None where an INSERT lists none and so gives all."""

    kind: str
    table: str
    columns: frozenset[str] | None = None
    conflict_columns: frozenset[str] | None = None
    conflict_constraint: str = ""


@dataclass
class Use:
    """One statement of the serving release."""

    text: str
    tables: set[str] = field(default_factory=set)
    reads: set[Place] = field(default_factory=set)
    returned: set[Place] = field(default_factory=set)
    filters: set[Place] = field(default_factory=set)
    stars: set[str] = field(default_factory=set)
    returned_stars: set[str] = field(default_factory=set)
    distinct: bool = False
    locks_rows: bool = False
    writes: list[Write] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    # Reached through views, foreign keys, triggers and functions: table -> kinds.
    reached: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    inner_reads: set[Place] = field(default_factory=set)

    def reads_column(self, table: str, column: str) -> bool:
        places = self.reads | self.inner_reads
        return (table, column) in places or table in self.stars

    def writes_column(self, table: str, column: str) -> bool:
        return any(one.table == table and (one.columns is None or column in one.columns) for one in self.writes)


class _Reader:
    """Walks one statement with the names that each part of it can see."""

    def __init__(self, catalogue: Catalogue, use: Use) -> None:
        self.catalogue, self.use = catalogue, use
        self.ctes: set[str] = set()
        self.returning = self.filtering = False

    def statement(self, node: Node, outer: list[dict[str, str]]) -> None:
        kind = type(node).__name__
        for cte in node.withClause.ctes if getattr(node, "withClause", None) else ():
            self.ctes.add(str(cte.ctename))
            self._apart(cte.ctequery, outer)
        if kind == "SelectStmt":
            self._select(node, outer)
        elif kind == "InsertStmt":
            self._insert(node, outer)
        elif kind == "UpdateStmt":
            self._update(node, outer)
        elif kind == "DeleteStmt":
            scopes = [self._scope((node.relation, *(node.usingClause or ())), outer), *outer]
            self.use.writes.append(Write(DELETE, self._table(node.relation)))
            self._filter(node.whereClause, scopes)
            self._targets(_returning(node), scopes)
        else:
            self._other(node, outer)

    def _apart(self, node: Node, outer: list[dict[str, str]]) -> None:
        kept = self.returning, self.filtering
        self.returning = self.filtering = False
        self.statement(node, outer)
        self.returning, self.filtering = kept

    def _select(self, node: Node, outer: list[dict[str, str]]) -> None:
        if node.larg is not None:
            self.statement(node.larg, outer)
            self.statement(node.rarg, outer)
        scopes = [self._scope(node.fromClause or (), outer), *outer]
        self.use.distinct |= node.distinctClause is not None or bool(node.groupClause)
        self.use.locks_rows |= bool(node.lockingClause)
        self._targets(node.targetList, scopes)
        for part in (node.whereClause, node.sortClause, node.groupClause, node.havingClause):
            self._filter(part, scopes)
        for rest in (node.valuesLists, node.windowClause, node.limitCount, node.limitOffset):
            self.expression(rest, scopes)

    def _insert(self, node: Node, outer: list[dict[str, str]]) -> None:
        table = self._table(node.relation)
        write = Write(INSERT, table, frozenset(str(one.name) for one in node.cols) if node.cols else None)
        if node.cols is None and node.selectStmt is None:
            write.columns = frozenset()
        self.use.writes.append(write)
        if node.selectStmt is not None:
            self.statement(node.selectStmt, outer)
        scopes = [{**self._scope((node.relation,), outer), "excluded": table}, *outer]
        conflict = node.onConflictClause
        if conflict is not None:
            self._conflict(conflict, write, scopes)
        self._targets(_returning(node), scopes)

    def _conflict(self, conflict: Node, write: Write, scopes: list[dict[str, str]]) -> None:
        if conflict.infer is not None:
            names = frozenset(str(one.name) for one in conflict.infer.indexElems or () if one.name)
            write.conflict_columns = names if names else None
            write.conflict_constraint = str(conflict.infer.conname or "")
        if conflict.targetList:
            changed = frozenset(str(one.name) for one in conflict.targetList)
            self.use.writes.append(Write(UPDATE, write.table, changed))
            for one in conflict.targetList:
                self.expression(one.val, scopes)
        self._filter(conflict.whereClause, scopes)

    def _update(self, node: Node, outer: list[dict[str, str]]) -> None:
        scopes = [self._scope((node.relation, *(node.fromClause or ())), outer), *outer]
        changed = frozenset(str(one.name) for one in node.targetList)
        self.use.writes.append(Write(UPDATE, self._table(node.relation), changed))
        for one in node.targetList:
            self.expression(one.val, scopes)
        self._filter(node.whereClause, scopes)
        self._targets(_returning(node), scopes)

    def _other(self, node: Node, outer: list[dict[str, str]]) -> None:
        if is_a(node, "CopyStmt", "MergeStmt") and getattr(node, "relation", None) is not None:
            table = self._table(node.relation)
            self.use.stars.add(table)
            if is_a(node, "MergeStmt") or node.is_from:
                self.use.writes += [Write(INSERT, table, None), Write(UPDATE, table, None)]
        self.expression(node, outer)

    def _table(self, relation: Node) -> str:
        name = name_of(relation)
        if name in self.ctes:
            return ""
        full = self.catalogue.full(name)
        self.use.tables.add(full)
        return full

    def _scope(self, sources: Iterable[Node], outer: list[dict[str, str]]) -> dict[str, str]:
        scope: dict[str, str] = {}
        for one in sources:
            self._source(one, scope, outer)
        return scope

    def _source(self, node: Node, scope: dict[str, str], outer: list[dict[str, str]]) -> None:
        if is_a(node, "RangeVar"):
            scope[str(node.alias.aliasname) if node.alias else str(node.relname)] = self._table(node)
        elif is_a(node, "JoinExpr"):
            self._source(node.larg, scope, outer)
            self._source(node.rarg, scope, outer)
            for name in node.usingClause or ():
                self._column("", name_of(name), [scope], filtering=True)
            self._filter(node.quals, [scope, *outer])
        elif is_a(node, "RangeSubselect"):
            scope[str(node.alias.aliasname) if node.alias else f" {len(scope)}"] = ""
            self._apart_with_targets(node.subquery, [scope, *outer])
        else:
            if getattr(node, "alias", None):
                scope[str(node.alias.aliasname)] = ""
            self.expression(node, [scope, *outer])

    def _apart_with_targets(self, node: Node, outer: list[dict[str, str]]) -> None:
        kept, self.filtering = self.filtering, False
        self.statement(node, outer)
        self.filtering = kept

    def _targets(self, targets: Any, scopes: list[dict[str, str]]) -> None:
        kept, self.returning = self.returning, True
        self.expression(targets, scopes)
        self.returning = kept

    def _filter(self, node: Any, scopes: list[dict[str, str]]) -> None:
        kept = self.returning, self.filtering
        self.returning, self.filtering = False, True
        self.expression(node, scopes)
        self.returning, self.filtering = kept

    def expression(self, value: Any, scopes: list[dict[str, str]]) -> None:
        if isinstance(value, (tuple, list)):
            for one in value:
                self.expression(one, scopes)
        elif is_node(value):
            if is_a(value, "SelectStmt"):
                self.statement(value, scopes)
                return
            if is_a(value, "ColumnRef"):
                self._column(*column_of(value), scopes)
                return
            if is_a(value, "FuncCall"):
                self.use.calls.add(bare(name_of(value.funcname)))
            for name in value:
                self.expression(getattr(value, name), scopes)

    def _column(self, qualifier: str, column: str, scopes: list[dict[str, str]], filtering: bool = False) -> None:
        for table in self._owners(qualifier, column, scopes):
            if column == "*":
                self.use.stars.add(table)
                if self.returning:
                    self.use.returned_stars.add(table)
                continue
            self.use.reads.add((table, column))
            if self.returning:
                self.use.returned.add((table, column))
            if filtering or self.filtering:
                self.use.filters.add((table, column))

    def _owners(self, qualifier: str, column: str, scopes: list[dict[str, str]]) -> list[str]:
        for scope in scopes:
            if qualifier:
                if bare(qualifier) in scope:
                    return list(filter(None, [scope[bare(qualifier)]]))
                continue
            if column == "*":
                return list(filter(None, scope.values()))
            if column in scope and not self._having(column, scope):
                self.use.stars |= set(filter(None, [scope[column]]))  # the whole row
                return []
            found = self._having(column, scope)
            if found:
                return found
        return []

    def _having(self, column: str, scope: Mapping[str, str]) -> list[str]:
        tables = {name for name in scope.values() if name}
        return [
            name
            for name in sorted(tables)
            if name in self.catalogue.tables and column in self.catalogue.tables[name].columns
        ]


def _returning(node: Node) -> Any:
    clause = getattr(node, "returningClause", None)
    return clause.exprs if clause is not None else None


@dataclass
class Serving:
    """All statements of the serving release, and how far they can be trusted to be all."""

    uses: list[Use]
    complete: bool = True
    skipped: list[str] = field(default_factory=list)

    def touching(self, table: str) -> Iterator[tuple[Use, set[str]]]:
        """Statements that need a table, with what they do to it."""
        for use in self.uses:
            kinds = set(use.reached.get(table, ()))
            kinds |= {write.kind for write in use.writes if write.table == table}
            if table in use.tables and not kinds & {INSERT, UPDATE, DELETE}:
                kinds.add(READ)
            if table in use.tables and use.locks_rows:
                kinds.add(UPDATE)
            if kinds:
                yield use, kinds

    def writing(self, table: str, *kinds: str) -> Iterator[tuple[Use, Write]]:
        for use in self.uses:
            for write in use.writes:
                if write.table == table and (not kinds or write.kind in kinds):
                    yield use, write

    def reading(self, table: str, column: str) -> Use | None:
        return next((use for use in self.uses if use.reads_column(table, column)), None)


def serving_of(texts: Iterable[str], catalogue: Catalogue, complete: bool) -> Serving:
    """The statements as the catalogue of before the migration explains them."""
    serving = Serving([], complete)
    for text in texts:
        try:
            parsed = statements(text)
        except Unreadable:
            serving.skipped.append(text)
            continue
        for _, node in parsed:
            use = Use(" ".join(text.split()))
            _Reader(catalogue, use).statement(node, [])
            if any(
                name not in catalogue.tables and not name.startswith(("pg_", "information_schema."))
                for name in use.tables
                if not _system(name)
            ):
                serving.skipped.append(text)  # of an earlier release: what it names is gone already
                continue
            _reach(use, catalogue)
            serving.uses.append(use)
    return serving


def _system(name: str) -> bool:
    return name.startswith(("pg_catalog.", "information_schema.")) or bare(name).startswith("pg_")


def _reach(use: Use, catalogue: Catalogue) -> None:
    """Add what a statement needs without naming it."""
    for name in sorted(use.tables):
        _reach_relation(use, catalogue, name)
    for write in list(use.writes):
        _reach_write(use, catalogue, write.table, write.kind)
    for call in sorted(use.calls):
        _reach_source(use, catalogue, call, None)
    for name in [*use.tables, *use.reached]:
        kinds = use.reached.get(name, set()) | {write.kind for write in use.writes if write.table == name} or {READ}
        for part in catalogue.partitions(name):
            use.reached[part.name] |= kinds


def _reach_relation(use: Use, catalogue: Catalogue, name: str) -> None:
    table = catalogue.tables.get(name)
    if table is None or table.kind not in VIEWS:
        return
    if table.kind == "v":
        for below, column in table.depends:
            use.reached[below].add(READ)
            if column:
                use.inner_reads.add((below, column))
            _reach_relation(use, catalogue, below)


def _reach_write(use: Use, catalogue: Catalogue, name: str, kind: str) -> None:
    table = catalogue.tables.get(name)
    if table is None:
        return
    for constraint in table.constraints.values():
        if constraint.kind == "f" and kind in (INSERT, UPDATE):
            use.reached[constraint.references].add(READ)
    if kind == DELETE:
        for child, constraint in catalogue.referenced_by(name):
            first = kind not in use.reached[child.name]
            use.reached[child.name].add(DELETE if constraint.on_delete == "c" else READ)
            if constraint.on_delete == "c" and first:
                _reach_write(use, catalogue, child.name, DELETE)
    for trigger in table.triggers.values():
        if trigger.enabled and kind in trigger.events:
            _reach_source(use, catalogue, trigger.function, table)


def _reach_source(use: Use, catalogue: Catalogue, function: str, table: Table | None) -> None:
    """A function's body is text: each word in it that is a table, or a column of one, counts as read."""
    known = catalogue.functions.get(function)
    if known is None or not known.source:
        return
    use.calls.add(function)
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_$]*", known.source))
    tables = [one for name in words for one in [catalogue.tables.get(catalogue.full(name))] if one is not None]
    for one in {one.name: one for one in [*tables, *([table] if table else [])]}.values():
        use.reached[one.name].add(READ)
        use.inner_reads |= {(one.name, column) for column in one.columns if column in words}
