# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A rehearsed restore: the newest backup at a recent moment, on a scratch server that is looked through and removed."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Callable

import heartbeat
import targets
from catalogue import Catalogue
from problems import DAMAGED, NO_BACKUP, Problem
from repository import Repository
from scratch import CONFINED, Scratch

# On top of twice the archive timeout: transfer, and clocks that differ.
ARCHIVE_LAG_SECONDS = 5.0


@dataclass
class Report:
    """What a drill found. Seconds are wall time; `findings` is empty when all is well."""

    success: int = 0
    at: float = 0.0
    target: str = ""
    backup: str = ""
    timeline: int = 0
    database_bytes: int = 0
    restore_seconds: float = 0.0
    recovery_seconds: float = 0.0
    rto_seconds: float = 0.0
    check_seconds: float = 0.0
    # Between the last heartbeat that came back and the moment asked for; to latest, and now.
    rpo_seconds: float = -1.0
    databases: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@dataclass
class Drill:
    repository: Repository
    scratch: Scratch
    heartbeat_seconds: float
    archive_timeout_seconds: float
    processes: int = 2
    seconds: float = 7200
    checks: Sequence[Mapping[str, str]] = ()
    say: Callable[[str], None] = print

    @property
    def lag_seconds(self) -> float:
        """After so long a commit has left the database host."""
        return 2 * self.archive_timeout_seconds + ARCHIVE_LAG_SECONDS

    def run(self, wanted: targets.Target | None, now: float) -> Report:
        """Against the target, or a random moment when there is none."""
        catalogue = self.repository.look()
        if wanted is not None:
            return self._once(catalogue, wanted, now)
        report = self._once(catalogue, random_moment(catalogue, now, self.lag_seconds), now)
        if report.findings and all(finding.startswith("heartbeat") for finding in report.findings):
            self.say("; ".join(report.findings) + ": once more, for the database may have been down at that moment")
            report = self._once(catalogue, random_moment(catalogue, now, self.lag_seconds), now)
        return report

    def _once(self, catalogue: Catalogue, wanted: targets.Target, now: float) -> Report:
        plan = targets.plan(catalogue, wanted, now)
        targets.check_archived(wanted, self.repository.archived(catalogue), now)
        report = Report(at=now, target=f"{wanted.kind} {wanted.value}".strip(), backup=plan.backup.label)
        report.timeline, report.database_bytes = plan.timeline, plan.backup.database_bytes
        self.say(f"restoring {plan.backup.label} to {report.target}, timeline {plan.timeline}")
        with self.scratch as scratch:
            began = time.monotonic()
            scratch.restore(self.repository, plan, self.processes, self.seconds)
            restored = time.monotonic()
            scratch.start(self.seconds)
            recovered = time.time()
            report.restore_seconds = restored - began
            report.recovery_seconds = time.monotonic() - restored
            report.rto_seconds = time.monotonic() - began
            self.say(f"restored in {report.restore_seconds:.1f} s, recovered in {report.recovery_seconds:.1f} s")
            self._look_through(scratch, wanted, report, recovered)
            report.check_seconds = time.monotonic() - began - report.rto_seconds
        report.success = int(not report.findings)
        return report

    def _look_through(self, scratch: Scratch, wanted: targets.Target, report: Report, recovered: float) -> None:
        report.databases = scratch.databases()
        self._heartbeat(scratch, wanted, report, recovered)
        for database in report.databases:
            self._finding(report, f"constraints of {database}", partial(self._validate, scratch, database))
        for check in self.checks:
            self._check(scratch, check, report)
        found = scratch.amcheck(self.processes, self.seconds)
        report.findings += [f"amcheck: {found}"] if found else []
        scratch.stop()
        found = scratch.checksums(self.seconds)
        report.findings += [f"checksums: {found}"] if found else []

    def _validate(self, scratch: Scratch, database: str) -> None:
        scratch.confine(database)
        scratch.validate(database, self.seconds)

    def _heartbeat(self, scratch: Scratch, wanted: targets.Target, report: Report, recovered: float) -> None:
        try:
            beat = float(scratch.ask("postgres", heartbeat.READ) or 0)
        except Problem as problem:
            report.findings.append(f"heartbeat: {problem}")
            return
        # Recovery to the end fetches what arrives until it ends.
        moment = targets.moment(wanted.value) if wanted.kind == "time" else recovered
        report.rpo_seconds = moment - beat
        limit = {"time": 0.0, "latest": self.lag_seconds}.get(wanted.kind)
        if limit is None:
            return
        if not -1 <= report.rpo_seconds <= limit + 3 * self.heartbeat_seconds + 1:
            what = f"the newest row that came back is {report.rpo_seconds:.1f} s older than {wanted.value or 'now'}"
            report.findings.append(f"heartbeat: {what}")

    def _check(self, scratch: Scratch, check: Mapping[str, str], report: Report) -> None:
        def ask() -> None:
            answer = scratch.ask(check["database"], check["query"], self.seconds, CONFINED)
            if answer != "t":
                raise Problem(DAMAGED, f"it answered {answer[:80]!r} instead of true", "look at the data")

        self._finding(report, f"check {check['name']}", ask)

    def _finding(self, report: Report, what: str, look: Callable[[], object]) -> None:
        try:
            look()
        except Problem as problem:
            report.findings.append(f"{what}: {problem}")


def random_moment(catalogue: Catalogue, now: float, lag_seconds: float) -> targets.Target:
    """A moment since the newest backup, and old enough for its commits to have left the database host."""
    if not catalogue.backups:
        raise Problem(NO_BACKUP, f"the repository holds no backup ({catalogue.message})", "take one first")
    last = now - lag_seconds
    first = max((backup.stopped + 1 for backup in catalogue.backups if backup.stopped + 1 < last), default=None)
    if first is None:
        what = f"the only backup is {now - catalogue.backups[0].stopped:.0f} s old"
        raise Problem(NO_BACKUP, what, "wait some minutes, or drill to latest")
    at = random.uniform(first, last)  # noqa: S311  no secret
    return targets.Target("time", datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds"))
