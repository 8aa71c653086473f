# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each statement of a migration does, in words that the rules share: one Action per changed thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import (
    Node,
    bare,
    columns_in,
    functions_in,
    name_of,
    proves_not_null,
    rendered,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_types import canonical, is_serial

_CONSTRAINT_KINDS = {"CHECK": "c", "FOREIGN": "f", "PRIMARY": "p", "UNIQUE": "u", "EXCLUSION": "x"}
_SUFFIX = {"c": "check", "f": "fkey", "p": "pkey", "u": "key", "x": "excl"}


@dataclass(frozen=True)
class Check:
    """A constraint as a statement writes it."""

    kind: str
    name: str
    columns: tuple[str, ...] = ()
    definition: str = ""
    valid: bool = True
    references: str = ""
    on_delete: str = "a"
    using_index: str = ""
    not_null: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NewColumn:
    """A column as a statement writes it."""

    name: str
    type: str
    serial: bool = False
    not_null: bool = False
    default: str | None = None
    calls: frozenset[str] = frozenset()
    identity: bool = False
    generated: str = ""  # stored or virtual
    constraints: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Action:
    """One thing that a statement does to one object."""

    verb: str
    name: str = ""
    column: str = ""
    to: str = ""
    new: NewColumn | None = None
    check: Check | None = None
    columns: tuple[NewColumn, ...] = ()
    constraints: tuple[Check, ...] = ()
    tolerant: bool = False  # IF EXISTS or IF NOT EXISTS
    cascade: bool = False
    concurrently: bool = False
    node: Any = field(default=None, compare=False, repr=False)
    more: Mapping[str, Any] = field(default_factory=dict, compare=False)


def constraint_of(node: Node, table: str, column: str = "") -> Check | None:
    """A constraint; None for what is a property of the column, such as NOT NULL."""
    kind = _CONSTRAINT_KINDS.get(node.contype.name.replace("CONSTR_", ""))
    if kind is None:
        return None
    named = node.fk_attrs if kind == "f" else node.keys
    if kind == "c":
        columns = tuple(sorted(columns_in(node.raw_expr))) or ((column,) if column else ())
    elif kind == "x":
        columns = tuple(str(pair[0].name) for pair in node.exclusions or () if pair[0].name)
    else:
        columns = tuple(name_of(one) for one in named or ()) or ((column,) if column else ())
    default = "_".join(
        [bare(table), *(columns if kind in "fux" else columns[:1] if kind == "c" else ()), _SUFFIX[kind]]
    )
    return Check(
        kind,
        str(node.conname or default),
        columns,
        rendered(node.raw_expr) if kind == "c" else "",
        not node.skip_validation,
        name_of(node.pktable) if node.pktable else "",
        str(node.fk_del_action or "a") if kind == "f" else "a",
        str(node.indexname or ""),
        frozenset(proves_not_null(node.raw_expr)) if kind == "c" else frozenset(),
    )


def column_of_definition(node: Node, table: str) -> NewColumn:
    """A column of CREATE TABLE or ADD COLUMN."""
    written = rendered(node.typeName)
    kinds = {one.contype.name: one for one in node.constraints or ()}
    default = kinds.get("CONSTR_DEFAULT")
    serial = is_serial(written)
    generated = kinds.get("CONSTR_GENERATED")
    constraints = tuple(filter(None, (constraint_of(one, table, node.colname) for one in node.constraints or ())))
    return NewColumn(
        str(node.colname),
        canonical(written),
        serial,
        serial or "CONSTR_NOTNULL" in kinds or "CONSTR_PRIMARY" in kinds or "CONSTR_IDENTITY" in kinds,
        rendered(default.raw_expr) if default else ("nextval" if serial else None),
        frozenset(functions_in(default.raw_expr)) if default else frozenset(),
        "CONSTR_IDENTITY" in kinds,
        ("virtual" if generated.generated_kind == "v" else "stored") if generated else "",
        constraints,
    )
