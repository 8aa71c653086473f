# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A migration rehearsed: on the newest state, beside the repository, statement by statement, and back again.

What the serving release runs is planned before and after, in a session of old and in a new one, as the login that runs
it. Production sees nothing of it, and the scratch server is gone afterwards.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

import targets
from bounds import Bounds
from catalogue import Backup
from problems import INPUT, REFUSED, Problem
from repository import Repository
from scratch import Scratch
from watching import Observer, waits_for

_SERVING = "a statement of the serving release"
HOLD, UNDETERMINED = "hold", "undetermined"
# Which row of the table in docs/migrations.md an error of a serving statement belongs to.
_HAZARDS = {"42703": 26, "42P01": 27, "42501": 36, "0A000": 4}
_ONE_BY_ONE = "Write the expand step first, and take away in a later release what the serving one still uses."
_SHORTER = "Let it hold the lock for less: NOT VALID and VALIDATE, CONCURRENTLY, batches, or a transaction of its own."


@dataclass(frozen=True)
class Step:
    """One revision: what it runs, and what takes it back; None where nothing does."""

    id: str
    up: tuple[str, ...]
    down: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Asked:
    """What is rehearsed, as the gate on the control node read it out of the new image."""

    database: str
    owner: str
    role: str
    live: tuple[str, ...]
    transaction: str
    steps: tuple[Step, ...]
    serving: tuple[str, ...]
    lock_timeout_seconds: float
    statement_timeout_seconds: float
    seconds: float
    held_seconds: float
    plan_caching: bool


def asked(given: Mapping[str, Any]) -> Asked:
    """Plain data as what is asked, or a Problem that names what is wrong."""
    try:
        steps = tuple(
            Step(str(one["id"]), tuple(one["up"]), None if one.get("down") is None else tuple(one["down"]))
            for one in given["steps"]
        )
        found = Asked(
            str(given["database"]),
            str(given["owner"]),
            str(given["role"]),
            tuple(given["live"]),
            str(given["transaction"]),
            steps,
            tuple(given["serving"]),
            float(given["lock_timeout_seconds"]),
            float(given["statement_timeout_seconds"]),
            float(given["seconds"]),
            float(given["held_seconds"]),
            bool(given["plan_caching"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Problem(INPUT, f"what to rehearse is not whole: {error!r}", "the role release gives it") from None
    if found.transaction not in ("all", "each", "none") or not found.steps:
        raise Problem(INPUT, "no revision, or no mode of transactions, is given", "the role release gives it")
    return found


@dataclass
class Report:
    """What was seen. Seconds are wall time; `findings` say what speaks against the migration."""

    backup: str = ""
    database_bytes: int = 0
    restore_seconds: float = 0.0
    seconds_of: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    wal_bytes: int = 0
    serving: int = 0
    statements: list[dict[str, Any]] = field(default_factory=list)
    locks: list[dict[str, Any]] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, hazard: int, verdict: str, thing: str, statement: str, revision: str, why: str, remedy: str) -> None:
        named = {"object": thing, "statement": statement, "revision": revision, "evidence": why, "remedy": remedy}
        self.findings.append({"hazard": hazard, "verdict": verdict, **named})


@dataclass(frozen=True)
class Way:
    """A run through all revisions, and what a failure of it means."""

    what: str
    back: bool
    hazard: int
    verdict: str
    remedy: str


_NO_WAY_BACK = "Make the downgrade undo what the upgrade does; or accept that there is none (accept_no_downgrade)."
UP = Way("the upgrade", False, 53, HOLD, "Mend the revision, or the data that it meets.")
DOWN = Way("the downgrade", True, 55, UNDETERMINED, _NO_WAY_BACK)
AGAIN = Way("the second upgrade", False, 55, UNDETERMINED, _NO_WAY_BACK)


@dataclass
class Rehearsal:
    """`driver` is psycopg2."""

    repository: Repository
    scratch: Scratch
    driver: Any
    processes: int = 2
    restore_seconds: float = 7200
    say: Callable[[str], None] = print

    def run(self, wanted: Asked, now: float) -> Report:
        plan = targets.plan(self.repository.look(), targets.target({"kind": "latest"}), now)
        began = time.monotonic()
        with self.scratch as scratch:
            self.say(f"restoring {plan.backup.label}")
            scratch.restore(self.repository, plan, self.processes, self.restore_seconds)
            scratch.start(self.restore_seconds)
            report = self.on_server(wanted, plan.backup, time.monotonic() - began)
        report.seconds = time.monotonic() - began
        return report

    def on_server(self, wanted: Asked, backup: Backup, restored: float) -> Report:
        """On the server that was started, which has what the backup has."""
        report = Report(backup.label, backup.database_bytes, restored)
        self._admit(wanted)
        with contextlib.ExitStack() as stack:
            stack.enter_context(Bounds(self.scratch, backup.database_bytes))
            observer = Observer(stack.enter_context(self._session("postgres", wanted.database)))
            owner = stack.enter_context(self._session(wanted.owner, wanted.database, _timeouts(wanted)))
            login = stack.enter_context(self._session(wanted.role, wanted.database))
            _Run(wanted, report, owner, Serving(login, wanted.serving), observer, self).run()
        return report

    def structure(self, database: str) -> list[str]:
        """The schema as lines without an order: a column that came back is the last one now."""
        options = ("--schema-only", "--no-comments", database)
        text = self.scratch.output("pg_dump", *options)
        lines = (line.strip().rstrip(",") for line in text.splitlines())
        return sorted(line for line in lines if line and not line.startswith(("--", "SET ", "SELECT pg_catalog", "\\")))

    def fresh(self, wanted: Asked) -> contextlib.AbstractContextManager[Any]:
        return self._session(wanted.role, wanted.database)

    def _admit(self, wanted: Asked) -> None:
        """Owner and login log in as themselves, without more rights: what they run could end a `SET ROLE`."""
        self.scratch.confine(wanted.database)
        self.scratch.admit(wanted.database, [wanted.owner, wanted.role])

    @contextlib.contextmanager
    def _session(self, user: str, database: str, settings: str = "") -> Iterator[Any]:
        where = {"host": str(self.scratch.directory), "user": user, "dbname": database}
        connection = self.driver.connect(**where, application_name="rehearsal", options=settings)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()


def _timeouts(wanted: Asked) -> str:
    lock, statement = wanted.lock_timeout_seconds * 1000, wanted.statement_timeout_seconds * 1000
    return f"-c lock_timeout={lock:.0f} -c statement_timeout={statement:.0f}"


class Serving:
    """The statements of the serving release in one session, prepared once, as an old pool keeps them."""

    def __init__(self, connection: Any, texts: Sequence[str]) -> None:
        self.connection = connection
        self.texts: dict[str, str] = {}
        for number, text in enumerate(texts):
            with contextlib.suppress(connection.Error):
                self._run(f"PREPARE s{number} AS {text}")
                self.texts[f"s{number}"] = text

    def results(self) -> dict[str, str]:
        """What type each column of the result has, by statement."""
        rows = self._run("SELECT name, array_to_string(result_types, ', ') FROM pg_prepared_statements").fetchall()
        return {self.texts[str(name)]: str(types or "") for name, types in rows if str(name) in self.texts}

    def failing(self, look: Callable[[str, int], None] | None = None) -> dict[str, tuple[str, str]]:
        """Statements that cannot be planned and begun now, each with SQLSTATE and message; no value is needed for that.

        `look` is told of each that can, and of its session, while that has its locks.
        """
        found = {}
        for name, text in self.texts.items():
            try:
                self._run("BEGIN")
                self._run(f"EXPLAIN EXECUTE {name}{self._values(name)}")
                if look is not None:
                    look(text, self.connection.info.backend_pid)
            except self.connection.Error as error:
                found[text] = (str(error.pgcode or ""), said(error))
            finally:
                self._run("ROLLBACK")
        return found

    def _values(self, name: str) -> str:
        query = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = %s"
        count = int(self._run(query, (name,)).fetchone()[0])
        return f"({', '.join(['NULL'] * count)})" if count else ""

    def _run(self, statement: str, values: tuple[Any, ...] | None = None) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(statement, values)
        return cursor


def said(error: Any) -> str:
    """What a server says, without values out of rows: those stand in the detail, and in errors about data."""
    code = str(error.pgcode or "")
    if code.startswith("22"):
        return f"a value does not fit (SQLSTATE {code})"
    text = str(error.diag.message_primary or " ".join(str(error).split())[:200])
    return f"{text} (SQLSTATE {code})" if code else text


@dataclass
class _Run:
    wanted: Asked
    report: Report
    owner: Any
    serving: Serving
    observer: Observer
    parent: Rehearsal
    began: float = 0.0

    def run(self) -> None:
        self._same_revision()
        needs, broken = self._baseline()
        types = self.serving.results()
        start, rows = self.parent.structure(self.wanted.database), self.observer.rows()
        self.began = time.monotonic()
        if not self._go(UP):
            return
        self._judge_time()
        self._judge_locks(needs)
        self._compare(broken, types)
        if any(step.down is None for step in self.wanted.steps):
            self.report.notes.append("No downgrade was rehearsed: SQL for it is not known.")
            return
        self._and_back(start, rows)

    def _same_revision(self) -> None:
        there = self.observer.revisions(self.wanted.owner)
        if there is not None and sorted(there) != sorted(self.wanted.live):
            what = f"the backup is at {', '.join(there) or 'no revision'}, production at {', '.join(self.wanted.live)}"
            raise Problem(REFUSED, what, "wait until its WAL has arrived, and rehearse again")

    def _baseline(self) -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, str]]]:
        """A statement that needs a lock, by table and mode, and what fails already."""
        needs: dict[str, dict[str, str]] = {}

        def look(text: str, pid: int) -> None:
            for table, mode in self.observer.locks(pid):
                needs.setdefault(table, {}).setdefault(mode, text)

        broken = self.serving.failing(look)
        self.report.serving = len(self.serving.texts) - len(broken)
        left_out = len(self.wanted.serving) - self.report.serving
        if left_out:
            told = (
                f"{left_out} of {len(self.wanted.serving)} serving statements cannot be planned now and were left out."
            )
            self.report.notes.append(told)
        return needs, broken

    def _go(self, way: Way) -> bool:
        """All revisions one way; whether that went well."""
        began = time.monotonic()
        steps = [(one.id, one.up) for one in self.wanted.steps]
        if way.back:
            steps = [(one.id, one.down or ()) for one in reversed(self.wanted.steps)]
        shared, each = self.wanted.transaction == "all", self.wanted.transaction == "each"
        try:
            self._statement("", "BEGIN" if shared else "", way)
            for revision, statements in steps:
                for statement in ("BEGIN" if each else "", *statements, "COMMIT" if each else ""):
                    self._statement(revision, statement, way)
            self._statement("", "COMMIT" if shared else "", way)
        except _Failed as failed:
            with contextlib.suppress(self.owner.Error):
                self.owner.cursor().execute("ROLLBACK")
            self.observer.ended()
            why = f"on a copy of the live data {way.what} fails: {failed.reason}"
            self.report.find(
                way.hazard, way.verdict, failed.revision, failed.statement, failed.revision, why, way.remedy
            )
            return False
        finally:
            self.report.seconds_of[way.what] = round(time.monotonic() - began, 3)
        return True

    def _statement(self, revision: str, statement: str, way: Way) -> None:
        if not statement:
            return
        cursor, wal = self.owner.cursor(), self.observer.wal()
        began = time.monotonic()
        try:
            with self.observer.watching(self.owner.info.backend_pid, began):
                cursor.execute(statement)
        except self.owner.Error as error:
            raise _Failed(revision, statement, said(error)) from None
        seconds = time.monotonic() - began
        if self.owner.info.transaction_status == self.parent.driver.extensions.TRANSACTION_STATUS_IDLE:
            self.observer.ended()
        if way is UP:
            written = self.observer.wal() - wal
            self.report.wal_bytes += written
            seen = {"revision": revision, "statement": statement, "wal_bytes": written, "rows": max(0, cursor.rowcount)}
            when = {"at": round(began - self.began, 4), "seconds": round(seconds, 4)}
            self.report.statements.append({**seen, **when})

    def _judge_time(self) -> None:
        took = self.report.seconds_of[UP.what]
        if took > self.wanted.seconds:
            why = f"all of it took {took:.0f} s, and timeout_seconds is {self.wanted.seconds:.0f} s"
            self.report.find(48, HOLD, self.wanted.database, "", "", why, "Give it more time, or work in batches.")

    def _judge_locks(self, needs: Mapping[str, Mapping[str, str]]) -> None:
        changed = self.observer.changed()
        self.report.rewritten, self.report.built = changed.rewritten, changed.built
        for name in changed.invalid:
            why = "the build ended, and the index is not valid"
            self.report.find(53, HOLD, name, "", "", why, f"Drop it, and mend what keeps it from being built: {name}")
        for (table, mode), (seconds, since) in sorted(self.observer.held.items(), key=lambda one: one[1][1]):
            waiting = [text for need, text in needs.get(table, {}).items() if waits_for(need, mode)]
            when = {"at": round(since - self.began, 4), "seconds": round(seconds, 4)}
            self.report.locks.append({"object": table, "mode": mode, "blocks": waiting[:1], **when})
            if waiting and seconds > self.wanted.held_seconds:
                why = (
                    f"{mode} was held for {seconds:.1f} s, and {self.wanted.held_seconds:g} s are allowed; this waits "
                    f"meanwhile: {waiting[0][:160]}"
                )
                self.report.find(42, HOLD, table, "", "", why, _SHORTER)

    def _compare(self, broken: Mapping[str, tuple[str, str]], types: Mapping[str, str]) -> None:
        """An old session keeps its plans, and a new one makes its own; both run the old release's statements."""
        with self.parent.fresh(self.wanted) as connection:
            new = Serving(connection, tuple(self.serving.texts.values()))
            lost = set(self.serving.texts.values()) - set(new.texts.values())
            failing = {**new.failing(), **{text: self._reason(connection, text) for text in lost}}
            changed = {text for text, kinds in new.results().items() if types.get(text, kinds) != kinds}
        old = self.serving.failing() if self.wanted.plan_caching else {}
        for text, (code, why) in {**old, **failing}.items():
            if text in broken:
                continue
            session = "a new session" if text in failing else "a session that keeps its plan"
            hazard = _HAZARDS.get(code, 35)
            self.report.find(hazard, HOLD, _SERVING, text, "", f"in {session} it fails afterwards: {why}", _ONE_BY_ONE)
        for text in sorted(changed - set(failing)):
            self.report.notes.append(f"Its result has other types afterwards: {' '.join(text.split())[:160]}")

    @staticmethod
    def _reason(connection: Any, text: str) -> tuple[str, str]:
        try:
            connection.cursor().execute(f"PREPARE again AS {text}")
        except connection.Error as error:
            return str(error.pgcode or ""), said(error)
        return "", "it can be prepared only at a second attempt"

    def _and_back(self, start: list[str], rows: Mapping[str, int]) -> None:
        if not self._go(DOWN):
            return
        end, remedy = self.parent.structure(self.wanted.database), _NO_WAY_BACK
        differences = [f"- {line}" for line in _less(start, end)] + [f"+ {line}" for line in _less(end, start)]
        if differences:
            why = f"after upgrade and downgrade the schema is another one: {' / '.join(differences)[:400]}"
            self.report.find(55, UNDETERMINED, self.wanted.database, "", "", why, remedy)
        now = self.observer.rows()
        for table in sorted(rows):
            if now.get(table) != rows[table]:
                why = f"it has {now.get(table, 0)} rows after upgrade and downgrade, and had {rows[table]}"
                self.report.find(55, UNDETERMINED, table, "", "", why, remedy)
        if self._go(AGAIN):
            self.report.notes.append("Upgrade, downgrade and upgrade once more went through.")


def _less(some: Sequence[str], others: Sequence[str]) -> list[str]:
    left = list(others)
    found = []
    for line in some:
        if line in left:
            left.remove(line)
        else:
            found.append(line)
    return found


class _Failed(Exception):
    def __init__(self, revision: str, statement: str, reason: str) -> None:
        super().__init__(reason)
        self.revision, self.statement, self.reason = revision, statement, reason
