# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the statements of the serving release need of the database: tables, columns, rights, unique keys, functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import VIEWS, Catalogue, Table
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Unreadable,
    bare,
    statements,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_statement import Reader
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import (
    DELETE,
    INSERT,
    READ,
    UPDATE,
    Serving,
    Use,
)


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
            Reader(catalogue, use).statement(node, [])
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
