# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables, or a whole database, as they were at a moment, put beside the live ones. Nothing live is stopped or changed.

A scratch server on the database host holds what was restored; what is asked for moves there into a schema of its own,
and comes from there into the live database by pg_dump.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

import live
import targets
from problems import BROKEN, INPUT, NO_ROOM, Problem
from repository import Repository, execute
from scratch import Scratch

ROOM = 1.1
# What a table refers to need not be what it was, so its own rows come back: no references, no triggers, no defaults of
# others' sequences, and no tables above it, to which it would be attached.
_MOVE = """
do $signalbox$ declare wanted regclass[]; moved regclass; above record; part text; begin
  create schema {schema};
  wanted := array(
    with recursive found as (
      select unnest({tables}::regclass[])::oid as relation
      union select inhrelid from pg_inherits join found on inhparent = relation)
    select relation::regclass from found);
  foreach moved in array wanted loop
    for above in
      select inhparent::regclass as parent, relispartition from pg_inherits join pg_class on pg_class.oid = inhrelid
      where inhrelid = moved and inhparent <> all (wanted)
    loop
      if above.relispartition then execute format('alter table %s detach partition %s', above.parent, moved);
      else execute format('alter table %s no inherit %s', moved, above.parent); end if;
    end loop;
    for part in select conname from pg_constraint where conrelid = moved and contype = 'f' and conparentid = 0 loop
      execute format('alter table %s drop constraint %I', moved, part);
    end loop;
    for part in select tgname from pg_trigger where tgrelid = moved and not tgisinternal and tgparentid = 0 loop
      execute format('drop trigger %I on %s', part, moved);
    end loop;
    for part in
      select attname from pg_attrdef d join pg_attribute on attrelid = adrelid and attnum = adnum
      where adrelid = moved and attgenerated = '' and exists (
        select from pg_depend uses join pg_class s on s.oid = uses.refobjid and s.relkind = 'S'
        where uses.classid = 'pg_attrdef'::regclass and uses.objid = d.oid and not exists (
          select from pg_depend owned where owned.classid = 'pg_class'::regclass and owned.objid = s.oid
            and owned.deptype in ('a', 'i') and owned.refobjid = any (wanted::oid[])))
    loop
      execute format('alter table %s alter column %I drop default', moved, part);
    end loop;
    execute format('alter table %s set schema {schema}', moved);
  end loop;
end $signalbox$
"""
_IS_TABLE = "select relkind in ('r', 'p') from pg_class where oid = to_regclass({name})"
_SIZE = "select coalesce(sum(pg_table_size(oid)), 0) from pg_class where relnamespace = to_regnamespace({schema})"
_OWNER = "select pg_get_userbyid(datdba) from pg_database where datname = current_database()"
_DUMP = ("--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions", "--no-security-labels")
_NAMES = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = '{schema}' order by 1"
_KNOWN = """
select coalesce(string_agg(format('%s.%s', schemaname, tablename), ', ' order by 1), 'none') from pg_tables
where schemaname not in ('pg_catalog', 'information_schema')
"""
_MAKE = """
select format('create database %I owner %I template template0 encoding %L locale_provider %s lc_collate %L lc_ctype %L',
  '{name}', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), 'libc', datcollate, datctype)
from pg_database where datname = {database}
"""


@dataclass(frozen=True)
class Wanted:
    """What is asked for. Without tables it is the whole database."""

    database: str
    tables: tuple[str, ...]
    target: targets.Target


@dataclass
class Report:
    """What came back, and where it lies. Seconds are wall time; `rows` has each table's count."""

    target: str
    backup: str
    timeline: int
    database: str
    schema: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    restore_seconds: float = 0.0
    recovery_seconds: float = 0.0
    copy_seconds: float = 0.0


def wanted(asked: Mapping[str, Any]) -> Wanted:
    """A request; every mistake of it has its remedy."""
    database = str(asked.get("database") or "")
    tables = tuple(str(name).strip() for name in asked.get("tables") or () if str(name).strip())
    if not database:
        raise Problem(INPUT, "no database is named", "say which one, such as -e database=agent_api")
    if database in ("template0", "template1"):
        raise Problem(INPUT, f"{database} holds no tables of yours", "name the app's database")
    return Wanted(database, tables, targets.target(asked))


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclass
class Beside:
    repository: Repository
    scratch: Scratch
    processes: int
    seconds: float
    say: Callable[[str], None] = print

    def run(self, wanted: Wanted, now: float) -> Report:
        plan = targets.plan(self.repository.look(), wanted.target, now)
        self._room(self.scratch.directory, plan.backup.database_bytes, "a scratch server")
        if wanted.tables:
            self._live(wanted.database, "select true")
        notes = self._newest()
        report = Report(
            f"{wanted.target.kind} {wanted.target.value}".strip(),
            plan.backup.label,
            plan.timeline,
            wanted.database,
            notes=notes,
        )
        stamp = datetime.now(timezone.utc).strftime("restored_%Y%m%dt%H%M%S")
        with self.scratch as scratch:
            self.say(f"restoring {wanted.database} of {plan.backup.label} to {report.target}, beside the live one")
            began = time.monotonic()
            scratch.restore(self.repository, plan, self.processes, self.seconds, [f"--db-include={wanted.database}"])
            report.restore_seconds = time.monotonic() - began
            began = time.monotonic()
            scratch.start(self.seconds)
            report.recovery_seconds = time.monotonic() - began
            began = time.monotonic()
            if wanted.tables:
                report.schema = stamp
                self._tables(scratch, wanted, stamp)
                names = self._live(wanted.database, _NAMES.format(schema=stamp)).splitlines()
            else:
                report.database = self._database(scratch, wanted.database, f"{wanted.database[:38]}_{stamp}")
                names = []
            report.copy_seconds = time.monotonic() - began
        for name in names:
            report.rows[name] = int(self._live(wanted.database, f"select count(*) from {name}"))  # noqa: S608  quoted
        return report

    def _newest(self) -> list[str]:
        try:
            missing = live.archive_newest(lambda statement: self._live("postgres", statement))
        except Problem as problem:
            missing = f"the newest commits may be missing: {problem}"
        return [missing] if missing else []

    def _room(self, directory: Path, needed: int, what: str) -> None:
        free, needed = shutil.disk_usage(directory).free, int(needed * ROOM)
        if free < needed:
            short = f"{directory} has {free >> 20} MiB free, and {what} may need {needed >> 20} MiB"
            raise Problem(NO_ROOM, short, "enlarge the disk; for a scratch server set pgbackrest_scratch_directory")

    def _live_directory(self) -> Path:
        return Path(self._live("postgres", "show data_directory"))

    def _tables(self, scratch: Scratch, wanted: Wanted, schema: str) -> None:
        for name in wanted.tables:
            try:
                found = scratch.ask(wanted.database, _IS_TABLE.format(name=literal(name)))
            except Problem:
                found = ""
            if found != "t":
                known = scratch.ask(wanted.database, _KNOWN)[:600]
                raise Problem(INPUT, f"{wanted.database} had no table {name} at that moment", f"it had {known}")
        names = ", ".join(literal(name) for name in wanted.tables)
        scratch.ask(wanted.database, _MOVE.format(schema=schema, tables=f"array[{names}]"))
        needed = int(scratch.ask(wanted.database, _SIZE.format(schema=literal(schema))))
        self._room(self._live_directory(), needed * 2, "the rows, their indexes and WAL")
        self._copy(scratch.client("pg_dump", *_DUMP, f"--schema={schema}", wanted.database), wanted.database)

    def _database(self, scratch: Scratch, database: str, beside: str) -> str:
        if database not in scratch.databases():
            known = ", ".join(name for name in scratch.databases() if not name.startswith("template"))
            raise Problem(INPUT, f"there was no database {database} at that moment", f"there were {known}")
        self._live("postgres", scratch.ask(database, _MAKE.format(name=beside, database=literal(database))))
        try:
            self._live("postgres", f'revoke all on database "{beside}" from public')
            needed = int(scratch.ask(database, f"select pg_database_size({literal(database)})"))
            self._room(self._live_directory(), needed * 2, "the database and WAL")
            extensions = scratch.ask(database, "select format('create extension if not exists %I cascade;', extname)"
                                               " from pg_extension")  # fmt: skip
            self._live(beside, extensions)
            self._copy(scratch.client("pg_dump", *_DUMP, "--exclude-extension=*", database), beside)
        except BaseException:
            self._live("postgres", f'drop database "{beside}" with (force)')
            raise
        return beside

    def _copy(self, dump: Sequence[str], database: str) -> None:
        """All of it or nothing: the live side commits once the dump has come to its end.

        As the database's owner: what the rows call, such as a function in a check, gets no more rights than he has.
        """
        owner = self._live(database, _OWNER).replace('"', '""')
        load = ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]
        with (
            (self.scratch.directory / "copy.log").open("w+") as errors,
            subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors) as loading,
            subprocess.Popen(dump, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as dumping,
        ):
            assert loading.stdin is not None
            assert dumping.stdout is not None
            try:
                loading.stdin.write(f'begin; set local role "{owner}";\n'.encode())
                shutil.copyfileobj(dumping.stdout, loading.stdin, 1 << 20)
                loading.stdin.write(b"commit;\n" if dumping.wait() == 0 else b"rollback;\n")
                loading.stdin.close()
            except BrokenPipeError:
                dumping.kill()
                with contextlib.suppress(BrokenPipeError):
                    loading.stdin.close()
            codes = (dumping.wait(), loading.wait())
            errors.seek(0)
            said = " ".join(errors.read().split())[-400:]
        if any(codes):
            raise Problem(BROKEN, f"the rows could not be copied into {database}: {said}", "nothing of them is there")

    def _live(self, database: str, statement: str) -> str:
        said = execute(["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement], self.seconds)
        if said.code != 0:
            raise Problem(BROKEN, f"the live database {database}: {said.errors.strip()[-300:]}", "see the reason")
        return said.output.strip()
