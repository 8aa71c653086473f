"""The run of a migration: when it is tried again and when not. By Alembic itself, on a server where there is one."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_run as rules
from ansible_collections.signalbox.platform.plugins.module_utils._container_module import guard
from ansible_collections.signalbox.platform.plugins.module_utils._migration_run_database import OPTIONS, OwnerDatabase
from ansible_collections.signalbox.platform.plugins.module_utils._one_shot import Ended
from ansible_collections.signalbox.platform.plugins.modules import migration_run

try:
    import psycopg2
except ImportError:
    psycopg2 = None

BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
needs_server = pytest.mark.skipif(
    not BINARIES or psycopg2 is None, reason="needs the programs of a PostgreSQL server, and psycopg2"
)
TIMEOUTS = {"lock_timeout": 0.6, "statement_timeout": 20.0}
SAID = "sqlalchemy.exc.OperationalError: (psycopg2.errors.LockNotAvailable) canceling statement due to lock timeout"


def ended(code: int = 0, stderr: str = "", timed_out: bool = False) -> Ended:
    return Ended(code, "", stderr, timed_out, 0.1)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (ended(1, SAID), True),
        (ended(1, "asyncpg.exceptions.LockNotAvailableError: canceling statement due to lock timeout"), True),
        (ended(1, "ERROR: 55P03"), True),
        (ended(1, "could not obtain lock on row in relation"), True),
        (ended(1, "canceling statement due to statement timeout"), False),
        (ended(1, "psycopg2.errors.DeadlockDetected: deadlock detected"), False),
        (ended(137, SAID, timed_out=True), False),
    ],
)
def test_what_counts_as_a_lock_timeout(how: Ended, expected: bool) -> None:
    assert rules.is_lock_timeout(how) is expected


def test_pauses_grow_have_an_end_and_never_beat_in_time() -> None:
    assert [rules.pause(number, lambda: 1.0) for number in (1, 2, 3, 4, 5, 9)] == [2, 4, 8, 16, 30, 30]
    assert [rules.pause(number, lambda: 0.0) for number in (1, 2)] == [1, 2]
    assert len({rules.pause(3) for _ in range(20)}) > 1


def test_given_passwords_are_hidden_and_struck_out() -> None:
    module = SimpleNamespace(params={"app": "shop", "secrets": {"database_owner": "p" * 40}}, no_log_values=set())
    assert "p" * 40 not in str(guard(module))
    assert module.no_log_values == {"p" * 40}


class Unlocked:
    """A database on which nothing that runs leaves a trace."""

    settled = 0

    def claim(self) -> None:
        pass

    def observe(self) -> rules.State:
        return rules.State(("a",), "tables")

    def settle(self) -> list[str]:
        self.settled += 1
        return []

    def failing(self, checks: Sequence[str], seconds: float) -> list[str]:
        return []

    def watch(self) -> nullcontext:
        return nullcontext(SimpleNamespace(blockers=[]))


def test_it_gives_up_when_another_attempt_would_be_over_the_budget() -> None:
    now = [0.0]

    def locked(seconds: float) -> Ended:
        assert seconds <= 60
        now[0] += 20
        return ended(1, SAID)

    def rest(seconds: float) -> None:
        now[0] += seconds

    run = rules.Run(Unlocked(), locked, rules.Limits(60, 20), clock=lambda: now[0], sleep=rest)
    outcome = run.run()
    assert outcome.attempts == 3
    assert "could not have its lock in 3 attempts" in outcome.problem
    assert outcome.revisions == ("a",)
    assert now[0] <= 60 + 20


def test_an_interrupted_run_leaves_nothing_running_on_the_server() -> None:
    def interrupted(_seconds: float) -> Ended:
        raise KeyboardInterrupt

    database = Unlocked()
    with pytest.raises(KeyboardInterrupt):
        rules.Run(database, interrupted, rules.Limits(60, 3)).run()
    assert database.settled == 1


@pytest.mark.parametrize("problem", ["", "exited with 1"])
def test_the_module_tells_how_the_last_attempt_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: str
) -> None:
    outcome = rules.Outcome(ended(1 if problem else 0, "why"), 2, problem, changed=True, revisions=("a",))
    monkeypatch.setattr(migration_run, "run", lambda _module: outcome)
    monkeypatch.setattr(migration_run, "psycopg2", SimpleNamespace(Error=OSError))
    monkeypatch.setattr(migration_run, "end_on_signals", lambda: None)
    login = {"user": "shop_owner", "database": "shop", "secret": "database_owner"}
    image = "registry.example/shop@sha256:" + "0" * 64
    given = {"app": "shop", "image": image, "command": ["alembic"], "login": login, "database_address": "192.0.2.1"}
    with patch_module_args(given), pytest.raises(SystemExit) as ends:
        migration_run.main()
    answer = json.loads(capsys.readouterr().out)
    assert bool(ends.value.code) == bool(problem) == answer.get("failed", False)
    assert (answer["rc"], answer["stderr"], answer["attempts"]) == (outcome.ended.code, "why", 2)
    assert answer["revisions"] == ["a"]


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    """The directory of a running server's socket."""
    with tempfile.TemporaryDirectory(prefix="migration-run-") as name:
        home = Path(name)
        home.chmod(0o755)
        data = home / "data"
        data.mkdir()
        if NOBODY:
            shutil.chown(home, "nobody", "nogroup")
            shutil.chown(data, "nobody", "nogroup")
        initdb = [*NOBODY, f"{BINARIES[0]}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
        # As on the platform: some settings are then a superuser's.
        settings += ["-c", "shared_preload_libraries=pg_stat_statements"]
        with (home / "log").open("w") as log:
            command = [*NOBODY, f"{BINARIES[0]}/postgres", "-D", str(data), *settings]
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not (home / ".s.PGSQL.5432").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)
            yield str(home)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


class Shop:
    """A database with an owner, a login of the app and one table, and an Alembic tree that migrates it."""

    def __init__(self, socket: str, tree: Path) -> None:
        self.socket, self.tree = socket, tree
        admin = self.connect("postgres", "postgres")
        for statement in (
            "DROP DATABASE IF EXISTS shop WITH (FORCE)",
            "DROP ROLE IF EXISTS shop_owner, shop_blue",
            "CREATE ROLE shop_owner LOGIN",
            "CREATE ROLE shop_blue LOGIN",
            "CREATE DATABASE shop OWNER shop_owner",
        ):
            for part in statement.split("; "):
                admin.cursor().execute(part)
        admin.close()
        self.owner = self.connect("shop_owner")
        self.run("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t SELECT n FROM generate_series(1, 100) n")
        self.run("GRANT ALL ON t TO shop_blue")
        (tree / "m/versions").mkdir(parents=True)
        (tree / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/m\n")
        (tree / "m/env.py").write_text(
            "from alembic import context\nimport sqlalchemy as sa, os\n"
            "with sa.create_engine(os.environ['DATABASE_URL']).connect() as connection:\n"
            "    context.configure(connection=connection, transaction_per_migration=True)\n"
            "    with context.begin_transaction():\n        context.run_migrations()\n"
        )

    def connect(self, user: str, database: str = "shop", options: str = ""):
        connection = psycopg2.connect(host=self.socket, user=user, dbname=database, options=options)
        connection.autocommit = True
        return connection

    def run(self, statement: str) -> list[tuple]:
        cursor = self.owner.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def revision(self, name: str, down: str | None, body: str) -> None:
        head = f"from alembic import op\nimport sqlalchemy as sa\nrevision = {name!r}\ndown_revision = {down!r}\n"
        (self.tree / f"m/versions/{name}.py").write_text(f"{head}\n\ndef upgrade():\n    {body}\n")

    def upgrade(self, seconds: float) -> Ended:
        """What a container does, without one."""
        url = f"postgresql+psycopg2://shop_owner@/shop?host={self.socket}"
        environment = {**os.environ, "DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=self.tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, error = process.communicate()
            return Ended(process.returncode, out, error, True, time.monotonic() - began)
        return Ended(process.returncode, out, error, False, time.monotonic() - began)

    def database(self) -> OwnerDatabase:
        return OwnerDatabase(lambda: self.connect("shop_owner", options=OPTIONS), TIMEOUTS)

    def migrate(
        self,
        seconds: float = 30,
        attempts: int = 3,
        between: Callable[[], None] = lambda: None,
        checks: Sequence[str] = (),
    ) -> rules.Outcome:
        self.warnings: list[str] = []
        with self.database() as database:
            limits = rules.Limits(seconds, attempts)
            run = rules.Run(
                database, self.upgrade, limits, checks, sleep=lambda _s: between(), warn=self.warnings.append
            )
            return run.run()


@pytest.fixture
def shop(socket: str, tmp_path: Path) -> Shop:
    return Shop(socket, tmp_path)


class Reader:
    """A session of the app that keeps its transaction open."""

    def __init__(self, shop: Shop, statement: str = "SELECT count(*) FROM t") -> None:
        self.connection = shop.connect("shop_blue", options="-c application_name=report")
        self.connection.autocommit = False
        self.connection.cursor().execute(statement)

    def end(self) -> None:
        self.connection.rollback()
        self.connection.close()


ADD = "op.add_column('t', sa.Column('b', sa.Text))"
BUILD = "op.create_index('t_a', 't', ['a'], if_not_exists=True, postgresql_concurrently=True)"
INDEX = f"with op.get_context().autocommit_block():\n        {BUILD}"


@needs_server
def test_every_new_session_of_the_owner_has_the_timeouts_and_nobody_else(shop: Shop) -> None:
    shop.revision("one", None, ADD)
    outcome = shop.migrate()
    assert (outcome.problem, outcome.attempts, outcome.changed) == ("", 1, True)
    wanted = {"shop_owner": ("600ms", "20s"), "shop_blue": ("0", "0")}
    for user, expected in wanted.items():
        cursor = shop.connect(user).cursor()
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        assert cursor.fetchone() == expected
    assert not shop.migrate().changed


@needs_server
def test_it_is_tried_again_when_the_lock_is_free(shop: Shop) -> None:
    shop.revision("one", None, ADD)
    reader = Reader(shop)
    outcome = shop.migrate(between=reader.end)
    assert (outcome.problem, outcome.attempts) == ("", 2)
    assert [name.split(" (pid")[0] for name in outcome.waited_for] == ["shop_blue"]
    assert "report" in outcome.waited_for[0]
    assert shop.run("SELECT version_num FROM alembic_version") == [("one",)]


@needs_server
def test_it_gives_up_within_its_budget_while_requests_keep_flowing(shop: Shop) -> None:
    shop.revision("one", None, ADD)
    reader = Reader(shop)
    longest, over = [0.0], threading.Event()

    def ask() -> None:
        cursor = shop.connect("shop_blue").cursor()
        while not over.is_set():
            began = time.monotonic()
            cursor.execute("SELECT a FROM t WHERE id = 1")
            longest[0] = max(longest[0], time.monotonic() - began)
            time.sleep(0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    outcome = shop.migrate(attempts=3)
    over.set()
    asking.join()
    assert outcome.attempts == 3
    assert "could not have its lock in 3 attempts, which was held by shop_blue (pid" in outcome.problem
    assert "LockNotAvailable" in rules.told(outcome)
    assert time.monotonic() - began < 20
    # Behind a statement that waits for its lock everybody waits, for as long as lock_timeout.
    assert longest[0] < TIMEOUTS["lock_timeout"] + 0.5
    assert not outcome.changed
    reader.end()


@needs_server
def test_any_other_failure_is_not_tried_again(shop: Shop) -> None:
    shop.revision("one", None, "op.execute('SELECT nothing')")
    outcome = shop.migrate()
    assert outcome.attempts == 1
    assert "exited with 1" in outcome.problem


@needs_server
def test_an_index_that_was_not_finished_is_named_before_and_after(shop: Shop) -> None:
    shop.revision("one", None, INDEX)
    reader = Reader(shop, "UPDATE t SET a = 'x' WHERE id = 1")
    outcome = shop.migrate()
    assert outcome.attempts == 1
    assert "DROP INDEX CONCURRENTLY public.t_a" in outcome.problem
    reader.end()
    # Alembic alone would now take it for done.
    with pytest.raises(rules.Refused, match=r"Not valid: public\.t_a"):
        shop.migrate()
    assert shop.run("SELECT count(*) FROM alembic_version") == [(0,)]
    shop.run("DROP INDEX CONCURRENTLY public.t_a")
    assert shop.migrate().problem == ""
    assert shop.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass") == [(True,)]


@needs_server
def test_a_success_that_leaves_an_index_invalid_is_none(shop: Shop) -> None:
    shop.run("INSERT INTO t SELECT n, 'same' FROM generate_series(101, 102) n")
    body = "try:\n            op.create_index('t_u', 't', ['a'], unique=True, postgresql_concurrently=True)\n"
    swallowing = f"with op.get_context().autocommit_block():\n        {body}        except Exception:\n            pass"
    shop.revision("one", None, swallowing)
    outcome = shop.migrate()
    assert outcome.ended.code == 0
    assert "public.t_u" in outcome.problem


@needs_server
def test_what_is_committed_in_part_is_not_tried_again(shop: Shop) -> None:
    committed = (
        "with op.get_context().autocommit_block():\n        op.create_table('u', sa.Column('id', sa.Integer))\n    "
    )
    shop.revision("one", None, committed + ADD)
    reader = Reader(shop)
    outcome = shop.migrate()
    reader.end()
    assert outcome.attempts == 1
    assert "part of the revision is committed" in outcome.problem
    assert outcome.changed


@needs_server
def test_a_revision_that_was_done_is_not_lost_by_the_next_one(shop: Shop) -> None:
    shop.revision("one", None, "op.create_table('u', sa.Column('id', sa.Integer))")
    shop.revision("two", "one", ADD)
    reader = Reader(shop)
    outcome = shop.migrate(attempts=2)
    reader.end()
    assert outcome.attempts == 2
    assert shop.run("SELECT version_num FROM alembic_version") == [("one",)]
    assert shop.migrate().problem == ""


@needs_server
def test_a_second_run_is_refused_and_the_first_is_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[OwnerDatabase.__module__], "SETTLE_SECONDS", 0.2)
    with shop.database() as first:
        first.claim()
        with pytest.raises(rules.Refused, match=r"another run migrates this database: pid \d+ from"):
            shop.migrate()
    assert shop.migrate().problem == ""


@needs_server
def test_a_refused_run_changes_no_timeout_of_the_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[OwnerDatabase.__module__], "SETTLE_SECONDS", 0.2)
    with shop.database() as first:
        first.claim()
        other = OwnerDatabase(lambda: shop.connect("shop_owner", options=OPTIONS), {"lock_timeout": 9.0})
        with other, pytest.raises(rules.Refused, match="another run"):
            other.claim()
    cursor = shop.connect("shop_owner").cursor()
    cursor.execute("SELECT current_setting('lock_timeout')")
    assert cursor.fetchone() == ("600ms",)


@needs_server
def test_tables_of_other_sessions_alone_are_no_change(shop: Shop) -> None:
    with shop.database() as database:
        before = database.observe()
        other = shop.connect("shop_blue")
        other.cursor().execute("CREATE TEMP TABLE mine (id int PRIMARY KEY DEFAULT 1, b text CHECK (b <> ''))")
        assert database.observe() == before
        shop.run("CREATE TABLE theirs (id int PRIMARY KEY)")
        assert database.observe() != before
        other.close()


@needs_server
def test_checks_have_what_is_left_of_the_time(shop: Shop) -> None:
    with shop.database() as database:
        found = database.failing(["SELECT pg_sleep(20)", "SELECT 1 WHERE false"], 0.5)
    assert found[0] == "SELECT pg_sleep(20) cannot be run (SQLSTATE 57014)"


@needs_server
def test_a_stopped_run_leaves_no_statement_behind(shop: Shop) -> None:
    shop.revision("one", None, "op.execute('LOCK t'); op.execute('SELECT pg_sleep(15)')")
    outcome = shop.migrate(seconds=2.5)
    assert outcome.ended.timed_out
    assert "did not end within" in outcome.problem
    assert "was ended" in shop.warnings[0]
    shop.owner.cursor().execute("SET lock_timeout = '1s'")
    assert shop.run("SELECT count(*) FROM t") == [(100,)]


@needs_server
def test_a_session_of_the_owner_in_a_transaction_is_not_joined(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[OwnerDatabase.__module__]
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.2)
    other = shop.connect("shop_owner")
    other.autocommit = False
    other.cursor().execute("SELECT 1")
    with pytest.raises(rules.Refused, match=f"pid {other.info.backend_pid} from the server itself"):
        shop.migrate()
    other.rollback()


@needs_server
def test_checks_that_return_a_row_fail_it_and_tell_no_value(shop: Shop) -> None:
    shop.revision("one", None, "op.execute(\"UPDATE t SET a = 'a secret' WHERE id = 1\")")
    writes = "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone"
    checks = ["SELECT a FROM t WHERE a IS NOT NULL;", "SELECT 1 WHERE false", "SELECT nothing", writes]
    outcome = shop.migrate(checks=checks)
    assert outcome.ended.code == 0
    assert "SELECT a FROM t WHERE a IS NOT NULL; returns rows" in outcome.problem
    assert "SELECT nothing cannot be run (SQLSTATE 42703)" in outcome.problem
    assert f"{writes} cannot be run (SQLSTATE 25006)" in outcome.problem
    assert shop.run("SELECT count(*) FROM t") == [(100,)]
    assert "secret" not in outcome.problem
    assert "false" not in outcome.problem
    assert shop.migrate(checks=["SELECT 1 WHERE false"]).problem == ""
