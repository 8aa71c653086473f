"""What takes longer than a landing may: `make prove`. Each proof adds figures to the dated report in docs/proofs."""

from __future__ import annotations

import time

import pytest
from conftest import CHECKOUT, GOOD, live_version
from driver import Driver
from proof_report import record
from test_life import PROTOCOLS, no_failure, other_than

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
        "requests sent": f"{report['requests']:,}",
        "failed, reset or replayed": report["failures"] + report["replayed"],
        "streams kept (SSE and WebSocket, 60 s)": f"{report['streams_complete']} of {report['streams_started']}",
        "cutovers": cutovers,
        "first new to last old answer, median and worst": f"{middle:.1f} ms, {overlaps[-1]:.1f} ms",
        "seconds": f"{time.monotonic() - started:.0f}",
    }


def platform_on(name: str) -> Driver:
    built = Driver([CHECKOUT / f"tests/e2e/topologies/{name}"])
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
            "requests sent": f"{report['requests']:,}",
            "failed, reset or replayed": report["failures"] + report["replayed"],
            "streams kept": f"{report['streams_complete']} of {report['streams_started']}",
        },
    )


def test_two_edges(driver: Driver) -> None:
    record("Cutovers under load: two edges, two app hosts", cut_over_under_load(platform_on("two_edges"), REQUESTS))


def test_one_host() -> None:
    single = platform_on("one_host")
    single.must("deploy", version="1.0.0")
    record("Cutovers under load: everything on one host", cut_over_under_load(single, REQUESTS))
