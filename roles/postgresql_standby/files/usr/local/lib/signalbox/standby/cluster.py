# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster on this host, running or not, and what another one says over the network.

Runs as root, for it stops and starts the cluster's unit; files are touched as their owner alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNIT = "postgresql@17-main"
CONFIGURATION = Path("/etc/postgresql/17/main")
# With it in the data directory PostgreSQL starts read-only, whoever starts it: the fence of a former primary.
SIGNAL = "standby.signal"
# What an earlier restore wrote goes before every other file, and would open a standby at a target of long ago.
_LEFT_BY_A_RESTORE = re.compile(r"^\s*(recovery_\w+|restore_command|archive_cleanup_command|primary_\w+)\s*=", re.I)
# What a standby must have no less of than its primary, by its name in pg_controldata.
LIMITS = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_xacts", "max_locks_per_xact")
_SETTING = {"max_prepared_xacts": "max_prepared_transactions", "max_locks_per_xact": "max_locks_per_transaction"}


class Problem(Exception):
    """What is wrong and how to mend it; never holds a secret."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}. Remedy: {remedy}")


@dataclass(frozen=True)
class Said:
    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        lines = [line for line in (self.errors + self.output).splitlines() if line.strip()]
        named = [line for line in lines if re.search(r"error|fatal|could not", line, re.I)]
        return " ".join((named or lines or [f"exit code {self.code}"])[-1].split())[-400:]


def execute(command: Sequence[str], seconds: float, stdin: str = "") -> Said:
    try:
        done = subprocess.run(
            command, input=stdin, cwd="/", capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Said(124, "", f"no answer within {seconds:.0f} s")
    return Said(done.returncode, done.stdout, done.stderr)


def as_postgres(command: Sequence[str], seconds: float, stdin: str = "") -> Said:
    return execute(["runuser", "-u", "postgres", "--", *command], seconds, stdin)


def lsn(text: str) -> int:
    """A position in the WAL, such as 0/3000028, as a number."""
    high, _slash, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass(frozen=True)
class Position:
    """How far a cluster is. The end is the first byte of WAL that it does not have."""

    system: str
    timeline: int
    end: int


@dataclass(frozen=True)
class Control:
    """The control file of a cluster, also of one that does not run."""

    values: dict[str, str]

    @property
    def clean(self) -> bool:
        return self.values["Database cluster state"] in ("shut down", "shut down in recovery")

    @property
    def was_primary(self) -> bool:
        return self.values["Database cluster state"] in ("shut down", "in production", "shutting down")

    @property
    def position(self) -> Position:
        """Exact where it is clean; a record's own length is left out, for only its beginning is known."""
        system = self.values["Database system identifier"]
        timeline = int(self.values["Latest checkpoint's TimeLineID"])
        end = lsn(self.values["Latest checkpoint location"]) + 1
        recovered = lsn(self.values["Minimum recovery ending location"])
        if recovered >= end:
            return Position(system, int(self.values["Min recovery ending loc's timeline"]), recovered)
        return Position(system, timeline, end)

    def limit(self, name: str) -> int:
        return int(self.values[f"{name} setting"])


def control(text: str) -> Control | None:
    values = dict(line.partition(":")[::2] for line in text.splitlines() if ":" in line)
    found = {name.strip(): value.strip() for name, value in values.items()}
    return Control(found) if "Database system identifier" in found else None


def forks(history: str) -> dict[int, int]:
    """Where a timeline left each of its ancestors, out of its history file (PostgreSQL manual, 25.3.6)."""
    lines = (re.match(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", line) for line in history.splitlines())
    return {int(match[1]): lsn(match[2]) for match in lines if match}


def has_left(own: Position, primary: Position, history: dict[int, int]) -> bool:
    """Whether a cluster holds WAL that the primary never had, so that it cannot follow it."""
    if own.timeline == primary.timeline:
        return own.end > primary.end
    return own.end > history.get(own.timeline, -1)


def without_targets(text: str) -> str:
    """postgresql.auto.conf without what a restore wrote."""
    return "".join(line for line in text.splitlines(keepends=True) if not _LEFT_BY_A_RESTORE.match(line))


class Peer:
    """Another server, as the replication login."""

    def __init__(self, address: str, user: str, passfile: str, ca: str, seconds: int = 5) -> None:
        self.address = address
        self.conninfo = (
            f"host={address} port=5432 user={user} dbname=postgres sslmode=verify-full sslrootcert={ca}"
            f" passfile={passfile} connect_timeout={seconds}"
        )

    def ask(self, statement: str, seconds: float = 20) -> str:
        return _psql(f"{self.conninfo} replication=database", statement, seconds, self.address)

    def position(self) -> Position:
        return _position(self.ask("IDENTIFY_SYSTEM"))

    def recovering(self) -> bool:
        return self.ask("select pg_is_in_recovery()") == "t"

    def history(self, timeline: int) -> dict[int, int]:
        return forks(self.ask(f"TIMELINE_HISTORY {timeline}")) if timeline > 1 else {}


def _psql(conninfo: str, statement: str, seconds: float, whom: str) -> str:
    command = ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-f", "-"]
    said = as_postgres(command, seconds, statement + ";\n")
    if said.code != 0:
        raise Problem(f"PostgreSQL of {whom}: {said.reason}", "see the reason")
    return said.output.strip()


def _position(answer: str) -> Position:
    system, timeline, end = answer.split("|")[:3]
    return Position(system, int(timeline), lsn(end))


class Cluster:
    """This host's own."""

    def __init__(self, data: Path, binaries: Path, seconds: float) -> None:
        self.data, self.binaries, self.seconds = data, binaries, seconds

    # ---- what it is ------------------------------------------------------------------------------------------------

    def control(self) -> Control | None:
        command = ["env", "LC_ALL=C", str(self.binaries / "pg_controldata"), str(self.data)]
        return control(as_postgres(command, 30).output)

    def ask(self, statement: str) -> str:
        return _psql("dbname=postgres user=postgres", statement, 60, "this host")

    def position(self) -> Position:
        """Of the running server; a standby's control file is behind by up to a checkpoint."""
        return _position(
            _psql("dbname=postgres user=postgres replication=database", "IDENTIFY_SYSTEM", 60, "this host")
        )

    def recovering(self) -> bool | None:
        """None where no server answers."""
        try:
            return self.ask("select pg_is_in_recovery()") == "t"
        except Problem:
            return None

    @property
    def fenced(self) -> bool:
        return (self.data / SIGNAL).exists()

    def is_empty(self) -> bool:
        """Whether it is as the package made it; a server that does not run may hold anything."""
        statement = "select not exists (select from pg_database where not datistemplate and datname <> 'postgres')"
        try:
            return self.ask(statement) == "t"
        except Problem:
            return False

    # ---- what is done to it ----------------------------------------------------------------------------------------

    def stop(self) -> None:
        said = execute(["systemctl", "stop", UNIT], self.seconds)
        left = execute(["pgrep", "-u", "postgres", "-f", f"^{self.binaries}/postgres -D {self.data} "], 30)
        if said.code != 0 or left.code == 0:
            raise Problem(f"{UNIT} does not stop: {said.reason}", "stop it by hand, and run this again")

    def start(self) -> None:
        """Until it answers. Debian's unit waits for ever for a server whose recovery ended at once."""
        execute(["systemctl", "reset-failed", UNIT], 30)
        said = execute(["timeout", str(int(self.seconds)), "systemctl", "start", UNIT], self.seconds + 10)
        deadline = time.monotonic() + self.seconds
        while said.code == 0 and self.recovering() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        if self.recovering() is None:
            raise Problem(f"PostgreSQL does not start: {self.last_words()}", "see the reason")

    def fence(self) -> None:
        """Read-only from the next start on."""
        path = str(self.data / SIGNAL)
        self.file("sh", "-c", 'touch "$1" && sync "$1" "$2"', "sh", path, str(self.data))
        self.forget_targets()

    def release(self) -> None:
        self.file("rm", "-f", str(self.data / SIGNAL))

    def forget_targets(self) -> None:
        path = self.data / "postgresql.auto.conf"
        said = as_postgres(["cat", str(path)], 30)
        kept = without_targets(said.output)
        if said.code == 0 and kept != said.output:
            written = as_postgres(["sh", "-c", 'cat > "$1.new" && mv "$1.new" "$1"', "sh", str(path)], 30, kept)
            if written.code != 0:
                raise Problem(f"{path}: {written.reason}", "see the reason")

    def raise_limits(self) -> None:
        """As high as the primary's: else the standby does not start."""
        found, own = self.control(), CONFIGURATION / "conf.d/35-standby-limits.conf"
        lines = ["# Written by Signalbox's standby program: no less than the primary has.\n"]
        self.file("rm", "-f", str(own))
        for name in LIMITS if found else ():
            setting = _SETTING.get(name, name)
            command = [str(self.binaries / "postgres"), "-C", setting, "-D", str(CONFIGURATION)]
            here = as_postgres(command, 30)
            if here.code != 0:
                raise Problem(f"{setting}: {here.reason}", "see the reason")
            if found and found.limit(name) > int(here.output):
                lines.append(f"{setting} = {found.limit(name)}\n")
        if len(lines) > 1:
            as_postgres(["sh", "-c", 'cat > "$1"', "sh", str(own)], 30, "".join(lines))

    def file(self, *command: str) -> None:
        """In directories of the cluster's owner, who could lead root astray there."""
        said = as_postgres(command, 3600)
        if said.code != 0:
            raise Problem(f"{command[0]}: {said.reason}", "see the reason")

    def last_words(self) -> str:
        said = execute(["journalctl", "-b", "-u", UNIT, "-t", "postgresql", "-n", "40", "-o", "cat", "--no-pager"], 30)
        bad = [line for line in said.output.splitlines() if "FATAL" in line or "PANIC" in line]
        return " ".join((bad or said.output.splitlines() or ["it wrote no log"])[-1].split())[-400:]


def refuse_unless_root() -> None:
    if os.geteuid() != 0:
        raise Problem("this stops and starts services", "run it as root")
