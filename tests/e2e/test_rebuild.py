"""A host is lost for good, and an empty one takes its place: its data comes back, and the API serves on."""

from __future__ import annotations

import random
import re
import statistics
import subprocess
import time

import pytest
from conftest import live_version, status
from driver import Driver
from proof_report import record
from secret_scan import on
from test_life import answers, eventually
from test_restore import sql

LOSSES = 10
PGBENCH = ("runuser", "-u", "postgres", "--", "/usr/lib/postgresql/17/bin/pgbench")
REGISTRY = "/var/lib/docker-registry"
REDIS = (
    "REDISCLI_AUTH=$(cat /run/signalbox-redis/administrator) redis-cli --no-auth-warning -e"
    " -s /run/redis/redis-server.sock --user signalbox-administrator"
)
SENT = "/var/lib/prometheus/node-exporter/signalbox_state_backup.prom"
_TOOK = re.compile(r"restored in ([0-9.]+) s, recovered in ([0-9.]+) s")


def lose(driver: Driver, host: str) -> None:
    """Killed in mid-work, its disks gone; a bare host starts in its place."""
    subprocess.run(["docker", "kill", f"signalbox-{host}"], check=True, capture_output=True)
    subprocess.run(["docker", "rm", "--force", "--volumes", f"signalbox-{host}"], check=True, capture_output=True)
    driver.lab("up")


def middle_and_worst(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):.{digits}f}, {max(values):.{digits}f}"


def serves(driver: Driver) -> None:
    eventually(lambda: answers(driver), 60)
    with driver.load("--protocol", "https", "--connections", "4", "--rate", "50") as load:
        time.sleep(5)
        report = load.stop()
    assert report["failures"] == 0, report["failure_samples"]


def test_a_lost_database_host_is_made_anew(driver: Driver) -> None:
    sql("insert into sessions (id, title) select gen_random_uuid(), 'before the loss' from generate_series(1, 50) n")
    rows = sql("select count(*) from sessions where title = 'before the loss'")
    segment = sql("select pg_walfile_name(pg_switch_wal())")
    eventually(lambda: sql(f"select last_archived_wal >= '{segment}' from pg_stat_archiver") == "t", 60)
    lose(driver, "data1")
    rebuilt = driver.must("rebuild", lost="data1")
    print(f"a lost database host made anew in {rebuilt.seconds:.1f} s")
    assert sql("select count(*) from sessions where title = 'before the loss'") == rows
    serves(driver)
    assert not status(driver)["backups"]["problems"]


def test_a_host_that_cannot_be_made_anew_is_refused(driver: Driver) -> None:
    for extra, words in (
        ({}, "Name the host that was lost"),
        ({"lost": "data2"}, "Name the host that was lost"),
        ({"lost": "vault1"}, "-e @escrow.yml"),
    ):
        refused = driver.run("rebuild", **extra)
        assert refused.code != 0
        assert words in " ".join(refused.output.split())


def sent(metrics: str) -> float:
    """When the newest state of a host arrived, in seconds since the epoch."""
    return float(re.findall(r"^signalbox_state_backup_timestamp_seconds (\S+)$", metrics, re.MULTILINE)[0])


def state_is_sent(driver: Driver) -> None:
    """Every host has had time for it: what the backup host has is not older than now."""
    for host in ("edge1", "mon1", "data1"):
        on(host, "systemctl", "start", "signalbox-state.service")


@pytest.mark.proof
def test_a_lost_edge_serves_what_was_live_and_knows_its_releases(driver: Driver) -> None:
    """The edge that keeps the releases: ledger and traffic state come back from the backup host."""
    earlier, before = "1.0.0", "1.1.0"
    for version in (earlier, before):
        driver.must("deploy", version=version)
    ended = time.time()
    # By itself, as soon as the release ended: nothing is sent by hand here.
    eventually(lambda: sent(on("edge1", "cat", SENT)) > ended, 30)
    ledger = on("edge1", "cat", "/var/lib/signalbox/releases/agent-api/ledger.jsonl")
    lose(driver, "edge1")
    rebuilt = driver.must("rebuild", lost="edge1")
    print(f"a lost edge made anew in {rebuilt.seconds:.1f} s")
    assert on("edge1", "cat", "/var/lib/signalbox/releases/agent-api/ledger.jsonl").startswith(ledger)
    assert live_version(driver) == before
    serves(driver)
    assert not status(driver)["backups"]["problems"]
    driver.must("rollback")
    assert live_version(driver) == earlier
    driver.must("deploy", version=before)
    assert live_version(driver) == before
    serves(driver)


@pytest.mark.proof
def test_lost_images_and_cached_values_come_back(driver: Driver) -> None:
    on("data1", "bash", "-c", f"{REDIS} set agent-api:kept yes")
    images = on("mon1", "bash", "-c", f"find {REGISTRY} -name link | sort")
    state_is_sent(driver)
    lose(driver, "mon1")
    driver.must("rebuild", lost="mon1")
    assert on("mon1", "bash", "-c", f"find {REGISTRY} -name link | sort") == images
    # An image that no app host has: it can only come from the registry.
    for host in ("app1", "app2"):
        on(host, "docker", "image", "prune", "--all", "--force")
    live = live_version(driver)
    driver.must("deploy", version="1.0.0" if live != "1.0.0" else "1.1.0")
    state_is_sent(driver)
    lose(driver, "data1")
    driver.must("rebuild", lost="data1")
    assert on("data1", "bash", "-c", f"{REDIS} get agent-api:kept").strip() == "yes"
    serves(driver)


@pytest.mark.proof
@pytest.mark.parametrize("host", ["app1", "app2", "backup1"])
def test_a_lost_host_is_made_anew(driver: Driver, host: str) -> None:
    before = live_version(driver)
    lose(driver, host)
    rebuilt = driver.must("rebuild", lost=host)
    serves(driver)
    assert live_version(driver) == before
    if host.startswith("app"):
        running = on(host, "docker", "ps", "--format", '{{.Label "platform.signalbox.version"}}').split()
        assert before in running
    else:
        assert not status(driver)["backups"]["problems"]
    record(f"Rebuild of {host}", {"seconds, whole command": f"{rebuilt.seconds:.0f}"})


@pytest.mark.proof
def test_what_a_killed_database_host_costs(driver: Driver) -> None:
    """pgbench writes until the host is killed at a random moment. What was lost is told by its newest row."""
    lost, ratios, wholes, fixed = [], [], [], []
    sql("create database bench", "postgres")
    on("data1", *PGBENCH, "-q", "-i", "-s", "20", "bench")
    driver.must("backup")
    for _ in range(LOSSES):
        on("data1", "bash", "-c", f"({' '.join(PGBENCH)} -n -c 4 -j 2 -R 300 -T 600 bench >/dev/null 2>&1 &)")
        time.sleep(random.uniform(20, 70))
        killed = time.time()
        lose(driver, "data1")
        # What a bare restore and recovery of the same backup take, beside the repository.
        bare = sum(map(float, _TOOK.findall(driver.must("drill", kind="latest").output)[0]))
        rebuilt = driver.must("rebuild", lost="data1")
        took = sum(map(float, _TOOK.findall(rebuilt.output)[0]))
        newest = float(sql("select extract(epoch from max(mtime)) from pgbench_history", "bench"))
        lost.append(killed - newest)
        ratios.append(took / bare)
        wholes.append(rebuilt.seconds)
        fixed.append(rebuilt.seconds - took)
        serves(driver)
    record(
        f"{LOSSES} times the database host killed under pgbench, then rebuild.yml",
        {
            "seconds of commits lost, each": ", ".join(f"{value:.1f}" for value in lost),
            "restore and recovery against the same beside the repository, median and worst": middle_and_worst(
                ratios, 2
            ),
            "whole command in seconds, median and worst": middle_and_worst(wholes),
            "of it provisioning, median and worst": middle_and_worst(fixed),
        },
    )
    sql("drop database bench with (force)", "postgres")
    assert max(lost) <= 60, lost
