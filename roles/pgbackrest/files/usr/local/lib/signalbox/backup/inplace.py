# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database host's own cluster, put back to a moment.

The old cluster is moved aside first and comes back when anything fails; a run that was killed is undone by the next
one. Logins keep the passwords they have now: a restored catalogue would turn them back, and nobody could log in.
Runs as root, for it stops and starts the cluster's unit; files are touched as their owner alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

import heartbeat
import live
import metrics
import postmaster
import scratch
import targets
from catalogue import Catalogue
from problems import BROKEN, INPUT, NO_ROOM, REFUSED, Problem
from repository import Repository, Said, execute

UNIT = "postgresql@17-main"
# Root's own: in a directory of the cluster's owner it could name any path.
JOURNAL = Path("/var/lib/signalbox/backup-restore.json")
HEARTBEAT_UNIT = "signalbox-heartbeat.service"
ROOM = 1.2
CONFIGURATION = "/etc/postgresql/17/main"
# So long there may be no server, after one said why it ended and else.
SETTLE_SECONDS, SILENCE_SECONDS = 3.0, 60.0
# The unit starts a server again that ended. One that says why each time will not get further.
RESTARTS = 3
PROGRESS_SECONDS = 15.0
_LOGINS = "select json_object_agg(rolname, rolpassword) from pg_authid where rolpassword like 'SCRAM-SHA-256$%'"
# Names and verifiers come as literals of a JSON document; nothing of them is written to the server's log.
_PASSWORDS = """
set log_statement = 'none'; set log_min_duration_statement = -1; set log_min_error_statement = 'panic';
set client_min_messages = 'error'; set pg_stat_statements.track = 'none';
do $signalbox$ declare login record; begin
  for login in select key, value from json_each_text({document}) join pg_roles on rolname = key loop
    execute format('alter role %I password %L', login.key, login.value);
  end loop;
end $signalbox$
"""


_TOLD_TO_CLIENTS = re.compile(r"FATAL: .*(database system is|terminating (connection|background))")


def as_postgres(command: Sequence[str], seconds: float, stdin: str = "") -> Said:
    """A command as the cluster's owner; what it reads is never in its arguments."""
    whole = ["runuser", "-u", "postgres", "--", *command]
    if not stdin:
        return execute(whole, seconds)
    done = subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd="/")
    return Said(done.returncode, done.stdout, done.stderr)


@dataclass
class Report:
    """What a restore did. Seconds are wall time."""

    target: str = ""
    backup: str = ""
    timeline: int = 0
    kept: str = ""
    notes: list[str] = field(default_factory=list)
    restore_seconds: float = 0.0
    recovery_seconds: float = 0.0
    # Between the last heartbeat that came back and the moment asked for, or now.
    rpo_seconds: float = -1.0
    # That heartbeat itself, in seconds since the epoch.
    heartbeat: float = 0.0


@dataclass
class InPlace:
    data: Path
    binaries: Path
    seconds: float
    processes: int
    say: Callable[[str], None] = print
    journal: Path = JOURNAL

    # ---- the run ---------------------------------------------------------------------------------------------------

    def rebuild(self, repository: Repository, now: float) -> Report | None:
        """To the latest state, on a host whose cluster is not the one that is backed up; on another nothing is done."""
        self.undo()
        found = repository.info()
        if found.code not in (0, 2) or not found.system_identifier:
            what = f"what the repository holds is not known: {found.message}"
            raise Problem(BROKEN, what, "see the reason; nothing was touched")
        if self._is_backed_up(found):
            self.say("the cluster is the one that is backed up: nothing is restored")
            return None
        return self.run(repository, targets.Target("latest"), now)

    def run(self, repository: Repository, wanted: targets.Target, now: float) -> Report:
        self.undo()
        found = repository.look()
        plan = targets.plan(found, wanted, now)
        report = Report(f"{wanted.kind} {wanted.value}".strip(), plan.backup.label, plan.timeline)
        self._room(plan.backup.database_bytes)
        passwords = self._leave_the_old_server(report, self._is_backed_up(found))
        targets.check_archived(wanted, repository.archived(found), now)
        kept = self.data.with_name(f"{self.data.name}.before-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}")
        metrics.replace_file(self.journal, json.dumps({"kept": str(kept)}) + "\n")
        try:
            self._stop()
            self._file("mv", "-T", str(self.data), str(kept))
            self._restore(repository, plan, report)
            self._start(report)
            self._passwords(passwords, report)
            self._heartbeat(wanted, report)
        except BaseException:
            self.say("putting the old cluster back")
            self.undo()
            raise
        report.kept = str(kept)
        self.journal.unlink()
        self._systemctl("start", HEARTBEAT_UNIT)
        return report

    def undo(self) -> None:
        """Back to the cluster that an unfinished run moved aside; nothing where there is none."""
        try:
            kept = Path(json.loads(self.journal.read_text())["kept"])
        except FileNotFoundError:
            return
        if kept.exists():
            self._stop()
            self._file("rm", "-rf", "--one-file-system", str(self.data))
            self._file("mv", "-T", str(kept), str(self.data))
        try:
            self._bring_up()
        except Problem as problem:
            raise Problem(BROKEN, f"the old cluster is back: {problem}", "mend that, and run this again") from None
        self._systemctl("start", HEARTBEAT_UNIT)
        self.journal.unlink()
        self.say("the cluster that an unfinished restore had moved aside is back")

    def forget(self) -> list[str]:
        """Remove the clusters that earlier restores kept."""
        self.undo()
        found = sorted(self.data.parent.glob(f"{self.data.name}.before-*"))
        if found:
            self._file("rm", "-rf", "--one-file-system", *map(str, found))
        return [str(path) for path in found]

    # ---- steps -----------------------------------------------------------------------------------------------------

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self.data.parent).free
        if free < needed * ROOM:
            wanted = f"{int(needed * ROOM) >> 20} MiB are wanted beside the old cluster"
            what = f"{self.data.parent} has {free >> 20} MiB free, and {wanted}"
            raise Problem(NO_ROOM, what, "enlarge the disk, or remove what earlier restores kept (-e forget=true)")

    def _leave_the_old_server(self, report: Report, backed_up: bool) -> dict[str, str]:
        """What only the running server can give: its newest commits for the archive, and the logins' passwords.

        The archive takes nothing from a cluster that is not its own.
        """
        try:
            passwords: dict[str, str] = json.loads(self._ask(_LOGINS) or "{}") or {}
            missing = live.archive_newest(self._ask) if backed_up else ""
        except Problem:
            report.notes.append("the old server did not answer: commits of its last seconds may be missing")
            report.notes.append("logins have the passwords of that moment; rotate.yml gives them new ones")
            return {}
        report.notes += [missing] if missing else []
        return passwords

    def _restore(self, repository: Repository, plan: targets.Plan, report: Report) -> None:
        self._file("mkdir", "-m", "0700", str(self.data))
        self.say(f"restoring {plan.backup.label} to {report.target}, timeline {plan.timeline}")
        began = time.monotonic()
        options = [f"--process-max={self.processes}", *plan.options]
        said = as_postgres(repository.command("restore", "--log-level-console=info", *options), self.seconds)
        if said.code != 0:
            raise Problem(BROKEN, f"pgbackrest restore: {said.reason}", "see the reason; nothing was lost")
        report.restore_seconds = time.monotonic() - began

    def _start(self, report: Report) -> None:
        began = time.monotonic()
        raised = self._raise_settings()
        self._bring_up("restored")
        for name, value, declared in raised:
            self._ask(f"alter system reset {name}")
            what = f"{name} is {declared} here and was {value} when the backup was taken, which recovery needs"
            report.notes.append(f"{what}: the server has {value} until its next restart")
        report.recovery_seconds = time.monotonic() - began

    def _raise_settings(self) -> list[tuple[str, int, int]]:
        """What recovery refuses to start with because it is lower here than it was on the server that was backed up."""
        told = as_postgres(["env", "LC_ALL=C", str(self.binaries / "pg_controldata"), str(self.data)], 30)
        raised = []
        for name, value in scratch.carried_settings(told.output).items():
            said = as_postgres([str(self.binaries / "postgres"), "-D", CONFIGURATION, "-C", name], 30)
            if said.code == 0 and int(said.output) < value:
                raised.append((name, value, int(said.output)))
        if raised:
            lines = "".join(f"{name} = {value}\n" for name, value, _declared in raised)
            self._file("tee", "-a", str(self.data / "postgresql.auto.conf"), stdin=lines)
        return raised

    def _bring_up(self, which: str = "old") -> None:
        """Start, and wait until recovery has ended. The unit's own start never ends when recovery fails early."""
        began = told = lived = time.monotonic()
        since = f"@{int(time.time())}"
        self._systemctl("reset-failed", UNIT)
        self._systemctl("start", UNIT, "--no-block")
        while not self._open():
            now, words = time.monotonic(), self._last_words(since)
            lived = now if postmaster.state(self.data) else lived
            fatal = re.search(r"\b(FATAL|PANIC)\b", words) is not None
            state, restarts = self._unit()
            over = state == "failed" or (fatal and restarts >= RESTARTS)
            if over or now - lived > (SETTLE_SECONDS if fatal else SILENCE_SECONDS):
                # Else the unit would go on hanging, and a later start be none.
                self._systemctl("stop", UNIT)
                raise Problem(BROKEN, f"the {which} server does not start: {words}", "see the reason; nothing was lost")
            if now - began > self.seconds:
                raise Problem(BROKEN, f"recovery did not end within {self.seconds:.0f} s", "give it more time")
            if now - told > PROGRESS_SECONDS:
                told = now
                self.say(f"recovering for {now - began:.0f} s: {words}")
            time.sleep(0.2)

    def _unit(self) -> tuple[str, int]:
        """Its state, and how often systemd has started it again."""
        shown = self._systemctl("show", UNIT, "--property=ActiveState,NRestarts").output
        known = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return known.get("ActiveState", ""), int(known.get("NRestarts") or 0)

    def _open(self) -> bool:
        try:
            return self._ask("select pg_is_in_recovery()") == "f"
        except Problem:
            return False

    def _passwords(self, passwords: Mapping[str, str], report: Report) -> None:
        if not passwords:
            return
        document = "'" + json.dumps(passwords).replace("'", "''") + "'"
        self._ask(_PASSWORDS.format(document=document))
        report.notes.append(f"{len(passwords)} logins keep the passwords they had")

    def _heartbeat(self, wanted: targets.Target, report: Report) -> None:
        at = targets.moment(wanted.value) if wanted.kind == "time" else time.time()
        try:
            report.heartbeat = float(self._ask(heartbeat.READ))
            report.rpo_seconds = at - report.heartbeat
        except (Problem, ValueError):
            report.notes.append("there is no heartbeat row in what came back")

    def _is_backed_up(self, found: Catalogue) -> bool:
        """Whether the cluster is the stanza's own, and not one that was made since, on a new host."""
        command = ["env", "LC_ALL=C", str(self.binaries / "pg_controldata"), str(self.data)]
        said = as_postgres(command, 30)
        told = re.search(r"^Database system identifier:\s+(\d+)$", said.output, re.MULTILINE)
        if told is None and (self.data / "PG_VERSION").exists():
            raise Problem(BROKEN, f"pg_controldata: {said.reason}", "see the reason; nothing was touched")
        return told is not None and told[1] == found.system_identifier

    # ---- the host --------------------------------------------------------------------------------------------------

    def _ask(self, statement: str) -> str:
        command = ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", "-"]
        try:
            said = as_postgres(command, 60, statement)
        except subprocess.TimeoutExpired:
            said = Said(124, "", "no answer within 60 s")
        if said.code != 0:
            raise Problem(BROKEN, " ".join(said.errors.split())[-300:], "see the reason")
        return said.output.strip()

    def _stop(self) -> None:
        self._systemctl("stop", HEARTBEAT_UNIT)
        said = self._systemctl("stop", UNIT, seconds=self.seconds)
        if said.code != 0 or postmaster.state(self.data):
            raise Problem(BROKEN, f"{UNIT} does not stop: {said.reason}", "stop it by hand, and run this again")

    def _file(self, *command: str, stdin: str = "") -> None:
        """In directories of the cluster's owner, who could lead root astray there."""
        said = as_postgres(command, 3600, stdin)
        if said.code != 0:
            raise Problem(BROKEN, f"{command[0]}: {said.errors.strip()[-300:]}", "see the reason")

    def _systemctl(self, verb: str, unit: str, *options: str, seconds: float = 120) -> Said:
        return execute(["systemctl", *options, verb, unit], seconds)

    def _last_words(self, since: str) -> str:
        about = ["-u", UNIT, "-t", "postgresql", f"--since={since}", "-n", "40", "-o", "cat", "--no-pager"]
        lines = execute(["journalctl", "-b", *about], 30).output.splitlines()
        # What clients are told while a server starts or stops, which the log calls fatal as well.
        lines = [line for line in lines if not _TOLD_TO_CLIENTS.search(line)]
        bad = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return " ".join((bad or lines or ["it wrote no log"])[-1].split())[-400:]


def request(text: str) -> dict[str, Any]:
    """What is asked on standard input."""
    try:
        asked = json.loads(text)
    except ValueError:
        raise Problem(INPUT, "standard input holds no JSON", "give a target as a mapping") from None
    if not isinstance(asked, dict):
        raise Problem(INPUT, "standard input holds no mapping", "give a target as a mapping")
    return asked


def refuse_unless_root() -> None:
    if os.geteuid() != 0:
        raise Problem(REFUSED, "a restore in place stops and starts services", "run it as root")
