#!/usr/bin/env python3
"""Measures on the lab what an operator waits for, with several numbers of app hosts; asserts nothing.

run.py [--hosts 1,2,4,8] [--rounds N] [--without-plane] [--write]

Takes the lab down and makes it anew for each number of hosts: one edge, N app hosts, one host for PostgreSQL and Redis,
one with the Vault, one with the registry. file_tree.py measures one module by itself.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = CHECKOUT / "tests/bench"
WORK = CHECKOUT / ".cache/bench"
REPORT = CHECKOUT / "docs/benchmarks.md"
sys.path.insert(0, str(CHECKOUT / "lab"))

import images  # noqa: E402
import openbao  # noqa: E402
from driver import DOMAIN, Driver, Run  # noqa: E402

APP = "agent-api"
VERSIONS = ("1.0.0", "1.1.0")
NETWORK = ipaddress.ip_network("10.203.0.0/24")
PREFIX = str(NETWORK.network_address).rsplit(".", 1)[0] + "."
EVERYTHING = "slots,clients,registry,hosts,vault"
LOAD = ("--protocol", "http1", "--protocol", "https", "--protocol", "h2", "--connections", "32", "--rate", "200")
PLANE = re.compile(
    r"^(single|wrk|h2load)\s+(\w+)\s+plain\s+([\d.]+)\s+traffic plane\s+([\d.]+)\s+ratio\s+([\d.]+)", re.M
)
BARE = "the machine was otherwise idle" if os.getloadavg()[0] < 0.5 else f"load before it {os.getloadavg()[0]:.1f}"


@dataclass(frozen=True)
class Measured:
    """A run with the tasks that it ran and the remote calls that it made."""

    run: Run
    trace: Sequence[dict[str, Any]]
    calls: Counter[str]

    def slowest(self, task: str, value: Callable[[dict[str, Any]], float]) -> float:
        """The slowest host's value of a task, in seconds; 0 where the task did not run."""
        return max((value(line) for line in self.trace if line["task"].endswith(task)), default=0.0)


@dataclass
class Bench:
    """Figures of one number of app hosts."""

    count: int
    rounds: int
    figures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = WORK / str(self.count)
        hosts = self.folder / "inventory"  # of its own: Ansible reads every file of an inventory's directory
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.yml").write_text(json.dumps(inventory(self.count)))
        link = hosts / "group_vars"
        if not link.is_symlink():
            link.symlink_to(CHECKOUT / "inventories/lab/group_vars")
        self.driver = Driver(
            [hosts],
            {
                "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "bench_trace",
                "ANSIBLE_SSH_EXECUTABLE": str(HERE / "ssh_count"),
                "SIGNALBOX_BENCH_NETWORK": PREFIX,
                "SIGNALBOX_BENCH_TRACE": str(self.folder / "trace"),
                "SIGNALBOX_BENCH_CALLS": str(self.folder / "calls"),
            },
        )

    def measure(self, playbook: str, **extra: object) -> Measured:
        trace, calls = self.folder / "trace", self.folder / "calls"
        trace.write_text("")
        calls.write_text("")
        run = self.driver.must(playbook, **extra)
        lines = [json.loads(line) for line in trace.read_text().splitlines()]
        return Measured(run, lines, Counter(calls.read_text().split()))

    def all(self) -> None:
        for step in (self.fresh, self.again, self.deploys, self.rollbacks, self.under_load, self.secrets, self.reboot):
            say(f"{self.count} app hosts: {step.__name__}")
            step()

    def fresh(self) -> None:
        self.driver.lab("down")
        started = time.monotonic()
        self.driver.lab("up")
        self.measure("secrets")
        site = self.measure("site")
        self.driver.lab("api", VERSIONS[0])
        self.measure("deploy", version=VERSIONS[0], bake_seconds=0)
        self.figures["fresh lab to serving API, bake apart"] = f"{time.monotonic() - started:.0f} s"
        self.figures["- of it site.yml"] = f"{site.run.seconds:.0f} s"
        self.driver.lab("api", VERSIONS[1])

    def again(self) -> None:
        runs = [self.measure("site") for _ in range(self.rounds)]
        calls = runs[-1].calls
        self.figures["second site.yml"] = median(runs)
        self.figures["- remote calls, busiest host and all"] = f"{max(calls.values())} and {calls.total()}"

    def deploys(self) -> None:
        runs = [self.measure("deploy", version=VERSIONS[(number + 1) % 2]) for number in range(self.rounds)]
        parts: dict[str, list[float]] = {}
        for run in runs:
            for name, seconds in deploy_parts(run).items():
                parts.setdefault(name, []).append(seconds)
        self.figures["deploy, image at the registry"] = median(runs)
        for name, seconds in parts.items():
            self.figures[f"- {name}"] = f"{statistics.median(seconds):.1f} s"
        self.figures["- remote calls, all hosts"] = str(runs[-1].calls.total())
        switched = [
            line["switched_milliseconds"]
            for run in runs
            for line in run.trace
            if line["task"].endswith("Move all traffic to the release")
        ]
        self.figures["edge switch, as the edge confirms it"] = spread(switched, "ms")

    def rollback_runs(self) -> list[Measured]:
        here = VERSIONS[self.rounds % 2]
        there = VERSIONS[(self.rounds + 1) % 2]
        return [self.measure("rollback", version=(there, here)[number % 2]) for number in range(2 * self.rounds)]

    def rollbacks(self) -> None:
        runs = self.rollback_runs()
        self.figures["rollback to the warm slot, quiet"] = median(runs)
        self.figures["- remote calls of a rollback, all hosts"] = str(runs[-1].calls.total())

    def under_load(self) -> None:
        with self.driver.load(*LOAD, "--streams", "10", "--stream-seconds", "60") as load:
            time.sleep(3)
            runs = self.rollback_runs()
            report = load.stop()
        overlaps = [switch["routing_overlap_ms"] for switch in report["switches"]]
        self.figures["rollback to the warm slot, 200 requests/s"] = median(runs)
        self.figures["- first request to the new, last answer of the old"] = spread(overlaps, "ms") if overlaps else "-"
        lost = report["failures"] + report["replayed"]
        self.figures["- requests sent, lost or replayed"] = f"{report['requests']:,}, {lost}"

    def vault_requests(self) -> int:
        """How many requests Vault has recorded; the provisioner's and the hosts' alike."""
        count = 'cat /var/log/openbao/audit.log* | grep -ac \'"type":"request"\''
        return int(inside("vault1", count))

    def secrets(self) -> None:
        before = self.vault_requests()
        here = VERSIONS[self.rounds % 2]
        self.driver.must("deploy", version=next(one for one in VERSIONS if one != here), bake_seconds=0)
        self.figures["requests to Vault in a release"] = str(self.vault_requests() - before)
        self.driver.must("revoke", leaked="clients/previous")  # or the clients' keys are not due for a rotation
        with self.driver.load(*LOAD) as load:
            time.sleep(3)
            rotation = self.driver.must("rotate", credentials=EVERYTHING, both_slots=True, bake_seconds=0)
            report = load.stop()
        self.figures["every credential rotated, 200 requests/s"] = f"{rotation.seconds:.0f} s"
        lost = report["failures"] + report["replayed"]
        self.figures["- requests sent, lost or replayed in it"] = f"{report['requests']:,}, {lost}"

    def reboot(self) -> None:
        """An app host, until its slot that serves is healthy again."""
        port = inside("app1", "docker ps --format '{{.Ports}}' | grep -o ':54[0-9]*' | tr -d : | sort -u").split()
        started = time.monotonic()
        subprocess.run(["docker", "restart", "signalbox-app1"], check=True, capture_output=True)
        ask = "curl -fsS -m 2 http://127.0.0.1:{}/health >/dev/null"
        while not all(inside("app1", f"{ask.format(one)} && echo up || true").strip() for one in port):
            time.sleep(0.1)
            if time.monotonic() - started > 120:
                raise SystemExit("app1 did not serve within 120 s of its restart")
        self.figures["reboot of an app host to serving"] = f"{time.monotonic() - started:.1f} s"


def inside(host: str, script: str) -> str:
    """What a shell on a lab host prints."""
    done = subprocess.run(
        ["docker", "exec", f"signalbox-{host}", "sh", "-c", script], check=True, capture_output=True, text=True
    )
    return done.stdout


def inventory(app_hosts: int) -> dict[str, Any]:
    """A lab inventory with this many app hosts."""

    def address(last: int) -> dict[str, str]:
        return {"signalbox_address": str(NETWORK[last])}

    published = {"lab_published_ports": ["5000:5000"], "lab_registry_address": "127.0.0.1:5000"}
    groups = {
        "edge": {"edge1": address(11)},
        "app": {f"app{number}": address(20 + number) for number in range(1, app_hosts + 1)},
        "postgresql": {"data1": address(31)},
        "redis": {"data1": {}},
        "vault": {"vault1": {**address(51), "vault_archive": str(openbao.ARCHIVE)}},
        "registry": {"mon1": {**address(61), **published}},
    }
    return {"all": {"children": {name: {"hosts": hosts} for name, hosts in groups.items()}}}


def deploy_parts(run: Measured) -> dict[str, float]:
    """What a release waited for, on its slowest host, and what is left: the cost of the machinery itself."""

    def step(name: str) -> Callable[[dict[str, Any]], float]:
        return lambda line: (line.get("milliseconds") or {}).get(name, 0) / 1000

    def seconds(line: dict[str, Any]) -> float:
        return line.get("seconds") or 0.0

    start = "Start the release in the idle slot"
    parts = {
        "image pull": run.slowest(start, step("image")),
        "container start": run.slowest(start, step("start")),
        "health gate, settling included": run.slowest("Gate the health of the idle slot", seconds),
        "bake": run.slowest("Watch errors and latency at the edge", seconds),
    }
    parts["overhead: the whole less these"] = run.run.seconds - sum(parts.values())
    migration = run.slowest("Migrate the database once, in the new image, as the owner role", seconds)
    return {**parts, "- of it the migration's container": migration}


def median(runs: Sequence[Measured]) -> str:
    return spread([measured.run.seconds for measured in runs], "s")


def spread(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.1f} {unit}, worst {max(values):.1f}"


def plane(driver: Driver) -> list[str]:
    """What the traffic plane adds, against plain proxy_pass, in one run on the edge."""
    host = f"signalbox-{driver.edge_name()}"
    install = "apt-get -qq update && apt-get -qq install --no-install-recommends wrk nghttp2-client"
    subprocess.run(["docker", "exec", host, "sh", "-c", install], check=True, capture_output=True)
    command = [sys.executable, str(HERE / "traffic_plane.py"), host, "--app", APP, "--domain", DOMAIN]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(text, flush=True)
    programs = {
        "single": "one connection (wrk)",
        "wrk": "32 connections, both cores busy (wrk)",
        "h2load": "HTTP/2 (h2load)",
    }
    names = {"rate": "requests/s", "cpu_us": "CPU microseconds a request", "p50": "p50 ms", "p99": "p99 ms"}
    return [
        f"| {programs[program]}: {names.get(figure, figure)} | {plain} | {ours} | {ratio} |"
        for program, figure, plain, ours, ratio in PLANE.findall(text)
    ]


def say(text: str) -> None:
    print(f"bench {time.strftime('%H:%M:%S')}  {text}", flush=True)


def report(benches: Sequence[Bench], added: Sequence[str]) -> str:
    names = list(dict.fromkeys(name for bench in benches for name in bench.figures))
    heads = [f"{bench.count} app host{'s' if bench.count > 1 else ''}" for bench in benches]
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    machine = f"{os.cpu_count()} cores ({cpu()}), {platform.machine()}, Linux {platform.release()}"
    lines = [
        "# Benchmarks",
        "",
        f"`make bench` of {today} on {machine}; {BARE}.",
        "Control node, load generator and all hosts, which are containers, share these cores. Beside the app hosts",
        "there are one edge, one host with PostgreSQL and Redis, one with the Vault and one with the registry.",
        "A figure is the median and the worst of the runs; nothing is asserted on it.",
        "",
        f"| what | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
        *(f"| {name} | {' | '.join(bench.figures.get(name, '') for bench in benches)} |" for name in names),
        "",
    ]
    if added:
        lines += ["## The traffic plane against plain proxy_pass", "", "Turn by turn in one run, on the edge.", ""]
        lines += ["| what | plain | traffic plane | ratio |", "|---|---|---|---|", *added, ""]
    return "\n".join(lines)


def cpu() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.processor() or "unknown"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", default="1,2,4,8", help="numbers of app hosts")
    parser.add_argument(
        "--rounds", type=int, default=3, help="site.yml, deploys and half the rollbacks to take the median of"
    )
    parser.add_argument("--without-plane", action="store_true", help="leave the traffic plane's own cost out")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md too")
    options = parser.parse_args(arguments)
    images.ensure_host()
    for version in VERSIONS:
        images.ensure_api(version)
    benches, added = [], []
    for count in (int(text) for text in options.hosts.split(",")):
        bench = Bench(count, options.rounds)
        bench.all()
        benches.append(bench)
        if not added and not options.without_plane:
            say("the traffic plane against plain proxy_pass")
            added = plane(bench.driver)
        print(report(benches, added), flush=True)
    if options.write:
        REPORT.write_text(report(benches, added))
    benches[-1].driver.lab("down")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
