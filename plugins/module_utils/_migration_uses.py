# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a statement of the serving release needs of the database, and all of them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

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
    types: set[str] = field(default_factory=set)
    # Sequences that it names itself; empty in the set stands for one that a parameter names.
    sequences: set[str] = field(default_factory=set)
    # Reached through views, foreign keys, triggers and functions: table -> kinds.
    reached: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    inner_reads: set[Place] = field(default_factory=set)

    def reads_column(self, table: str, column: str) -> bool:
        places = self.reads | self.inner_reads
        return (table, column) in places or table in self.stars

    def writes_column(self, table: str, column: str) -> bool:
        return any(one.table == table and (one.columns is None or column in one.columns) for one in self.writes)


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
