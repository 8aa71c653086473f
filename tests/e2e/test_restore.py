"""The day somebody drops a table: the database goes back to the second before, and the API serves on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from conftest import live_version, status
from driver import DOMAIN, Driver
from secret_scan import on
from test_life import answers, eventually, other_than, unchanged

ROWS = "select count(*), md5(string_agg(id::text, ',' order by id)) from sessions"


def moment() -> str:
    return sql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS+00:00')")


def sql(statement: str, database: str = "agent_api") -> str:
    command = ["runuser", "-u", "postgres", "--", "psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", database]
    return on("data1", *command, "-c", statement).strip()


def test_backups_are_there_and_a_drill_proves_one(driver: Driver) -> None:
    drill = driver.must("drill", kind="latest")
    assert "databases sound" in drill.output
    assert "by the heartbeat" in drill.output
    found = status(driver)["backups"]
    assert found["status"]["backups"][0]["kind"] == "full"
    assert not [problem for problem in found["problems"] if "WAL" in problem or "drill" in problem], found


def test_a_restore_without_a_word_on_what_it_overwrites_is_refused(driver: Driver) -> None:
    before = sql("select pg_postmaster_start_time()")
    for extra in ({}, {"kind": "latest"}, {"kind": "latest", "overwrite": "app1"}):
        refused = driver.run("restore", **extra)
        assert refused.code != 0
        assert "-e overwrite=data1" in " ".join(refused.output.split())
    assert sql("select pg_postmaster_start_time()") == before


def test_a_dropped_table_comes_back_and_the_api_serves_on(driver: Driver, tmp_path: Path) -> None:
    sql("insert into sessions (id, title) select gen_random_uuid(), 'session ' || n from generate_series(1, 500) n")
    rows, at = sql(ROWS), moment()
    assert int(rows.split("|")[0]) >= 500
    time.sleep(1)
    sql("drop table sessions cascade")

    seen: set[str] = set()
    done = threading.Event()
    watching = threading.Thread(target=watch, args=(driver, seen, done))
    watching.start()
    try:
        restored = driver.must("restore", overwrite="data1", kind="time", at=at)
    finally:
        done.set()
        watching.join()
    assert "503 30" in seen, f"the apps are closed meanwhile, and say when to come again: {seen}"
    assert sql(ROWS) == rows
    eventually(lambda: answers(driver), 60)
    assert "logins keep the passwords they had" in restored.output
    assert on("data1", "bash", "-c", "ls -d /var/lib/postgresql/17/main.before-*").strip()

    with driver.load("--protocol", "https", "--connections", "4", "--rate", "50") as load:
        time.sleep(5)
        report = load.stop()
    assert report["failures"] == 0, report["failure_samples"]
    # Vault's own login and the slots' came over as well: nothing is left to mend.
    mended = driver.must("site")
    assert unchanged(mended, "data1", "vault1", "backup1"), mended.last_screen
    driver.must("restore", overwrite="data1", forget=True)
    assert not on("data1", "bash", "-c", "ls -d /var/lib/postgresql/17/main.before-* || true").strip()


def watch(driver: Driver, seen: set[str], done: threading.Event) -> None:
    """What plain requests get, as long as the restore runs."""
    while not done.is_set():
        seen.add(served(driver))
        time.sleep(0.2)


def served(driver: Driver) -> str:
    """Status and Retry-After of a plain request; health paths are served in every mode."""
    command = ["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}"]
    command += ["--cacert", str(driver.authority()), "--resolve", f"{DOMAIN}:443:{driver.addresses('edge')[0]}"]
    answer = subprocess.run([*command, f"https://{DOMAIN}/"], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def test_a_failed_restore_leaves_everything_as_it_was(driver: Driver) -> None:
    rows = sql(ROWS)
    failed = driver.run("restore", overwrite="data1", kind="name", at="never-made")
    assert failed.code != 0
    assert "the restored server does not start" in " ".join(failed.output.split())
    assert sql(ROWS) == rows
    eventually(lambda: answers(driver), 60)
    states = json.loads(on("edge1", "bash", "-c", "cat /var/lib/signalbox/edge/state/agent-api.json"))
    assert states["mode"] == "open"
    assert status(driver)["apps"][0]["lock"] is None


def test_a_killed_restore_is_undone_and_the_app_served_as_before(driver: Driver) -> None:
    rows = sql(ROWS)
    run = driver.start("restore", overwrite="data1", kind="latest")
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("TASK [") and "Restore" in line and "pgbackrest" in line:
            break
    else:
        raise AssertionError("the run never came to the restore")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert served(driver) == "503 30", "the apps are closed until somebody decides"
    # What the killed run began on the host may still be at work, and is waited for.
    eventually(lambda: driver.run("restore", overwrite="data1", undo=True).code == 0)
    eventually(lambda: served(driver).startswith("200"), 60)
    assert sql(ROWS) == rows
    assert status(driver)["apps"][0]["lock"] is None
    driver.must("deploy", version=other_than(live_version(driver)), bake_seconds=1)
    driver.must("restore", overwrite="data1", forget=True)


def test_tables_come_back_beside_the_live_ones(driver: Driver) -> None:
    sql("insert into sessions (id, title) select gen_random_uuid(), 'kept ' || n from generate_series(1, 50) n")
    rows, at, started = sql(ROWS), moment(), sql("select pg_postmaster_start_time()")
    time.sleep(1)
    sql("update sessions set title = 'spoiled'")
    with driver.load("--protocol", "https", "--connections", "4", "--rate", "50") as load:
        restored = driver.must("restore_table", database="agent_api", tables="sessions", kind="time", at=at)
        report = load.stop()
    assert report["failures"] == 0, report["failure_samples"]
    schema = re.findall(r"DROP SCHEMA (restored_\w+) CASCADE", restored.output)[0]
    assert sql(ROWS.replace("from sessions", f"from {schema}.sessions")) == rows
    assert int(sql(f"select count(*) from {schema}.sessions where title like 'kept %'")) == 50
    assert sql("select pg_postmaster_start_time()") == started
    sql(f"drop schema {schema} cascade")


def test_a_release_makes_a_restore_point_and_needs_a_fresh_backup(driver: Driver) -> None:
    version = other_than(live_version(driver))
    before = live_version(driver)
    on("backup1", "mv", "/var/lib/pgbackrest/backup/main", "/var/lib/pgbackrest/backup/main.away")
    try:
        refused = driver.run("deploy", version=version, bake_seconds=1)
    finally:
        on("backup1", "mv", "/var/lib/pgbackrest/backup/main.away", "/var/lib/pgbackrest/backup/main")
    assert refused.code != 0
    assert "could not be brought back" in " ".join(refused.last_screen.split())
    assert live_version(driver) == before
    driver.must("deploy", version=version, bake_seconds=1)
    ledger = on("edge1", "tail", "-n", "1", "/var/lib/signalbox/releases/agent-api/ledger.jsonl")
    assert re.search(rf'"agent-api\.{version}\.\d{{8}}T\d{{6}}Z"', ledger), ledger
