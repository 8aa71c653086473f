# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a statement of the serving release waits for the migration, and longer than it may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._migration_lock_modes import (
    BRIEF,
    FOREVER,
    GONE,
    MODES,
    ROWS,
    SHARE,
    Lock,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    HOLD,
    UNDETERMINED,
    Finding,
    Settings,
    Statement,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import DELETE, INSERT, UPDATE, Serving

SMALL, LARGE, UNKNOWN = "small", "large", "unknown"
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LOCK_TIMEOUT = "Set lock_timeout to a few seconds for the migration, and let it try again."


def seconds(value: str) -> float | None:
    """A time as PostgreSQL takes it, without a unit in milliseconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*", value)
    return float(match[1]) * _UNITS[match[2] or ""] if match else None


@dataclass
class Timeouts:
    """The two timeouts as the runner sets them and statements change them."""

    runner: dict[str, float | None]
    session: dict[str, float | None] = field(default_factory=dict)
    local: dict[str, float | None] = field(default_factory=dict)

    def set(self, name: str, value: str, reset: bool, local: bool) -> None:
        if name == "":  # RESET ALL
            self.session, self.local = {}, {}
        elif reset:
            self.session.pop(name, None)
            self.local.pop(name, None)
        else:
            (self.local if local else self.session)[name] = seconds(value)

    def get(self, name: str) -> float | None:
        for values in (self.local, self.session, self.runner):
            if name in values:
                return values[name]
        return None


@dataclass
class Held:
    """A lock of an earlier statement that lasts until the transaction ends."""

    lock: Lock
    statement: Statement


def size_of(names: tuple[str, ...], catalogue: Catalogue, settings: Settings) -> tuple[str, str]:
    """How long work on whole tables takes, and the figures that say so."""
    tables = [catalogue.tables[name] for name in names if name in catalogue.tables]
    tables = [table for table in tables if not table.new]
    rows = [catalogue.rows_of(table) for table in tables]
    total, size = sum(max(one, 0) for one in rows), sum(catalogue.bytes_of(table) for table in tables)
    figures = f"{', '.join(names)}: {total:,} rows, {size / 1024**2:,.0f} MiB"
    if total > settings.small_rows or size > settings.small_bytes:
        return LARGE, figures
    if any(one < 0 for one in rows) or not catalogue.known:
        return UNKNOWN, f"{', '.join(names)}: size not known, ANALYZE never ran"
    return SMALL, figures


def conflicting(lock: Lock, serving: Serving) -> str:
    """A statement of the serving release that would wait; empty without one."""
    writes = {INSERT, UPDATE, DELETE}
    for use, kinds in serving.touching(lock.table):
        if (
            lock.mode in (8, GONE)
            or (lock.mode >= SHARE and kinds & writes)
            or (lock.mode == ROWS and kinds & {UPDATE, DELETE})
        ):
            return use.text
    return ""


@dataclass
class LockRules:
    """Judges the locks of one statement after the other."""

    serving: Serving | None
    settings: Settings
    timeouts: Timeouts
    held: list[Held] = field(default_factory=list)

    def judge(
        self, locks: list[Lock], statement: Statement, catalogue: Catalogue, in_transaction: bool
    ) -> Iterator[Finding]:
        """Findings about the locks of one action; they stay held until the transaction ends."""
        for lock in locks:
            table = catalogue.tables.get(lock.table)
            if lock.table and (table is None or table.new):
                continue
            yield from self._one(lock, statement, catalogue)
        yield from self._while_held(locks, statement, catalogue)
        if in_transaction:
            self.held += [Held(lock, statement) for lock in locks if lock.mode >= SHARE]

    def _waits(self, lock: Lock) -> tuple[str, bool]:
        """The statement that would wait, and whether its absence is certain."""
        if self.serving is None:
            return "", False
        return conflicting(lock, self.serving), self.serving.complete

    def _one(self, lock: Lock, statement: Statement, catalogue: Catalogue) -> Iterator[Finding]:
        if lock.mode < SHARE and lock.mode not in (ROWS, GONE):
            return
        text, certain = self._waits(lock)
        if not text and certain:
            return
        size, figures = size_of(lock.worked or (lock.table,), catalogue, self.settings)
        if lock.work != BRIEF and size != SMALL and not (size == UNKNOWN and self._ends_soon()):
            verdict = HOLD if text and size == LARGE else UNDETERMINED
            evidence = f"{lock.why}; {MODES[lock.mode]} on {figures}; {_waiting(text)}"
            yield _finding(lock, verdict, statement, evidence)
        elif lock.mode not in (ROWS, GONE):
            yield from self._timeout(lock, text, statement)

    def _timeout(self, lock: Lock, text: str, statement: Statement) -> Iterator[Finding]:
        timeout = self.timeouts.get("lock_timeout")
        if timeout is not None and 0 < timeout <= self.settings.patience_seconds:
            return
        verdict = UNDETERMINED if timeout is None or not text else HOLD
        told = "lock_timeout is not known" if timeout is None else f"lock_timeout is {timeout:g} s"
        told = "there is no lock_timeout" if timeout == 0 else told
        evidence = (
            f"{MODES[lock.mode]} queues behind the oldest reader, and everybody behind it; {told}; {_waiting(text)}"
        )
        yield Finding(47, verdict, lock.table, statement.text, statement.revision, evidence, _LOCK_TIMEOUT)

    def _ends_soon(self) -> bool:
        timeout = self.timeouts.get("statement_timeout")
        return timeout is not None and 0 < timeout <= self.settings.patience_seconds

    def _while_held(self, locks: list[Lock], statement: Statement, catalogue: Catalogue) -> Iterator[Finding]:
        earlier = [one for one in self.held if one.statement != statement]
        for work in locks:
            if work.work == BRIEF:
                continue
            size, figures = size_of(work.worked or (work.table,), catalogue, self.settings)
            if work.work != FOREVER and (size == SMALL or (size == UNKNOWN and self._ends_soon())):
                continue
            for held in earlier:
                table = catalogue.tables.get(held.lock.table)
                if table is None or table.new:
                    continue
                text, certain = self._waits(held.lock)
                if not text and certain:
                    continue
                hazard = work.hazard if work.hazard in (20, 48) else 49 if held.lock.hazard == 49 else 42
                told = f"{work.why} ({figures})" if work.table else work.why
                evidence = (
                    f"{MODES[held.lock.mode]} on {held.lock.table}, of {held.statement.text[:80]}, lasts until the "
                    f"transaction ends; {told}; {_waiting(text)}"
                )
                verdict = HOLD if text and (size == LARGE or work.work == FOREVER) else UNDETERMINED
                remedy = (
                    "Give the long work a revision, and so a transaction, of its own (transaction_per_migration=True)."
                )
                yield Finding(hazard, verdict, held.lock.table, statement.text, statement.revision, evidence, remedy)
                break

    def end_transaction(self) -> None:
        self.held.clear()
        self.timeouts.local.clear()


def _waiting(text: str) -> str:
    return f"this would wait: {text[:160]}" if text else "which statements would wait is not known"


def _finding(lock: Lock, verdict: str, statement: Statement, evidence: str) -> Finding:
    return Finding(lock.hazard, verdict, lock.table, statement.text, statement.revision, evidence, lock.remedy)
