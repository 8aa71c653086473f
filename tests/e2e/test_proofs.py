"""What takes longer than a landing may: `make prove`. Each proof adds figures to the dated report in docs/proofs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest
from conftest import CHECKOUT, GOOD, NAMES_TASKS, live_version
from driver import DOMAIN, Driver
from proof_report import kept, record
from test_life import PROTOCOLS, eventually, no_failure, on, other_than

pytestmark = pytest.mark.proof

STREAMS = ("--streams", "20", "--websockets", "20", "--stream-seconds", "60")
REQUESTS = 200_000
CUTOVERS = 20
DEPLOYS = 5


def cut_over_under_load(driver: Driver, requests: int) -> dict[str, object]:
    """Cuts over back and forth, CUTOVERS times at least and until `requests` were answered; nothing may be lost."""
    older = live_version(driver)
    newer = other_than(older)
    driver.must("deploy", version=newer)
    cutovers = 0
    started = time.monotonic()
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64") as load:
        time.sleep(3)
        while cutovers < CUTOVERS or load.answers < requests:
            driver.must("rollback", version=(older, newer)[cutovers % 2])
            cutovers += 1
        report = load.stop()
    no_failure(report)
    assert report["requests"] >= requests
    assert cutovers >= CUTOVERS
    overlaps = sorted(switch["routing_overlap_ms"] for switch in report["switches"])
    middle = overlaps[len(overlaps) // 2]
    return {
        **kept(report),
        "cutovers": cutovers,
        "first new to last old answer, median and worst": f"{middle:.1f} ms, {overlaps[-1]:.1f} ms",
        "seconds": f"{time.monotonic() - started:.0f}",
    }


def platform_on(name: str) -> Driver:
    built = Driver([CHECKOUT / f"tests/e2e/topologies/{name}"], settings=NAMES_TASKS)
    built.lab("up")
    built.must("secrets")
    built.must("site")
    for version in GOOD:
        built.lab("api", version)
    return built


def test_two_app_hosts(driver: Driver) -> None:
    record("Cutovers under load: one edge, two app hosts", cut_over_under_load(driver, REQUESTS))


def test_full_deploys_under_load(driver: Driver) -> None:
    seconds = []
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", "--rate", "150") as load:
        time.sleep(3)
        for _ in range(DEPLOYS):
            seconds.append(driver.must("deploy", version=other_than(live_version(driver))).seconds)
        report = load.stop()
    no_failure(report)
    record(
        "Whole releases under load: one edge, two app hosts",
        {
            "releases": DEPLOYS,
            "seconds each, with streams of 60 s to drain": ", ".join(f"{value:.0f}" for value in seconds),
            **kept(report),
        },
    )


@pytest.fixture(scope="module")
def two_edges(driver: Driver) -> Driver:
    return platform_on("two_edges")


def test_two_edges(two_edges: Driver) -> None:
    record("Cutovers under load: two edges, two app hosts", cut_over_under_load(two_edges, REQUESTS))


def versions_served(platform: Driver) -> set[str]:
    """What each edge answers with when it is asked itself."""
    addresses = platform.addresses("edge")
    return {version_at(platform, address) for address in addresses}


def version_at(platform: Driver, edge: str) -> str:
    command = ["curl", "-fsS", "-m", "5", "--cacert", str(platform.authority()), "--resolve", f"{DOMAIN}:443:{edge}"]
    said = subprocess.run([*command, f"https://{DOMAIN}/health"], capture_output=True, text=True, check=True)
    return str(json.loads(said.stdout)["version"])


def nginx_stopped() -> Callable[[], object]:
    on("edge2", "systemctl", "stop", "nginx")
    return lambda: on("edge2", "systemctl", "start", "nginx")


def host_killed() -> Callable[[], object]:
    subprocess.run(["docker", "kill", "signalbox-edge2"], check=True, capture_output=True)
    return lambda: subprocess.run(["docker", "start", "signalbox-edge2"], check=True, capture_output=True)


@pytest.mark.parametrize("fail", [nginx_stopped, host_killed], ids=lambda fail: fail.__name__)
@pytest.mark.parametrize("task", ["Record the cutover before it happens", "Watch errors and latency at the edge"])
def test_an_edge_that_fails_in_the_cutover_takes_the_others_back(
    two_edges: Driver, task: str, fail: Callable[[], Callable[[], object]]
) -> None:
    """All edges or none: the healthy one serves the release that was live, and the other does when it is back."""
    before = live_version(two_edges)
    following = other_than(before)
    healthy = two_edges.addresses("edge")[0]
    with two_edges.load("--protocol", "https", "--connections", "8", "--rate", "50", targets=[healthy]) as load:
        process = two_edges.start("deploy", version=following, bake_seconds=10)
        assert process.stdout is not None
        mend: Callable[[], object] | None = None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if mend is None and line.startswith("TASK [") and task in line:
                mend = fail()
        assert mend is not None, "".join(lines[-40:])
        code = process.wait()
        assert code != 0, "".join(lines[-40:])
        assert version_at(two_edges, healthy) == before
        mend()
        eventually(lambda: len(versions_served(two_edges)) == 1)
        report = load.stop()
    no_failure(report)
    two_edges.must("deploy", version=following, bake_seconds=1)
    assert versions_served(two_edges) == {following}
    record(
        f"Two edges, one fails ({fail.__name__.replace('_', ' ')}) in: {task}",
        {"the run": "failed, traffic back on every edge", **kept(report), "a release afterwards": "on both"},
    )


def test_one_host() -> None:
    single = platform_on("one_host")
    single.must("deploy", version="1.0.0")
    record("Cutovers under load: everything on one host", cut_over_under_load(single, REQUESTS))
