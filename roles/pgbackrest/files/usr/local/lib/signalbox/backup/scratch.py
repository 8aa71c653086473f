# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL server for one purpose: restored, asked, thrown away.

It listens on a socket that its owner alone reaches, archives nothing, and lives in one directory.

Debian's cluster units are not used: one whose recovery dies early hangs for ever, and what a unit starts outlives a
killed run.
"""

from __future__ import annotations

import contextlib
import getpass
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import postmaster
from problems import BROKEN, INPUT, Problem
from repository import Repository, Said, execute
from targets import Plan

# What recovery refuses to start with when it is lower than on the primary: PostgreSQL manual, 26.4.3.
_CARRIED = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
# Given on the command line: what ALTER SYSTEM has left in the restored directory would go before a file.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    # Then a start ends with recovery, and with its reason when that fails.
    "hot_standby": "off",
    # Thrown away afterwards: what a crash would lose is restored again.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "ssl": "off",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    # What was restored does nothing by itself, and reaches nobody.
    "event_triggers": "off",
    "max_logical_replication_workers": "0",
}
# Who runs what comes out of the database, such as a function in a check: production's roles have no say on this host.
CONFINED = "signalbox_scratch"
_ROLE = """
set search_path = pg_catalog;
create role signalbox_scratch login bypassrls;
alter role signalbox_scratch set log_min_error_statement = panic;
grant set on parameter session_replication_role to signalbox_scratch;
-- Whoever was given a superuser's powers, or the server's files and programs, loses them before it inherits.
delete from pg_auth_members where roleid < 16384 or roleid in (select oid from pg_authid where rolsuper);
do $$ declare name text; begin
  for name in select quote_ident(rolname) from pg_authid where oid >= 16384 and not rolsuper
              and rolname <> 'signalbox_scratch' loop
    execute format('grant %s to signalbox_scratch with inherit true, set false', name);
  end loop;
end $$;
grant pg_read_all_data to signalbox_scratch;
"""
_CONFINE = """
set search_path = pg_catalog;
do $$ declare name text; begin
  execute format('grant connect on database %I to signalbox_scratch', current_database());
  for name in
    select c.oid::regclass::text from pg_class c join pg_authid a on a.oid = c.relowner
    where c.relkind in ('r', 'p') and a.rolsuper and c.relnamespace::regnamespace::text <> 'information_schema'
      and c.relnamespace::regnamespace::text !~ '^pg_'
  loop
    execute format('alter table %s owner to signalbox_scratch', name);
  end loop;
  for name in select quote_ident(nspname) from pg_namespace where nspname <> 'information_schema' and nspname !~ '^pg_'
  loop
    execute format('grant usage on schema %s to signalbox_scratch', name);
    execute format('grant execute on all routines in schema %s to signalbox_scratch', name);
    execute format('grant all on all sequences in schema %s to signalbox_scratch', name);
  end loop;
end $$;
"""
# Who is to log in as himself: no powers, and no function runs with those of its owner where that is a superuser.
_ADMIT = """
set search_path = pg_catalog;
alter role {role} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls valid until 'infinity';
"""
_INVOKER = """
set search_path = pg_catalog;
update pg_proc set prosecdef = false where prosecdef and oid >= 16384
  and proowner in (select oid from pg_authid where rolsuper);
"""
_ROLE_NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
# Validation then looks at every row again.
_DOUBT = """
set search_path = pg_catalog;
update pg_constraint set convalidated = false from pg_class
where pg_class.oid = conrelid and contype in ('f', 'c') and convalidated and relkind = 'r'
  and not pg_is_other_temp_schema(relnamespace)
  and connamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
returning format('alter table %s validate constraint %I;', conrelid::regclass, conname)
"""


def carried_settings(controldata: str) -> dict[str, int]:
    """The settings that pg_controldata tells of the primary."""
    found = (line.partition(":") for line in controldata.splitlines())
    return {_CARRIED[name.strip()]: int(value) for name, _colon, value in found if name.strip() in _CARRIED}


@dataclass
class Scratch:
    """Server and directory. Use as a context: at its end nothing is left."""

    directory: Path
    binaries: Path
    confined: bool = False

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def __enter__(self) -> Scratch:
        self.remove()
        self.data.mkdir(parents=True, mode=0o700)
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()

    @property
    def leftover(self) -> bool:
        """Whether something is there, which between runs is what a killed one left behind."""
        return self.directory.exists() and any(self.directory.iterdir())

    def remove(self) -> None:
        """Also what a killed run left behind."""
        self.confined = False
        if postmaster.state(self.data):
            self._control("stop", "-m", "immediate", seconds=90)
        for path in self.directory.iterdir() if self.directory.exists() else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def restore(
        self, repository: Repository, plan: Plan, processes: int, seconds: float, more: Sequence[str] = ()
    ) -> None:
        options = [f"--pg1-path={self.data}", "--archive-mode=off", f"--process-max={processes}"]
        options += [f"--tablespace-map-all={self.directory}/tablespaces", *plan.options, *more]
        said = execute(repository.command("restore", "--log-level-console=info", *options), seconds)
        if said.code != 0:
            raise Problem(
                BROKEN, f"pgbackrest restore: {said.reason}", "see the reason; `verify` looks at the whole repository"
            )

    def start(self, seconds: float) -> None:
        """Start, replay and promote."""
        controldata = self._run(["pg_controldata", str(self.data)], 30).output
        (self.directory / "postgresql.conf").write_text("")
        (self.directory / "pg_hba.conf").write_text("local all all peer map=scratch\n")
        own = getpass.getuser()
        (self.directory / "pg_ident.conf").write_text(f"scratch {own} postgres\nscratch {own} {CONFINED}\n")
        deadline = time.monotonic() + seconds
        self._control("start", "-W", "-l", str(self.log), "-o", self._start_options(controldata), seconds=60)
        while (state := self._state()) != "ready":
            if not state:
                raise Problem(BROKEN, f"the restored server does not start: {self._last_words()}", "see the reason")
            if time.monotonic() > deadline:
                raise Problem(BROKEN, f"recovery did not end within {seconds:.0f} s", "give it more time")
            time.sleep(0.2)

    def _state(self) -> str:
        found = postmaster.state(self.data)
        if not found:
            time.sleep(1)  # it may not have written its file yet
            found = postmaster.state(self.data)
        return found

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", "-m", mode, "-w", "-t", "120", seconds=130)

    def ask(self, database: str, statement: str, seconds: float = 600, role: str = "postgres") -> str:
        """One value, as text."""
        return self._psql(database, ["-c", statement], seconds, role)

    def run(self, database: str, script: str, seconds: float, role: str = "postgres") -> str:
        """What a script answers, which goes in on standard input, so that nobody sees it."""
        return self._psql(database, ["-f", "-"], seconds, role, script)

    def _psql(self, database: str, what: Sequence[str], seconds: float, role: str, text: str = "") -> str:
        options = ["-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", database, *what]
        said = execute(self.client("psql", *options, role=role), seconds, text)
        if said.code != 0:
            raise Problem(BROKEN, f"{database}: {said.errors.strip()[-300:]}", "see the reason")
        return said.output.strip()

    def client(self, program: str, *options: str, role: str = "postgres") -> list[str]:
        """Command line of one of PostgreSQL's clients against this server."""
        return [str(self.binaries / program), "-h", str(self.directory), "-U", role, *options]

    def confine(self, database: str) -> None:
        """From now on `CONFINED` may read and change the database's tables, and has no more rights than that."""
        if not self.confined:
            self.run("postgres", _ROLE, 600)
            self.confined = True
        self.run(database, _CONFINE, 600)

    def admit(self, database: str, roles: Sequence[str]) -> None:
        """From now on these may log in, each as no more than itself. `confine` comes first."""
        for role in roles:
            if not _ROLE_NAME.match(role):
                raise Problem(INPUT, f"{role!r} is no role of the platform", "name the owner and a login of the app")
            self.run("postgres", _ADMIT.format(role=role), 60)
        self.run(database, _INVOKER, 60)
        with (self.directory / "pg_ident.conf").open("a") as mapping:
            mapping.writelines(f"scratch {getpass.getuser()} {role}\n" for role in roles)
        self._control("reload", seconds=60)
        deadline = time.monotonic() + 10
        for role in roles:
            while True:
                try:
                    self.ask(database, "select 1", 10, role)
                    break
                except Problem:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)

    def output(self, program: str, *options: str, seconds: float = 600) -> str:
        """What one of PostgreSQL's clients prints."""
        said = execute(self.client(program, *options), seconds)
        if said.code != 0:
            raise Problem(BROKEN, f"{program}: {said.errors.strip()[-300:]}", "see the reason")
        return said.output

    def validate(self, database: str, seconds: float) -> None:
        """Foreign keys and checks hold, row by row."""
        self.run(database, self.run(database, _DOUBT, 600), seconds, CONFINED)

    def databases(self) -> list[str]:
        return self.ask("postgres", "select datname from pg_database where datallowconn order by 1").splitlines()

    def amcheck(self, jobs: int, seconds: float) -> str:
        """What pg_amcheck finds in heaps and B-trees of all databases; empty when all is well."""
        options = ["--all", "--heapallindexed", "--checkunique", "--install-missing", f"--jobs={jobs}"]
        said = execute(self.client("pg_amcheck", *options, "--no-password"), seconds)
        return "" if said.code == 0 else (said.output + said.errors).strip()[-2000:] or f"exit code {said.code}"

    def checksums(self, seconds: float) -> str:
        """What pg_checksums finds in a stopped server's files; empty when all is well."""
        said = self._run(["pg_checksums", "--check", "-D", str(self.data)], seconds)
        return "" if said.code == 0 else (said.output + said.errors).strip()[-2000:] or f"exit code {said.code}"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    def _start_options(self, controldata: str) -> str:
        settings: dict[str, object] = {
            **_SETTINGS,
            **carried_settings(controldata),
            "config_file": f"{self.directory}/postgresql.conf",
            "data_directory": self.data,
            "hba_file": f"{self.directory}/pg_hba.conf",
            "ident_file": f"{self.directory}/pg_ident.conf",
            "unix_socket_directories": self.directory,
        }
        return " ".join("-c " + shlex.quote(f"{name}={value}") for name, value in settings.items())

    def _control(self, *arguments: str, seconds: float) -> None:
        """What pg_ctl starts keeps its output open, so that must be no pipe; the server's file tells how it went."""
        command = [str(self.binaries / "pg_ctl"), "-D", str(self.data), *arguments]
        with (self.directory / "control.log").open("a") as out, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=seconds, check=False)

    def _run(self, command: Sequence[str], seconds: float) -> Said:
        return execute([str(self.binaries / command[0]), *command[1:]], seconds)

    def _last_words(self) -> str:
        if not self.log.exists():
            return "it wrote no log"
        lines = self.log.read_text(errors="replace").splitlines()
        said = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR)\b", line)]
        return " ".join((said or lines or ["no word"])[-1].split())[-400:]
