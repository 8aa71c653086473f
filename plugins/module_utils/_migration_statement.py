# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads one statement of the serving release: which tables and columns it reads, writes and gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Node,
    bare,
    column_of,
    is_a,
    is_node,
    name_of,
    of_type,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import (
    DELETE,
    INSERT,
    UPDATE,
    Use,
    Write,
)


class Reader:
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
                self._call(value)
            if is_a(value, "TypeName"):
                self.use.types.add(bare(name_of(value.names)))
            for name in value:
                self.expression(getattr(value, name), scopes)

    def _call(self, call: Node) -> None:
        name = bare(name_of(call.funcname))
        self.use.calls.add(name)
        if name in ("nextval", "currval", "setval") and call.args:
            texts = [str(one.val.sval) for one in of_type(call.args[0], "A_Const") if is_a(one.val, "String")]
            self.use.sequences.add(self.catalogue.full(texts[0]) if texts else "")

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
