# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words of the migration gate: hazards, findings, verdicts and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

RUN_NOW, UNDETERMINED, HOLD = "run-now", "undetermined", "hold"
VERDICTS = (RUN_NOW, UNDETERMINED, HOLD)  # from good to bad

BLUE_GREEN, LOCK, TRANSACTION, DATA, PROCESS = "blue-green", "lock", "transaction", "data", "process"

# How many transactions the pending revisions take: Alembic's default is one for all of them.
ALL, EACH, NONE = "all", "each", "none"
TRANSACTIONS = (ALL, EACH, NONE)

# The rows of the table in docs/migrations.md.
HAZARDS: Mapping[int, tuple[str, str]] = {
    1: (LOCK, "a change of type rewrites the table"),
    2: (BLUE_GREEN, "timestamp becomes timestamp with time zone"),
    3: (BLUE_GREEN, "the new type is narrower, or another one"),
    4: (BLUE_GREEN, "plans that old sessions keep no longer fit"),
    5: (LOCK, "a volatile default rewrites the table"),
    6: (LOCK, "a serial or identity column rewrites the table"),
    7: (LOCK, "a stored generated column rewrites the table"),
    8: (BLUE_GREEN, "a required column without a default"),
    9: (BLUE_GREEN, "a new column that old inserts leave empty"),
    10: (LOCK, "SET NOT NULL scans the table"),
    11: (BLUE_GREEN, "old writes break the new NOT NULL or CHECK"),
    12: (BLUE_GREEN, "old reads meet NULL"),
    13: (LOCK, "an index is built with writers shut out"),
    14: (LOCK, "an index is dropped"),
    15: (BLUE_GREEN, "a unique index that ON CONFLICT needs is gone"),
    16: (LOCK, "index on a partitioned table, REINDEX, DETACH"),
    17: (LOCK, "a foreign key is checked at once"),
    18: (BLUE_GREEN, "a foreign key refuses old writes"),
    19: (LOCK, "a CHECK is checked at once"),
    20: (LOCK, "VALIDATE in the transaction that holds the lock"),
    21: (LOCK, "a unique constraint builds its index"),
    22: (BLUE_GREEN, "uniqueness that old writes may break"),
    23: (LOCK, "a primary key builds its index"),
    24: (LOCK, "a primary key from an index on nullable columns"),
    25: (LOCK, "an exclusion constraint builds its index"),
    26: (BLUE_GREEN, "a column that is used goes"),
    27: (BLUE_GREEN, "a table that is used goes"),
    28: (BLUE_GREEN, "a column that is used gets another name"),
    29: (BLUE_GREEN, "a table that is used gets another name"),
    30: (BLUE_GREEN, "an enum value gets another name"),
    31: (BLUE_GREEN, "an enum value that the old release does not know"),
    32: (TRANSACTION, "an enum value used in the transaction that adds it"),
    33: (BLUE_GREEN, "a default that old inserts rely on goes"),
    34: (BLUE_GREEN, "a default changes what old inserts write"),
    35: (BLUE_GREEN, "a view or function that is used goes or changes"),
    36: (BLUE_GREEN, "a grant is missing on what was made anew"),
    37: (BLUE_GREEN, "rights, owner or row security change"),
    38: (BLUE_GREEN, "a trigger may refuse old writes"),
    39: (BLUE_GREEN, "a trigger that old writes rely on goes"),
    40: (BLUE_GREEN, "a constraint that is relied on goes"),
    41: (BLUE_GREEN, "a sequence that is used is set back or narrowed"),
    42: (LOCK, "a lock is held while data is filled in"),
    43: (DATA, "an UPDATE or DELETE of very many rows"),
    44: (DATA, "TRUNCATE"),
    45: (TRANSACTION, "a statement that no transaction may hold"),
    46: (TRANSACTION, "a commit in the middle of a revision"),
    47: (LOCK, "no lock_timeout, or one too long"),
    48: (LOCK, "a statement without an end while a lock is held"),
    49: (LOCK, "a statement that shuts everybody out"),
    50: (LOCK, "a partition whose rows are scanned"),
    51: (BLUE_GREEN, "a json column under DISTINCT"),
    52: (PROCESS, "SQL that cannot be read beforehand"),
    53: (TRANSACTION, "a statement that fails"),
    54: (PROCESS, "a tree of revisions that does not fit"),
    55: (PROCESS, "a downgrade that is missing"),
}


@dataclass(frozen=True)
class Statement:
    """One SQL statement of a revision."""

    revision: str
    text: str


@dataclass(frozen=True)
class Finding:
    """What was found about one statement; `verdict` is what it alone would mean for the migration."""

    hazard: int
    verdict: str
    object: str
    statement: str
    revision: str
    evidence: str
    remedy: str
    source: str = "rules"

    @property
    def kind(self) -> str:
        return HAZARDS[self.hazard][0]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind, "title": HAZARDS[self.hazard][1]}


@dataclass(frozen=True)
class Revision:
    """A step of the migration as it will run: its SQL, and why that SQL may not be all."""

    id: str
    sql: str
    contract: bool = False
    blind: str = ""
    # What takes it back, where that is known.
    undo: str = ""


@dataclass(frozen=True)
class Settings:
    """How the migration runs. None stands for what is not known, and then nothing is assumed."""

    transaction: str | None = None
    lock_timeout_seconds: float | None = None
    statement_timeout_seconds: float | None = None
    plan_caching: bool | None = None
    role: str = ""
    # How long a statement of the serving release may wait.
    patience_seconds: float = 10
    # Below both, work on a whole table takes no time that anybody would notice.
    small_rows: int = 50_000
    small_bytes: int = 64 * 1024**2
    accept_no_downgrade: bool = False


@dataclass(frozen=True)
class Report:
    """The verdict on the set, on each revision, and what decided them."""

    verdict: str
    revisions: Mapping[str, str]
    findings: Sequence[Finding]
    notes: Sequence[str] = ()
    deferred: Sequence[str] = ()
    target: str = ""
    covered: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "revisions": [{"id": key, "verdict": value} for key, value in self.revisions.items()],
            "findings": [finding.as_dict() for finding in self.findings],
            "notes": list(self.notes),
            "deferred": list(self.deferred),
            "target": self.target,
            "covered": dict(self.covered),
        }


def worst(verdicts: Iterable[str]) -> str:
    """The verdict that decides; without any, nothing speaks against running."""
    return max(verdicts, key=VERDICTS.index, default=RUN_NOW)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, the deciding ones first."""
    unique: dict[object, Finding] = {}
    for one in findings:
        unique.setdefault((one.hazard, one.object, one.revision, one.statement, one.verdict), one)
    return sorted(unique.values(), key=lambda one: -VERDICTS.index(one.verdict))
