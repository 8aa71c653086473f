# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a migration once: when it is tried again, when it is given up, and what it may not leave behind."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._one_shot import Ended, explain, last_lines

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 30.0

# SQLSTATE 55P03, as drivers name it and as the server says it (in English, which the platform's clusters speak).
_LOCK_TIMEOUT = re.compile(
    r"\b55P03\b|\bLockNotAvailable(Error)?\b|canceling statement due to lock timeout|could not obtain lock on "
)


class Refused(Exception):
    """The migration may not begin. Nothing was touched."""


@dataclass(frozen=True)
class State:
    """The database, as far as a migration changes it. `structure` stands for all tables, columns and constraints."""

    revisions: tuple[str, ...]
    structure: str
    invalid: tuple[str, ...] = ()


class Database(Protocol):
    """What the run asks of the database, as the owner."""

    def claim(self) -> None:
        """Take the advisory lock and set the timeouts. Raises Refused."""

    def observe(self) -> State:
        """How it is now."""

    def settle(self) -> list[str]:
        """End what a container left running, and name it."""

    def failing(self, checks: Sequence[str], seconds: float) -> list[str]:
        """Which queries return a row, or cannot be run within these seconds in all; no value of a row is told."""

    def watch(self) -> Any:
        """A context that sees who holds what the migration waits for; its `blockers` are names."""


@dataclass(frozen=True)
class Limits:
    """All attempts and pauses together take no longer than `seconds`, but for the last statement's end."""

    seconds: float
    attempts: int


@dataclass
class Outcome:
    """How the run ended; `problem` is empty when all went well."""

    ended: Ended
    attempts: int
    problem: str = ""
    waited_for: list[str] = field(default_factory=list)
    changed: bool = False
    revisions: tuple[str, ...] = ()


def is_lock_timeout(ended: Ended) -> bool:
    """Whether a command failed because it could not have a lock in time."""
    return not ended.timed_out and bool(_LOCK_TIMEOUT.search(ended.stdout + "\n" + ended.stderr))


def pause(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Twice as long each time, and between a half and all of that, so that it never beats in time with what blocks."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return longest * (0.5 + 0.5 * chance())


@dataclass
class Run:
    """One migration: `execute` runs the command once, for so many seconds at most."""

    database: Database
    execute: Callable[[float], Ended]
    limits: Limits
    checks: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    warn: Callable[[str], None] = lambda _text: None

    def run(self) -> Outcome:
        """Try until it is done, cannot be tried again, or the budget is spent."""
        self.database.claim()
        start = now = self.database.observe()
        if start.invalid:
            raise Refused(_unfinished(start.invalid))
        deadline = self.clock() + self.limits.seconds
        seen: list[str] = []
        for attempt in range(1, self.limits.attempts + 1):
            try:
                with self.database.watch() as watch:
                    ended = self.execute(max(1.0, deadline - self.clock()))
            except BaseException:
                self.database.settle()  # or what runs on the server would keep its locks
                raise
            seen += [one for one in watch.blockers if one not in seen]
            for left in self.database.settle():
                self.warn(f"a session that the migration left was ended: {left}")
            before, now = now, self.database.observe()
            outcome = Outcome(ended, attempt, "", seen, now != start, now.revisions)
            outcome.problem = self._problem(ended, before, now)
            if not outcome.problem and ended.code == 0:
                outcome.problem = _unsound(self.database.failing(self.checks, max(1.0, deadline - self.clock())))
                return outcome
            rest = pause(attempt)
            if outcome.problem or attempt == self.limits.attempts or self.clock() + rest >= deadline:
                break
            self.warn(f"attempt {attempt} could not have its lock{_held_by(seen)}; the next one in {rest:.1f} s")
            self.sleep(rest)
        outcome.problem = outcome.problem or (
            f"could not have its lock in {outcome.attempts} attempts{_held_by(seen)}; what was not committed was "
            "rolled back. Remedy: end what holds the lock, or run this again when it has ended"
        )
        return outcome

    def _problem(self, ended: Ended, before: State, now: State) -> str:
        """Why there is no other attempt; empty after success, and where another one may be made."""
        if now.invalid:
            what = "" if ended.code == 0 else f" The command {explain(ended, self.limits.seconds)}."
            return f"left what it had begun to build.{what} {_unfinished(now.invalid)}"
        if ended.code == 0 and not ended.timed_out:
            return ""
        if not is_lock_timeout(ended):
            return explain(ended, self.limits.seconds)
        if now.structure != before.structure and now.revisions == before.revisions:
            return (
                "could not have its lock, and part of the revision is committed already, so it is not tried again. "
                "Remedy: compare the database with the revision, and bring it to one side or the other"
            )
        return ""


def told(outcome: Outcome) -> str:
    """The failure for a screen, with the end of what the command printed."""
    return f"{outcome.problem}. The end of its output:\n{last_lines(outcome.ended)}"


def _unsound(failing: Sequence[str]) -> str:
    if not failing:
        return ""
    return (
        f"went through, and the data is not whole afterwards: {'; '.join(failing)}. Remedy: run the queries, and mend "
        "what they return, or restore; the release that was live serves on"
    )


def _held_by(names: Sequence[str]) -> str:
    return f", which was held by {', '.join(names)}" if names else ""


def _unfinished(invalid: Sequence[str]) -> str:
    drops = "; ".join(f"DROP INDEX CONCURRENTLY {name}" for name in invalid)
    return (
        f"Not valid: {', '.join(invalid)}, from a concurrent build that did not end (or that another role runs this "
        "moment). No query uses such an index, and "
        f"CREATE INDEX IF NOT EXISTS would take it for a whole one. Remedy: as the owner, {drops}; then run this again"
    )
