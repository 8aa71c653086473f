#!/usr/bin/env python3
"""Figures only: backup and restore of a large database on the lab's hosts, against the bare tools, turn by turn.

backup.py [--gigabytes 10] [--rounds 3] [--write]

Wants the lab of inventories/lab, converged (`make lab`, site.yml). It fills a database `bench` on data1, and removes
it. Rates are bytes of the database per second; CPU seconds and bytes sent are those of the database host's container.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPORT = Path(__file__).resolve().parents[2] / "docs/benchmarks-backup.md"
PROGRAM = "/usr/local/lib/signalbox/backup"
BINARIES = "/usr/lib/postgresql/17/bin"
ASIDE = "/var/lib/postgresql/bench-aside"
MIB = 1 << 20
# Nanoseconds in the first version of cgroups, microseconds in the second.
CPU = ("/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat")
# What recovery wants at least as high as the primary has it.
BARE = ["config_file=/dev/null", "unix_socket_directories=/tmp", "listen_addresses=", "max_connections=1000"]
BARE += ["max_worker_processes=64", "max_wal_senders=50", "max_locks_per_transaction=256"]
# pgbench's rows of one unit of scale, with their index.
SCALE_BYTES = 15.7e6
LOAD = f"{BINARIES}/pgbench -n -c 4 -j 2 -R 300 -T {{seconds}} bench"


def on(host: str, command: str, stdin: str = "") -> str:
    line = ["docker", "exec", "-i", f"signalbox-{host}", "bash", "-c", command]
    done = subprocess.run(line, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{host}: {command}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def as_postgres(host: str, command: str) -> str:
    return on(host, f"cd / && runuser -u postgres -- {command}")


def sql(statement: str, database: str = "postgres") -> str:
    return on(
        "data1", f"cd / && runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d {database} -f -", statement
    ).strip()


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    sent_bytes: int

    def row(self, name: str, size: int) -> str:
        rate, sent = size / self.seconds / MIB, self.sent_bytes / MIB
        return f"| {name} | {self.seconds:.1f} | {rate:.0f} | {self.cpu_seconds:.1f} | {sent:.0f} |"


def counters() -> tuple[float, int]:
    """CPU seconds and bytes sent by the database host so far."""
    cpu = on("data1", f"cat {CPU[0]} 2>/dev/null || awk '/^usage_usec/ {{print $2 \"000\"}}' {CPU[1]}")
    sent = on("data1", "cat /sys/class/net/eth0/statistics/tx_bytes")
    return int(cpu) / 1e9, int(sent)


def measured(step: Callable[[], object]) -> Cost:
    cpu, sent = counters()
    began = time.monotonic()
    step()
    seconds = time.monotonic() - began
    after_cpu, after_sent = counters()
    return Cost(seconds, after_cpu - cpu, after_sent - sent)


def backups(rounds: int) -> dict[str, Cost]:
    """The median round of each way, by its time."""
    ways: dict[str, Callable[[], object]] = {
        "`backup --type full`": lambda: as_postgres("backup1", f"python3 {PROGRAM} backup --type full"),
        "bare `pgbackrest backup --type=full`": lambda: as_postgres(
            "backup1", "pgbackrest --stanza=main --type=full backup"
        ),
        "`pg_basebackup`, to the database host's own disk": base_backup,
    }
    taken: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            say(name)
            taken[name].append(measured(way))
    return {name: middle(costs) for name, costs in taken.items()}


def base_backup() -> None:
    on("data1", f"rm -rf {ASIDE}")
    as_postgres("data1", f"{BINARIES}/pg_basebackup --checkpoint=fast --wal-method=none --no-manifest -D {ASIDE}")
    on("data1", f"rm -rf {ASIDE}")


def restores(rounds: int) -> dict[str, Cost]:
    ways: dict[str, Callable[[], object]] = {
        "`restore`, in place, serving again": restore,
        "bare `pgbackrest restore`, and recovery": bare_restore,
    }
    taken: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            say(name)
            taken[name].append(measured(way))
            on("data1", f"echo {{}} | python3 {PROGRAM} forget")
            as_postgres("backup1", f"python3 {PROGRAM} backup --type incr")
    return {name: middle(costs) for name, costs in taken.items()}


def restore() -> None:
    on("data1", f"python3 {PROGRAM} restore", json.dumps({"kind": "latest"}))


def bare_restore() -> None:
    """Into another directory, with a server that archives nothing."""
    options = f"--pg1-path={ASIDE} --archive-mode=off --process-max=2"
    server = "-o '" + " ".join(f"-c {setting}" for setting in BARE) + "'"
    on("data1", f"rm -rf {ASIDE} && install -d -o postgres -m 0700 {ASIDE}")
    as_postgres("data1", f"pgbackrest --stanza=main {options} restore")
    as_postgres("data1", f"{BINARIES}/pg_ctl -D {ASIDE} -w -t 3600 -l /tmp/bench-aside.log {server} start")
    as_postgres("data1", f"{BINARIES}/pg_ctl -D {ASIDE} -m immediate stop")
    on("data1", f"rm -rf {ASIDE}")


def latencies(rounds: int, seconds: int) -> dict[str, float]:
    """Mean milliseconds of pgbench's transactions at 300 a second, the median of the rounds."""
    found: dict[str, list[float]] = {
        "without archiving": [],
        "with archiving": [],
        "with archiving, in a full backup": [],
    }
    for _ in range(rounds):
        for name, values in found.items():
            say(f"latency {name}")
            if name == "without archiving":
                sql("alter system set archive_command = '/bin/true'")
            else:
                sql("alter system reset archive_command")
            sql("select pg_reload_conf()")
            backup = None
            if name.endswith("backup"):
                line = [
                    "docker",
                    "exec",
                    "signalbox-backup1",
                    "runuser",
                    "-u",
                    "postgres",
                    "--",
                    "python3",
                    PROGRAM,
                    "backup",
                    "--type",
                    "full",
                ]
                backup = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(2)
            said = as_postgres("data1", LOAD.format(seconds=seconds))
            values.append(float(re.findall(r"latency average = ([0-9.]+) ms", said)[0]))
            if backup:
                backup.wait()
    sql("alter system reset archive_command")
    sql("select pg_reload_conf()")
    return {name: statistics.median(values) for name, values in found.items()}


def middle(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=60, help="length of each latency measurement")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-backup.md too")
    options = parser.parse_args(arguments)
    scale = max(1, round(options.gigabytes * 1e9 / SCALE_BYTES))
    say(f"pgbench -i -s {scale}")
    sql("drop database if exists bench with (force)")
    sql("create database bench")
    as_postgres("data1", f"{BINARIES}/pgbench -q -i -s {scale} bench")
    size = int(sql("select sum(pg_database_size(oid)) from pg_database"))
    delays = latencies(options.rounds, options.seconds)
    taken = backups(options.rounds)
    copied = measured(lambda: on("backup1", f"echo {{}} | python3 {PROGRAM} copy"))
    back = restores(options.rounds)
    kept = int(on("backup1", "du -sb /var/lib/pgbackrest").split()[0])
    sql("drop database bench with (force)")
    text = report(size, kept, delays, taken, back, copied)
    print(text)
    if options.write:
        REPORT.write_text(text)
    return 0


HEAD = """\
| way | seconds | MiB/s | CPU seconds | MiB sent |
|---|---|---|---|---|
"""
REPORT_TEXT = """\
# Benchmarks of backup and restore

`tests/bench/backup.py` of {today} on {machine}: a cluster of {size:.1f} GB of pgbench's rows, which
compress well; the repository holds {kept:.1f} GB with all backups of the run. Both hosts are containers on these cores
and one disk. Medians, turn by turn; nothing is asserted on them. CPU seconds and bytes sent are the database host's.

## Backup

{backups}
A copy of the repository, most of which was new: {copied:.1f} s.

## Restore

{restores}
## What archiving and backups add

pgbench, 4 clients, 300 transactions a second.

| | mean latency, ms | |
|---|---|---|
{delays}"""


def report(
    size: int, kept: int, delays: dict[str, float], taken: dict[str, Cost], back: dict[str, Cost], copied: Cost
) -> str:
    base = delays["without archiving"]
    more = {name: f"{value:.2f} | {(value / base - 1) * 100:+.1f} %" for name, value in delays.items()}
    return REPORT_TEXT.format(
        today=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        machine=f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        size=size / 1e9,
        kept=kept / 1e9,
        backups=HEAD + "".join(cost.row(name, size) + "\n" for name, cost in taken.items()),
        copied=copied.seconds,
        restores=HEAD + "".join(cost.row(name, size) + "\n" for name, cost in back.items()),
        delays="".join(f"| {name} | {value} |\n" for name, value in more.items()),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
