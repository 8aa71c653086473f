# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an UPDATE or DELETE picks so few rows that nobody waits for them."""

from __future__ import annotations

from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    column_of,
    conjuncts,
    is_a,
    name_of,
    of_type,
)

# A batch of this size is over before anybody waits for its rows.
_BATCH_ROWS = 10_000


def _limited(select: Any) -> bool:
    limit: Any = getattr(select, "limitCount", None)
    return bool(is_a(limit, "A_Const") and is_a(limit.val, "Integer") and limit.val.ival <= _BATCH_ROWS)


def _limited_sources(node: Any) -> set[str]:
    """Names under which a statement joins a query with a LIMIT."""
    queries = {str(one.ctename) for one in of_type(node.withClause, "CommonTableExpr") if _limited(one.ctequery)}
    sources = getattr(node, "usingClause", None) or getattr(node, "fromClause", None) or ()
    names = {
        str(one.alias.aliasname if one.alias else one.relname)
        for one in sources
        if is_a(one, "RangeVar") and str(one.relname) in queries
    }
    return names | {
        str(one.alias.aliasname) for one in sources if is_a(one, "RangeSubselect") and _limited(one.subquery)
    }


def bounded(table: Table, node: Any) -> bool:
    """Whether a statement picks rows by a key: constants for its columns, a range of it, or a batch with a LIMIT."""
    fixed: set[str] = set()
    ranges: set[str] = set()
    batches = _limited_sources(node)
    for part in conjuncts(node.whereClause):
        if is_a(part, "SubLink") and is_a(part.testexpr, "ColumnRef") and _limited(part.subselect):
            fixed.add(column_of(part.testexpr)[1])
        if is_a(part, "A_Expr") and part.kind.name == "AEXPR_OP" and name_of(part.name) == "=":
            sides = [column_of(one) for one in (part.lexpr, part.rexpr) if is_a(one, "ColumnRef")]
            if len(sides) == 2 and {qualifier for qualifier, _ in sides} & batches:
                fixed |= {column for qualifier, column in sides if qualifier not in batches}
        if (
            is_a(part, "A_Expr")
            and is_a(part.lexpr, "ColumnRef")
            and not any(of_type(part.rexpr, "ColumnRef", "SubLink"))
        ):
            column = column_of(part.lexpr)[1]
            kind, operator = part.kind.name, name_of(part.name)
            if kind in ("AEXPR_IN", "AEXPR_OP_ANY", "AEXPR_OP") and operator == "=":
                fixed.add(column)
            elif kind == "AEXPR_BETWEEN":
                ranges.add(column)
    return any(set(key) <= fixed or set(key) <= (fixed | ranges) for key in table.unique_keys() if key)
