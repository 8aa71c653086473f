# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Backups of the platform's database, on the host that keeps them.

backup [--type full|diff|incr]   take one; without a type the one that is due
verify                           look at every file of the repository and for gaps in the WAL
drill [--kind K --value V]       restore to a scratch server, look through it, measure; else a random recent moment
status                           what there is, as JSON
prepare                          make the stanza where there is none, prove archiving, take the first backup; JSON
copy                             as root: a versioned copy of the repository, which root alone can write; JSON on stdin
roll-back                        as root: a time as JSON on stdin, the repository is as the copy before it has it; JSON
heartbeat                        on the database host: write a row every few seconds
masked                           a target, a database and rules as JSON on stdin; a copy without what is personal; JSON
rehearse                         a migration as JSON on stdin, run on a scratch server with the newest state; JSON
mark WHAT                        there: make a restore point; its name begins with WHAT; JSON
tables                           there: a target, a database and tables as JSON on stdin, put beside the live ones; JSON
restore                          there, as root: a target as JSON on stdin, the cluster is put back to it; JSON
rebuild                          there, as root: to the latest state where the cluster is not the one backed up; JSON
undo, forget                     there, as root: back from a killed restore; remove the clusters that restores kept

The exit code tells what is wrong (see problems.py), the message how to mend it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable

import heartbeat
import inplace
import masking
import metrics
import rehearsal
import schedule
import tables
import targets
from catalogue import Backup, Catalogue
from copies import Copies
from drill import Drill
from drill import Report as DrillReport
from problems import BROKEN, BUSY, DAMAGED, INPUT, NO_ROOM, REFUSED, Problem
from repository import Repository, execute, passphrase
from scratch import Scratch

SETTINGS = "/etc/signalbox/backup.json"
SETTLE_SECONDS = 30.0
# A backup that is under way is waited for: it expires older ones at its end.
COPY_WAIT_SECONDS = 7200.0
_BUSY = {"repository": "a backup, or what reads the repository, is under way"}
# `status` looks whether a drill is under way.
GLANCE_SECONDS = 5.0


def settings(path: str = SETTINGS) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise Problem(INPUT, f"{path}: {error}", "the role pgbackrest writes it") from None
    return found


@contextlib.contextmanager
def alone(known: Mapping[str, Any], what: str, wait_seconds: float = 0, shared: bool = False) -> Iterator[None]:
    """One run of a kind at a time, or several that share; the lock dies with its process."""
    directory = Path(known["lock_directory"])
    # The directory is postgres' own, where root must follow no link and leave nothing that is root's.
    lock = os.open(directory / f"signalbox-{what}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(lock, directory.stat().st_uid, directory.stat().st_gid)
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Problem(BUSY, _BUSY.get(what, f"another {what} is under way"), "wait for it") from None
            time.sleep(1)
        yield
    finally:
        os.close(lock)


def unexpired(known: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """While it lasts no backup ends, which removes older ones and their WAL."""
    return alone(known, "repository", COPY_WAIT_SECONDS, shared=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def patiently(step: Callable[[], None]) -> None:
    """The other host's server may have been started a moment ago, and tells nobody when it listens."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return step()
        except Problem as problem:
            if time.monotonic() > deadline or "archive_mode" in str(problem):
                raise
            say(f"once more, for {problem}")
        time.sleep(2)


class Program:
    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known
        self.state = Path(known["state_directory"])
        self.repository = Repository(known["stanza"])

    # ---- backup ----------------------------------------------------------------------------------------------------

    def backup(self, kind: str = "") -> None:
        with alone(self.known, "backup"):
            self._tidy()
            try:
                with alone(self.known, "repository", COPY_WAIT_SECONDS):
                    self._backup(kind)
            except Problem as problem:
                self._ended("backup_run", [str(problem)])
                raise
            self._ended("backup_run", [])

    def _ended(self, name: str, findings: list[str], **more: Any) -> None:
        """How a run ended, also when badly: an older success must not stand for it."""
        found = {"success": int(not findings), "timestamp_seconds": time.time(), "findings": findings}
        metrics.remember(self.state, name, {**found, **more})

    def _backup(self, kind: str) -> None:
        before = self.repository.info()
        if before.code not in (0, 2):
            raise Problem(BROKEN, f"stanza {self.known['stanza']}: {before.message}", "playbooks/site.yml prepares it")
        kind = kind or schedule.due(before, time.time(), self.known["full_days"], self.known["differential_hours"])
        self._room(before, kind)
        began = time.monotonic()
        command = self.repository.command("backup", f"--type={kind}", "--log-level-console=info")
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
        if code != 0:
            raise Problem(BROKEN, f"pgbackrest backup ended with {code}", "its last lines above name the reason")
        self._remember(self.repository.info(), time.monotonic() - began)

    def _room(self, before: Catalogue, kind: str) -> None:
        """A full repository would stop archiving too, so a backup leaves room for WAL."""
        directory, least = self.known["repository_directory"], int(self.known["disk_minimum_bytes"])
        like = [backup for backup in before.backups if backup.kind == kind]
        wanted = least + max((backup.repository_bytes for backup in like[-3:]), default=0)
        if shutil.disk_usage(directory).free < wanted and before.backups:
            # Backups expire after one was taken; a shorter retention has to be able to make room for it.
            self.repository.ask("expire", seconds=3600)
        free = shutil.disk_usage(directory).free
        if free < wanted:
            what = f"{directory} has {free >> 20} MiB free, and {wanted >> 20} MiB are wanted before a {kind} backup"
            remedy = "enlarge the disk, or lower pgbackrest_retention_days; archiving goes on meanwhile"
            raise Problem(NO_ROOM, what, remedy)

    def _remember(self, found: Catalogue, seconds: float) -> None:
        newest = found.newest
        if newest is None:
            raise Problem(BROKEN, "the backup is not in the repository", "run `verify`")
        full = max((backup.stopped for backup in found.of_kind("full")), default=0.0)
        record = {
            "label": newest.label,
            "kind": newest.kind,
            "seconds": seconds,
            "stopped_timestamp_seconds": newest.stopped,
            "database_bytes": newest.database_bytes,
            "repository_bytes": newest.repository_bytes,
            "page_errors": int(newest.page_errors),
            "full_stopped_timestamp_seconds": full,
        }
        metrics.remember(self.state, "backup", record)
        if newest.page_errors:
            what = f"{newest.label} holds pages with wrong checksums"
            raise Problem(DAMAGED, what, "the database's disk is failing: restore elsewhere")

    # ---- verify ----------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        with alone(self.known, "verify"), unexpired(self.known):
            began = time.monotonic()
            try:
                findings = self._verify() + self._gaps()
            except Problem as problem:
                findings = [str(problem)]
            self._ended("backup_verify", findings, seconds=time.monotonic() - began)
            if findings:
                remedy = "take a full backup now (`backup --type full`), then look at the disk"
                raise Problem(DAMAGED, "; ".join(findings), remedy)
            say("the repository is sound, and no WAL is missing since its newest full backup")

    def _verify(self) -> list[str]:
        said = self.repository.verify(float(self.known["verify_seconds"]))
        sound = said.code == 0 and "status: ok" in said.output
        return [] if sound else [f"verify: {said.output.strip()[-1500:] or said.reason}"]

    def _gaps(self) -> list[str]:
        found = self.repository.info()
        holes = self.repository.missing_segments(found) if found.archive_id else []
        if holes:
            # Segments are pushed side by side, so that a later one may be there a moment before an earlier one.
            time.sleep(SETTLE_SECONDS)
            holes = [hole for hole in self.repository.missing_segments(found) if hole in holes]
        full = max(found.of_kind("full"), key=lambda backup: backup.started, default=None)
        findings = []
        for hole in holes:
            if full and hole.before(full):
                say(f"WAL archive: {hole} is missing, from before the newest full backup: its moments are lost")
            else:
                findings.append(f"WAL archive: {hole} is missing")
        return findings

    # ---- drill -----------------------------------------------------------------------------------------------------

    def drill(self, wanted: targets.Target | None) -> dict[str, Any]:
        with alone(self.known, "drill", GLANCE_SECONDS), unexpired(self.known):
            try:
                report = self._drill(wanted)
            except Problem as problem:
                report = DrillReport(at=time.time(), findings=[str(problem)])
            found = asdict(report)
            metrics.remember(self.state, "backup_drill", found)
            metrics.append(self.state / "drills.jsonl", found)
            return found

    def _drill(self, wanted: targets.Target | None) -> DrillReport:
        repository = Repository(self.known["stanza"], self.known["scratch_configuration"])
        self._scratch_room(repository)
        run = Drill(
            repository,
            self._scratch(),
            float(self.known["heartbeat_seconds"]),
            float(self.known["archive_timeout_seconds"]),
            int(self.known["processes"]),
            float(self.known["drill_seconds"]),
            self.known["drill_checks"],
            say,
        )
        return run.run(wanted, time.time())

    def _scratch_room(self, repository: Repository) -> None:
        newest = repository.info().newest
        directory = Path(self.known["scratch_directory"])
        free, needed = shutil.disk_usage(directory).free, int((newest.database_bytes if newest else 0) * 1.3)
        if free < needed:
            what = f"{directory} has {free >> 20} MiB free, and a drill needs {needed >> 20} MiB"
            remedy = "enlarge the disk, or set pgbackrest_scratch_directory to another one"
            raise Problem(NO_ROOM, what, remedy)

    def _scratch(self) -> Scratch:
        return Scratch(Path(self.known["scratch_directory"]), Path(self.known["binaries"]))

    def _leftover(self) -> bool:
        """Whether a killed run left what it had restored, which may be what masking had yet to change."""
        try:
            with alone(self.known, "drill"):
                return self._scratch().leftover
        except Problem:
            return False

    def _tidy(self) -> None:
        with contextlib.suppress(Problem), alone(self.known, "drill"):
            self._scratch().remove()

    # ---- copies for staging ----------------------------------------------------------------------------------------

    def masked(self) -> dict[str, Any]:
        asked = inplace.request(sys.stdin.read())
        database = str(asked.get("database") or "")
        if not database:
            raise Problem(INPUT, "no database is named", "say which one, such as -e database=agent_api")
        repository = Repository(self.known["stanza"], self.known["scratch_configuration"])
        run = masking.Masking(
            repository,
            self._scratch(),
            passphrase(Path(self.known["keys_directory"], "cipher.conf")),
            int(self.known["processes"]),
            float(self.known["drill_seconds"]),
            say,
        )
        with alone(self.known, "drill", GLANCE_SECONDS), unexpired(self.known):
            self._scratch_room(repository)
            to = self.state / f"{database}.masked"
            return asdict(run.run(database, asked.get("rules") or {}, targets.target(asked), to, time.time()))

    # ---- migrations ------------------------------------------------------------------------------------------------

    def rehearse(self) -> dict[str, Any]:
        driver = importlib.import_module("psycopg2")  # nothing else here needs it
        # Else a signal would wait for the end of a statement, and a kill that follows leave the server.
        driver.extensions.set_wait_callback(importlib.import_module("psycopg2.extras").wait_select)
        wanted = rehearsal.asked(inplace.request(sys.stdin.read()))
        repository = Repository(self.known["stanza"], self.known["scratch_configuration"])
        seconds, processes = float(self.known["drill_seconds"]), int(self.known["processes"])
        run = rehearsal.Rehearsal(repository, self._scratch(), driver, processes, seconds, say)
        with alone(self.known, "drill", GLANCE_SECONDS), unexpired(self.known):
            self._scratch_room(repository)
            return asdict(run.run(wanted, time.time()))

    # ---- status and preparation ------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        found = self.repository.look()
        return {
            "stanza": self.known["stanza"],
            "code": found.code,
            "message": found.message,
            "busy": found.busy,
            "archive_maximum": found.archive_maximum,
            "archive_timestamp_seconds": self.repository.archived(found),
            "archive_timeout_seconds": self.known["archive_timeout_seconds"],
            "prepared_timestamp_seconds": metrics.recall(self.state, "backup_prepared").get("timestamp_seconds", 0),
            "timelines": [line.number for line in found.timelines],
            "backups": [_shown(backup) for backup in found.backups],
            "backup": metrics.recall(self.state, "backup"),
            "run": metrics.recall(self.state, "backup_run"),
            "verify": metrics.recall(self.state, "backup_verify"),
            "drill": metrics.recall(self.state, "backup_drill"),
            "copies": bool(self.known["copies_directory"]),
            "leftover": self._leftover(),
            "copy": metrics.recall(Path(self.known["copies_directory"] or "/nowhere"), "backup_copy"),
        }

    def prepare(self) -> dict[str, Any]:
        done, found = [], self.repository.info()
        if found.code in (1, 3):
            if metrics.recall(self.state, "backup"):
                what = f"{self.known['repository_directory']} holds no stanza, and there were backups in it"
                remedy = f"mount its disk; to begin anew remove {self.state}/backup.json"
                raise Problem(REFUSED, what, remedy)
            patiently(self.repository.stanza_create)
            done.append("made the stanza")
        try:
            patiently(self.repository.check)
        except Problem as problem:
            if "archive_mode" not in str(problem):
                raise
            remedy = "run site.yml once with -e postgresql_restart_allowed=true, in a maintenance window"
            raise Problem(
                REFUSED, "PostgreSQL runs with archive_mode off, which only a restart changes", remedy
            ) from None
        if not metrics.recall(self.state, "backup_prepared"):
            metrics.remember(self.state, "backup_prepared", {"timestamp_seconds": time.time()})
        if not found.backups:
            self.backup("full")
            done.append("took the first backup")
        return {"done": done, **self.status()}


def _shown(backup: Backup) -> dict[str, Any]:
    return {
        "label": backup.label,
        "kind": backup.kind,
        "stopped": targets.shown(backup.stopped),
        "stopped_seconds": backup.stopped,
        "timeline": backup.timeline,
        "database_bytes": backup.database_bytes,
        "repository_bytes": backup.repository_bytes,
        "page_errors": backup.page_errors,
    }


def copies(known: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Copies of the repository, taken and brought back. No backup and no drill is under way meanwhile."""
    inplace.refuse_unless_root()
    if not known["copies_directory"]:
        raise Problem(REFUSED, "no copies are kept here", "set pgbackrest_copies_directory and run site.yml")
    directory, moment = Path(known["copies_directory"]), 0.0
    asked = {} if sys.stdin.isatty() else inplace.request(sys.stdin.read() or "{}")
    if command == "roll-back":
        moment = targets.moment(str(asked.get("value") or ""))
    keys = Path(known["keys_directory"], "cipher.conf")
    kept = Copies(Path(known["repository_directory"]), directory / "restic", keys, int(known["copy_days"]), say)
    with alone(known, "backup", COPY_WAIT_SECONDS):
        if command == "roll-back":
            with alone(known, "drill"), alone(known, "verify"):
                return kept.roll_back(moment)
        try:
            record = kept.take(bool(asked.get("accept_smaller")))
        except Problem as problem:
            record = {"success": 0, "timestamp_seconds": time.time(), "findings": [str(problem)]}
        metrics.remember(directory, "backup_copy", record)
        told = (directory / "backup_copy.prom").read_text()
        metrics.replace_file(Path(known["metrics_directory"], "signalbox_backup_copy.prom"), told)
        return record


def mark(what: str) -> dict[str, Any]:
    name = targets.restore_point(what, time.time())
    statement = f"select pg_create_restore_point('{name}')"
    said = execute(["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", statement], 60)
    if said.code != 0:
        raise Problem(BROKEN, f"no restore point: {said.errors.strip()[-300:]}", "see that PostgreSQL runs")
    return {"name": name}


def beside(known: Mapping[str, Any]) -> dict[str, Any]:
    asked = tables.wanted(inplace.request(sys.stdin.read()))
    scratch = Scratch(Path(known["scratch_directory"]), Path(known["binaries"]))
    run = tables.Beside(
        Repository(known["stanza"]), scratch, int(known["processes"]), float(known["drill_seconds"]), say
    )
    # Where one host is everything, a drill would use the same directory.
    with alone(known, "tables"), alone(known, "drill"):
        return asdict(run.run(asked, time.time()))


def in_place(known: Mapping[str, Any], command: str) -> dict[str, Any]:
    inplace.refuse_unless_root()
    data, seconds, processes = Path(known["data_directory"]), float(known["drill_seconds"]), int(known["processes"])
    host = inplace.InPlace(data, Path(known["binaries"]), seconds, processes, say)
    with alone(known, "restore"):
        if command == "forget":
            return {"removed": host.forget()}
        if command == "undo":
            host.undo()
            return {}
        repository = Repository(known["stanza"], execute=inplace.as_postgres)
        if command == "rebuild":
            rebuilt = host.rebuild(repository, time.time())
            return asdict(rebuilt) if rebuilt else {}
        wanted = targets.target(inplace.request(sys.stdin.read()))
        return asdict(host.run(repository, wanted, time.time()))


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="backup", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("backup").add_argument("--type", choices=["full", "diff", "incr"], default="")
    wanted = commands.add_parser("drill")
    wanted.add_argument("--kind", choices=["random", *targets.KINDS], default="random")
    for option in ("value", "label", "before"):
        wanted.add_argument(f"--{option}", default="")
    wanted.add_argument("--timeline", type=int, default=0)
    commands.add_parser("mark").add_argument("what")
    for name in (
        "copy",
        "roll-back",
        "verify",
        "status",
        "prepare",
        "heartbeat",
        "masked",
        "rehearse",
        "tables",
        "restore",
        "rebuild",
        "undo",
        "forget",
    ):
        commands.add_parser(name)
    return parser.parse_args(argv)


def act(asked: argparse.Namespace) -> int:
    known = settings()
    if asked.command == "heartbeat":
        heartbeat.beat(float(known["heartbeat_seconds"]), say)
        return 0
    if asked.command in ("copy", "roll-back"):
        copied = copies(known, asked.command)
        print(json.dumps(copied, sort_keys=True))
        return DAMAGED if copied.get("findings") else 0
    if asked.command in ("restore", "rebuild", "undo", "forget"):
        print(json.dumps(in_place(known, asked.command), sort_keys=True))
        return 0
    if asked.command == "mark":
        print(json.dumps(mark(asked.what)))
        return 0
    if asked.command == "tables":
        print(json.dumps(beside(known), sort_keys=True))
        return 0
    program, answer = Program(known), None
    if asked.command == "rehearse":
        # What it finds speaks against the migration, and is no fault of the backup.
        print(json.dumps(program.rehearse(), sort_keys=True))
        return 0
    if asked.command == "backup":
        program.backup(asked.type)
    elif asked.command == "verify":
        program.verify()
    elif asked.command == "drill":
        if asked.kind == "random" and any((asked.value, asked.label, asked.before, asked.timeline)):
            raise Problem(INPUT, "a random moment takes no value", "say --kind as well")
        answer = program.drill(None if asked.kind == "random" else targets.target(vars(asked)))
    else:
        answer = getattr(program, asked.command)()
    if answer is not None:
        print(json.dumps(answer, sort_keys=True))
    return DAMAGED if answer is not None and answer.get("findings") else 0


def main(argv: list[str]) -> int:
    # So that what is under way is put back, as after an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return act(arguments(argv))
    except Problem as problem:
        say(f"backup: {problem}")
        return problem.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
