# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A copy of a database for staging, without what is personal in it. Nothing live is touched.

A scratch server holds the database as it was backed up. There every column gets what its rule says, and only then the
rows leave it. A rule is wanted for every column: one that a migration added and nobody thought about stops the run.
"""

# ruff: noqa: S608  every name is quoted
from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import targets
from problems import BROKEN, DAMAGED, INPUT, NO_ROOM, Problem
from repository import Repository
from scratch import CONFINED, Scratch

METHODS = ("keep", "clear", "pseudonym", "email", "filler", "digits", "noise")
# Whoever writes a column's comment says with this word that it may not stay as it is.
MARK = "personal"
FUNCTIONS = Path(__file__).with_name("masking.sql")
Rules = Mapping[str, Mapping[str, str]]

_TEXTS = ("text", "varchar", "bpchar", "citext")
_INTEGERS = {"int2": 32767, "int4": 2147483647, "int8": 9223372036854775807}
_MOMENTS = ("date", "timestamp", "timestamptz")
_TAKES = {
    "pseudonym": (*_TEXTS, *_INTEGERS, "uuid"),
    "email": _TEXTS,
    "filler": (*_TEXTS, "json", "jsonb"),
    "digits": _TEXTS,
    "noise": (*_INTEGERS, "numeric", "float4", "float8", *_MOMENTS),
}
# What may stay: empty, or a number that is none.
_TELLING = (
    """'$.** ? (@.type() == "number" || (@.type() == "string" && @ != "" """
    """&& !(@ like_regex "^-?(nan|infinity)$" flag "i")))'"""
)

# Partitions are their parent's; what an extension brings is its own.
_LOOK = """
with relation as (
  select c.oid, n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition
    and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
    and not exists (
      select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), attribute as (
  select a.attrelid, json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
    'base', b.typname, 'array', e.oid is not null, 'required', a.attnotnull, 'generated', a.attgenerated <> '',
    'always', a.attidentity = 'a', 'comment', coalesce(col_description(a.attrelid, a.attnum), ''),
    'sequence', pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)) order by a.attnum) as columns
  from pg_attribute a join pg_type t on t.oid = a.atttypid
  left join pg_type d on t.typtype = 'd' and d.oid = t.typbasetype
  left join pg_type e on e.oid = coalesce(d.typelem, t.typelem) and coalesce(d.typcategory, t.typcategory) = 'A'
  join pg_type b on b.oid = coalesce(e.oid, d.oid, t.oid)
  where a.attnum > 0 and not a.attisdropped group by 1
)
select coalesce(json_agg(json_build_object('schema', nspname, 'name', relname, 'partitioned', relkind = 'p',
  'columns', coalesce(columns, '[]'),
  'references', (select coalesce(json_agg(json_build_object('columns',
      (select json_agg(attname order by place) from unnest(conkey) with ordinality as k (number, place)
       join pg_attribute on attrelid = conrelid and attnum = number),
      'schema', fn.nspname, 'table', f.relname, 'targets',
      (select json_agg(attname order by place) from unnest(confkey) with ordinality as k (number, place)
       join pg_attribute on attrelid = confrelid and attnum = number))), '[]')
    from pg_constraint join pg_class f on f.oid = confrelid join pg_namespace fn on fn.oid = f.relnamespace
    where conrelid = relation.oid and contype = 'f')) order by nspname, relname), '[]')
from relation left join attribute on attrelid = relation.oid
"""
# What would bring production's addresses and passwords, or what staging's owner may not make.
_LEFT_OUT = """
set search_path = pg_catalog;
select coalesce(json_agg(what), '[]') from (
  select 'foreign server ' || srvname from pg_foreign_server
  union all select 'event trigger ' || evtname from pg_event_trigger) as found (what);
do $$ declare name text; begin
  for name in select srvname from pg_foreign_server loop execute format('drop server %I cascade', name); end loop;
  for name in select evtname from pg_event_trigger loop execute format('drop event trigger %I', name); end loop;
end $$;
"""
_PREPARE = f"""
grant usage on schema signalbox_masking to {CONFINED};
call signalbox_masking.pause_triggers();
"""
_FINISH = """
call signalbox_masking.resume_triggers();
drop schema signalbox_masking cascade;
"""
# Rows and indexes are written anew, beside what the largest table was and becomes, and its indexes' sorting.
_LARGEST = 3
_SIZES = """
select pg_database_size(current_database()), coalesce(max(pg_total_relation_size(oid)), 0) from pg_class
where relkind in ('r', 'm')
"""
_ORIGIN = """
set search_path = pg_catalog;
create schema signalbox_masked;
create table signalbox_masked.origin (origin jsonb not null);
comment on table signalbox_masked.origin is 'Where these rows come from, and that they were masked';
insert into signalbox_masked.origin values (jsonb_build_object(
  'system_identifier', (select system_identifier::text from pg_control_system()),
  'database', current_database(), 'bytes', pg_database_size(current_database()),
  'extensions', (select coalesce(jsonb_agg(extname), '[]') from pg_extension where extname <> 'plpgsql'))
  || {told}::jsonb);
"""
_DUMP = ("--format=custom", "--compress=zstd:3", "--no-owner", "--no-privileges", "--no-publications",
         "--no-subscriptions", "--no-security-labels", "--no-large-objects", "--exclude-extension=*")  # fmt: skip


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    base: str  # of a domain or an array the type below it
    array: bool = False
    required: bool = False
    generated: bool = False
    always: bool = False
    comment: str = ""
    sequence: str = ""

    @property
    def personal(self) -> bool:
        return re.search(rf"\b{MARK}\b", self.comment, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Reference:
    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = ()
    partitioned: bool = False

    @property
    def called(self) -> str:
        """As a rule names it."""
        return called(self.schema, self.name)

    @property
    def written(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if not column.generated)


@dataclass
class Report:
    """What the copy holds. Seconds are wall time; `tables` has each table's rows, and changed values per column."""

    target: str
    backup: str
    timeline: int
    database: str
    path: str = ""
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    restore_seconds: float = 0.0
    recovery_seconds: float = 0.0
    masking_seconds: float = 0.0
    dump_seconds: float = 0.0


def called(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"


def tables(found: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables that the catalogue query found."""
    return [
        Table(
            entry["schema"],
            entry["name"],
            tuple(Column(**{**column, "sequence": column.get("sequence") or ""}) for column in entry["columns"]),
            tuple(
                Reference(tuple(key["columns"]), called(key["schema"], key["table"]), tuple(key["targets"]))
                for key in entry["references"]
            ),
            entry["partitioned"],
        )
        for entry in found
    ]


def problems(found: Sequence[Table], rules: Rules) -> list[str]:
    """Every reason for which nothing may leave: columns without a rule, and rules that cannot be."""
    known = {table.called: table for table in found}
    wrong = [f"there is no table {name}" for name in rules if name not in known]
    for name, table in known.items():
        if name not in rules:
            wrong.append(f"{name} has no rule; write {skeleton(table)}, or {{}} for none of its rows")
        elif rules[name]:
            wrong += [f"{name}.{text}" for text in _column_problems(table, rules[name])]
            wrong += list(_reference_problems(table, rules))
    return wrong


def skeleton(table: Table) -> str:
    """What to write for a table, with `?` where somebody has to think."""
    guesses = (f"{column.name}: {_guess(column)}" for column in table.written)
    return f"{table.called}: {{{', '.join(guesses)}}}"


def _guess(column: Column) -> str:
    telling = column.personal or column.base in (*_TEXTS, "json", "jsonb", "bytea", "inet", "xml")
    return f"? ({'personal ' if column.personal else ''}{column.type})" if telling else "keep"


def _column_problems(table: Table, rules: Mapping[str, str]) -> Iterator[str]:
    written = {column.name: column for column in table.written}
    yield from (f"{name} is no column that can be written" for name in rules if name not in written)
    for name, column in written.items():
        method = rules.get(name)
        if method is None:
            yield f"{name} ({column.type}{', marked personal' if column.personal else ''}) has no rule"
        elif method == "keep" and column.personal:
            yield f"{name} is marked personal, and its rule is keep"
        elif method == "clear" and column.required:
            yield f"{name} may not be null"
        elif method != "keep" and column.always:
            yield f"{name} is always generated as an identity: keep it"
        elif method not in METHODS:
            yield f"{name}: {method} is no method; there are {', '.join(METHODS)}"
        elif method in _TAKES and column.base not in _TAKES[method]:
            yield f"{name} is {column.type}, and {method} takes {', '.join(_TAKES[method])}"


def _reference_problems(table: Table, rules: Rules) -> Iterator[str]:
    """A reference holds where both sides get the same made-up value."""
    for reference in table.references:
        theirs = rules.get(reference.table, {})
        for own, other in zip(reference.columns, reference.targets):
            here, there = rules[table.called].get(own), theirs.get(other)
            if here in (None, "clear"):
                continue
            which = f"{table.called}.{own} refers to {reference.table}.{other}"
            if not theirs:
                yield f"{which}, of which no rows come: its rule must be clear, or {table.called} be left empty too"
            elif there is not None and here != there:
                yield f"{which}: their rules must be the same, and are {here} and {there}"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def expression(column: Column, method: str) -> str:
    """SQL of a column's new value."""
    name = identifier(column.name)
    if method == "clear":
        return f"null::{column.type}"
    if not column.array:
        return f"{_one(name, column.base, method)}::{column.type}"
    each = _one("entry", column.base, method)
    entries = f"array(select {each} from unnest({name}) with ordinality as u (entry, place) order by place)"
    return f"case when {name} is not null then {entries} end::{column.type}"


def _one(value: str, base: str, method: str) -> str:
    function = f"signalbox_masking.{method}"
    if base in _INTEGERS:
        largest = f", {_INTEGERS[base]}" if method == "pseudonym" else ""
        return f"{function}({value}::{'bigint' if largest else 'numeric'}{largest})"
    if base in _MOMENTS:
        return f"{function}({value}::timestamptz)"
    kind = {"uuid": "uuid", "json": "jsonb", "jsonb": "jsonb"}.get(base, "numeric" if method == "noise" else "text")
    return f"{function}({value}::{kind})"


def statement(table: Table, rules: Mapping[str, str]) -> str:
    """SQL that masks a table and answers with its rows, and of each column the values and those that stayed."""
    name = qualified(table)
    only = name if table.partitioned else f"only {name}"
    about = f"'table', {literal(table.called)}, 'partitioned', {str(table.partitioned).lower()}"
    alike = "'missed', 0, 'columns', json_build_object()"
    none = f"select json_build_object({about}, 'rows', count(*), {alike}) from {only};\n"
    if not rules:
        # Others may refer to it, and are emptied themselves or refused.
        return f"delete from {only};\n{none}"
    masked = list(_masked(table, rules))
    if not masked:
        return none
    fresh = ", ".join(
        f"{expression(column, rules[column.name])} as new_{number}, {identifier(column.name)}::text as old_{number}"
        for number, column in enumerate(masked)
    )
    moved = ", ".join(f"{identifier(column.name)} = fresh.new_{number}" for number, column in enumerate(masked))
    # What the table holds then, which need not be what it was told to hold.
    became = ", ".join(
        f"old_{number}, t.{identifier(column.name)} as now_{number}" for number, column in enumerate(masked)
    )
    counted = ", ".join(
        f"{literal(column.name)}, json_build_object('method', {literal(rules[column.name])},"
        f" 'values', count(old_{number}), 'unchanged', count(*) filter (where"
        f" case when old_{number} = now_{number}::text then jsonb_path_exists(to_jsonb(now_{number}), {_TELLING}) end))"
        for number, column in enumerate(masked)
    )
    rows = "(select count(*) from fresh)"
    here = "t.tableoid = fresh.relation and t.ctid = fresh.place"
    return (
        "begin;\n"
        f"with fresh as materialized (select tableoid as relation, ctid as place, {fresh} from {only}),\n"
        f"moved as (update {only} as t set {moved} from fresh where {here} returning {became})\n"
        f"select json_build_object({about}, 'rows', {rows}, 'missed', {rows} - count(*),"
        f" 'columns', json_build_object({counted})) from moved;\n"
        f"call signalbox_masking.make_indexes({literal(name)});\n"
        + "".join(_sequence(column, only) for column in masked if column.sequence)
        + "commit;\n"
    )


def _masked(table: Table, rules: Mapping[str, str]) -> Iterator[Column]:
    return (column for column in table.written if rules and rules[column.name] != "keep")


def _sequence(column: Column, table: str) -> str:
    newest = f"max({identifier(column.name)})"
    return f"select setval({literal(column.sequence)}, {newest}) from {table} having count(*) > 0 \\g /dev/null\n"


def qualified(table: Table) -> str:
    return f"{identifier(table.schema)}.{identifier(table.name)}"


def preparation(found: Sequence[Table], rules: Rules) -> str:
    """What a superuser does before: no index and no trigger may act while values change."""
    changed = [table for table in found if any(_masked(table, rules[table.called]))]
    calls = [f"call signalbox_masking.pause_indexes({literal(qualified(table))});\n" for table in changed]
    return "set search_path = pg_catalog;\n" + FUNCTIONS.read_text() + _PREPARE + "".join(calls)


def script(found: Sequence[Table], rules: Rules, passphrase: str) -> str:
    """All of it, for psql. It goes in on standard input, for it holds the key."""
    key = hmac.new(passphrase.encode(), b"signalbox masking", hashlib.sha256).digest().ljust(64, b"\0")
    pads = {name: bytes(byte ^ mask for byte in key).hex() for name, mask in (("inner", 0x36), ("outer", 0x5C))}
    head = [r"\set VERBOSITY terse", "set session_replication_role = replica;"]
    head += [f"set signalbox.{name}_pad = '\\x{pad}';" for name, pad in pads.items()]
    return "\n".join([*head, *(statement(table, rules[table.called]) for table in found)])


def untouched(report: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables and columns in which a value stayed what it was."""
    return [
        *(f"{table['table']}: {table['missed']} rows could not be changed" for table in report if table["missed"]),
        *(
            f"{table['table']}.{name}: {entry['method']} left {entry['unchanged']} of {entry['values']} values as is"
            for table in report
            for name, entry in table["columns"].items()
            if entry["unchanged"]
        ),
    ]


@dataclass
class Masking:
    repository: Repository
    scratch: Scratch
    passphrase: str
    processes: int
    seconds: float
    say: Callable[[str], None] = print

    def run(self, database: str, rules: Rules, wanted: targets.Target, to: Path, now: float) -> Report:
        """The masked database as a custom-format archive of pg_dump at `to`, for its owner alone."""
        held = self.repository.look()
        plan = targets.plan(held, wanted, now)
        targets.check_archived(wanted, self.repository.archived(held), now)
        report = Report(f"{wanted.kind} {wanted.value}".strip(), plan.backup.label, plan.timeline, database)
        with self.scratch as scratch:
            self.say(f"restoring {plan.backup.label} to {report.target}")
            began = time.monotonic()
            scratch.restore(self.repository, plan, self.processes, self.seconds)
            report.restore_seconds = time.monotonic() - began
            began = time.monotonic()
            scratch.start(self.seconds)
            report.recovery_seconds = time.monotonic() - began
            began = time.monotonic()
            self._mask(scratch, database, rules, report, to)
            report.masking_seconds = time.monotonic() - began
            began = time.monotonic()
            self._dump(scratch, database, report, to)
            report.dump_seconds = time.monotonic() - began
        return report

    def _mask(self, scratch: Scratch, database: str, rules: Rules, report: Report, to: Path) -> None:
        if database not in scratch.databases():
            known = ", ".join(name for name in scratch.databases() if not name.startswith("template"))
            raise Problem(INPUT, f"there was no database {database} at that moment", f"there were {known}")
        found = tables(json.loads(scratch.ask(database, _LOOK)))
        wrong = problems(found, rules)
        if wrong:
            remedy = "name a rule for every column in database.masking of the app's spec; nothing has left the host"
            raise Problem(INPUT, f"masking of {database}: " + "; ".join(wrong), remedy)
        self._room(scratch, database, to)
        report.left_out = json.loads(scratch.run(database, _LEFT_OUT, self.seconds))
        scratch.confine(database)
        scratch.run(database, preparation(found, rules), self.seconds)
        self.say(f"masking {len(found)} tables")
        said = scratch.run(database, script(found, rules, self.passphrase), self.seconds, CONFINED)
        scratch.run(database, _FINISH, self.seconds)
        report.tables = [json.loads(line) for line in said.splitlines() if line]
        same = untouched(report.tables)
        if same:
            raise Problem(DAMAGED, "; ".join(same), "choose another method, or keep; nothing has left the host")
        # References and checks hold for the made-up values as well.
        scratch.validate(database, self.seconds)

    def _room(self, scratch: Scratch, database: str, to: Path) -> None:
        size, largest = map(int, scratch.ask(database, _SIZES).split("|"))
        needed = {scratch.directory: size + _LARGEST * largest}
        if os.stat(scratch.directory).st_dev == os.stat(to.parent).st_dev:
            needed[scratch.directory] += size
        else:
            needed[to.parent] = size
        for directory, bytes_ in needed.items():
            free = shutil.disk_usage(directory).free
            if free < bytes_:
                what = f"{directory} has {free >> 20} MiB free, and masking {database} may need {bytes_ >> 20} MiB"
                raise Problem(NO_ROOM, what, "enlarge the disk, or set pgbackrest_scratch_directory to another one")

    def _dump(self, scratch: Scratch, database: str, report: Report, to: Path) -> None:
        told = json.dumps({"backup": report.backup, "target": report.target, "masked": report.tables})
        scratch.run(database, _ORIGIN.format(told=literal(told)), self.seconds)
        self.say("writing the copy")
        try:
            to.touch(mode=0o600)
            command = scratch.client("pg_dump", *_DUMP, f"--file={to}", database)
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                room = "No space left" in done.stderr
                what = f"pg_dump: {' '.join(done.stderr.split())[-300:]}"
                raise Problem(NO_ROOM if room else BROKEN, what, f"{to.parent} holds the copy until it is fetched")
        except BaseException:
            to.unlink(missing_ok=True)
            raise
        report.path, report.bytes = str(to), os.stat(to).st_size
