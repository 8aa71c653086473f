"""Migrations on lab hosts: what breaks the serving release is held, what cannot have its lock gives up."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import images
import pytest
import registry
from conftest import live_version
from driver import Driver
from proof_report import kept, record
from test_life import answers, eventually, kill_at, no_failure, on, other_than, revision

HEAD = "202603021420_index_created_at"
REVISION = "202612010000_lab"
FILE = f'''"""What a test wants, on top of what is live."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{REVISION}", "{HEAD}", None, None


def upgrade():
    {{up}}


def downgrade():
    {{down}}
'''
DROPS = ('op.drop_column("sessions", "title")', 'op.add_column("sessions", sa.Column("title", sa.Text()))')
ADDS = ('op.add_column("sessions", sa.Column("note", sa.Text()))', 'op.drop_column("sessions", "note")')
MAKES = ('op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True))', 'op.drop_table("notes")')
DOCKERFILE = f"""
ARG BASE
FROM ${{BASE}}
COPY revision.py /app/migrations/versions/{REVISION}.py
ARG VERSION
ARG OF
ENV APP_VERSION=${{VERSION}}
LABEL org.opencontainers.image.version="${{VERSION}}"
"""


def publish(driver: Driver, version: str, change: tuple[str, str], folder: Path) -> None:
    """A version of the API with one more revision."""
    base = images.ensure_api("1.2.0")
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "revision.py").write_text(FILE.format(up=change[0], down=change[1]))
    name = f"signalbox/agent-api:{version}"
    images.build(name, folder, {"BASE": base, "VERSION": version, "OF": images._inputs(base)})
    to = registry.access(list(driver.inventories))
    images.push(name, to.address, to.repository, version, to.username, to.password)


def sql(statement: str) -> str:
    command = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "agent_api"]
    return on("data1", *command, "-c", statement).strip()


@contextmanager
def back(undo: str) -> Iterator[None]:
    """The schema that the other versions know, whatever the block did."""
    try:
        yield
    finally:
        sql(f"{undo}; UPDATE alembic_version SET version_num = '{HEAD}'")


@contextmanager
def reader() -> Iterator[None]:
    """Somebody who has read the table and does not end his transaction."""
    script = "BEGIN; SELECT count(*) FROM sessions; SELECT pg_sleep(600)"
    command = ["docker", "exec", "signalbox-data1", "runuser", "-u", "postgres", "--", "psql", "-Xq", "agent_api", "-c"]
    process = subprocess.Popen([*command, script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'BEGIN; %pg_sleep(600)'"
    try:
        eventually(lambda: sql("SELECT count(*) FROM pg_locks WHERE relation = 'sessions'::regclass") != "0")
        yield
    finally:
        sql(ends)
        process.wait(30)


def steps(driver: Driver) -> list[dict]:
    lines = on("edge1", "cat", "/var/lib/signalbox/releases/agent-api/ledger.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def test_an_unsafe_migration_is_held_before_anything_changed(driver: Driver, tmp_path: Path) -> None:
    before, migrated = live_version(driver), revision()
    publish(driver, "9.1.0-drops", DROPS, tmp_path / "drops")
    points = sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'sessions'")
    result = driver.run("deploy", version="9.1.0-drops")
    assert result.code != 0
    said = " ".join(result.last_screen.split())
    for part in ("HOLD", "sessions.title", "instead:", "Nothing was changed", "-e accept_migration=hold"):
        assert part in said, result.last_screen
    assert "Make a restore point" not in result.output
    assert (live_version(driver), revision()) == (before, migrated)
    assert sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'sessions'") == points
    assert answers(driver)
    assert steps(driver)[-1]["result"] == "failed"


@pytest.mark.proof
def test_a_safe_migration_passes_under_load(driver: Driver, tmp_path: Path) -> None:
    before = live_version(driver)
    publish(driver, "9.1.1-makes", MAKES, tmp_path / "makes")
    with back("DROP TABLE IF EXISTS notes"):
        with driver.load("--protocol", "https", "--connections", "8", "--rate", "50") as load:
            done = driver.must("deploy", version="9.1.1-makes", bake_seconds=2)
            report = load.stop()
        no_failure(report)
        assert revision().strip() == REVISION
        # What every session of the owner gets now, whatever its driver.
        given = sql("SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 'agent_api_owner'::regrole")
        assert {"lock_timeout=5000ms", "statement_timeout=600000ms"} <= set(given.splitlines())
        driver.must("rollback")
    assert live_version(driver) == before
    record("a migration that may run now, under load", {"the release": f"{done.seconds:.0f} s", **kept(report)})


@pytest.mark.proof
def test_a_migration_without_its_lock_gives_up_and_passes_later(driver: Driver, tmp_path: Path) -> None:
    before = live_version(driver)
    publish(driver, "9.1.2-adds", ADDS, tmp_path / "adds")
    # A platform that is younger than an hour has not counted statements for long enough.
    options = {"version": "9.1.2-adds", "bake_seconds": 1, "accept_migration": "undetermined"}
    with back("ALTER TABLE sessions DROP COLUMN IF EXISTS note"):
        with driver.load("--protocol", "https", "--connections", "8", "--rate", "10") as load:
            with reader():
                refused = driver.run("deploy", **options)
            report = load.stop()
        assert refused.code != 0
        said = " ".join(refused.last_screen.split())
        assert "could not have its lock in 5 attempts, which was held by postgres (pid" in said, refused.last_screen
        no_failure(report)
        assert (live_version(driver), revision().strip()) == (before, HEAD)
        assert sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == "0"
        driver.must("deploy", **options)
        assert revision().strip() == REVISION
        driver.must("rollback")
    assert live_version(driver) == before
    record("a migration whose lock is held", {"gave up after": f"{refused.seconds:.0f} s", **kept(report)})


@pytest.mark.proof
def test_a_controller_killed_in_the_migration_is_mended(driver: Driver, tmp_path: Path) -> None:
    before = live_version(driver)
    publish(driver, "9.1.3-slow", ('op.execute("SELECT pg_sleep(20)")', "op.execute('SELECT 1')"), tmp_path / "slow")
    options = {"version": "9.1.3-slow", "bake_seconds": 1, "accept_migration": "hold"}
    with back("SELECT 1"):
        kill_at(driver, "Migrate the database once", delay=5, **options)
        assert answers(driver)
        began = time.monotonic()
        driver.must("deploy", **options)
        record("deploy.yml killed in: Migrate the database once", {"the next run": f"{time.monotonic() - began:.0f} s"})
        driver.must("rollback")
    assert live_version(driver) == before
    driver.must("deploy", version=other_than(before), bake_seconds=1)


@pytest.mark.proof
def test_a_plan_with_a_rehearsal_tells_what_it_saw(driver: Driver, tmp_path: Path) -> None:
    migrated = revision()
    publish(driver, "9.1.2-adds", ADDS, tmp_path / "adds")
    done = driver.must("plan_migration", version="9.1.2-adds", rehearse=True, report=str(tmp_path / "plan"))
    seen = json.loads((tmp_path / "plan.json").read_text())["covered"]["rehearsal"]
    assert "Upgrade, downgrade and upgrade once more went through." in seen["notes"]
    assert ("public.sessions", "AccessExclusive") in {(one["object"], one["mode"]) for one in seen["locks"]}
    assert "<svg" in (tmp_path / "plan.html").read_text()
    assert revision() == migrated
    assert on("backup1", "ls", "-A", "/var/lib/signalbox/scratch") == ""
    overhead = seen["seconds"] - seen["restore_seconds"] - seen["seconds_of"]["the upgrade"]
    record(
        "a rehearsal",
        {
            "the playbook": f"{done.seconds:.0f} s",
            "restore, on the backup host": f"{seen['restore_seconds']:.1f} s",
            "all but restore and upgrade, there": f"{overhead:.1f} s",
        },
    )
