"""The operator's life on lab hosts: provision, release under load, fail, be killed, restart, roll back, remove."""

from __future__ import annotations

import getpass
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CHECKOUT, live_version, status
from driver import DOMAIN, Driver, Run
from proof_report import kept, record

PROTOCOLS = ("--protocol", "http1", "--protocol", "https", "--protocol", "h2")
STREAMS = ("--streams", "20", "--websockets", "20", "--stream-seconds", "30")
SECOND = "second.lab.test"
CUTOVERS = 4  # `make prove` has twenty, with 200,000 requests and streams of 60 s


def other_than(version: str | None) -> str:
    return "1.1.0" if version != "1.1.0" else "1.2.0"


def on(host: str, *command: str) -> str:
    return subprocess.run(
        ["docker", "exec", f"signalbox-{host}", *command], capture_output=True, text=True, check=True
    ).stdout


def restart(host: str) -> None:
    """A host's reboot: all processes end, memory-only file systems are lost, systemd boots again."""
    subprocess.run(["docker", "restart", "--time", "20", f"signalbox-{host}"], check=True, capture_output=True)


def eventually(question: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if question():
                return
        except (subprocess.CalledProcessError, OSError):
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {question}"
        time.sleep(1)


def answers(driver: Driver, domain: str = DOMAIN, version: str = "") -> bool:
    """Whether an API answers through the edge, its dependencies well, and as the version that is named, if one is."""
    edge = driver.addresses("edge")[0]
    command = ["curl", "-fsS", "-m", "5", "--cacert", str(driver.authority())]
    command += ["--resolve", f"{domain}:443:{edge}", f"https://{domain}/health"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.returncode == 0 and (not version or json.loads(said.stdout)["version"] == version)


def no_failure(report: dict) -> None:
    # As text, for pytest shortens a list of them until nothing is told.
    assert report["failures"] == 0, json.dumps(report["failure_samples"][:10])
    assert report["replayed"] == 0, report
    assert report["streams_complete"] == report["streams_started"], report


# -- provisioning -------------------------------------------------------------------------------------------


def unchanged(result: Run, *hosts: str) -> bool:
    """Whether nothing changed, on the hosts that are named or on all."""
    recap = [line for line in result.output.splitlines() if "unreachable=" in line]
    recap = [line for line in recap if not hosts or line.split()[0] in hosts]
    return bool(recap) and all("changed=0 " in line and "failed=0 " in line for line in recap)


def test_second_site_changes_nothing(driver: Driver) -> None:
    result = driver.must("site")
    assert unchanged(result), result.last_screen


def test_check_mode_on_a_converged_platform_finds_nothing(driver: Driver) -> None:
    result = driver.must("site", "--check", "--diff")
    assert unchanged(result), result.last_screen


# -- releases under load ------------------------------------------------------------------------------------


def test_release_and_cutovers_under_load_lose_nothing(driver: Driver) -> None:
    older = live_version(driver)
    newer = other_than(older)
    with driver.load(*PROTOCOLS, *STREAMS, "--connections", "64", "--rate", "300") as load:
        time.sleep(3)
        driver.must("deploy", version=newer)
        for number in range(CUTOVERS):
            driver.must("rollback", version=(older, newer)[number % 2])
        report = load.stop()
    no_failure(report)
    assert len(report["switches"]) == CUTOVERS + 1, report["switches"]
    assert live_version(driver) == newer


@pytest.mark.proof
def test_the_load_generator_sees_what_a_reload_loses(driver: Driver) -> None:
    """The control: the same load against `nginx -s reload` must not come out clean."""
    edge = driver.edge_name()
    with driver.load("--protocol", "http1", "--connections", "64", "--post-ratio", "1") as load:
        time.sleep(2)
        for _ in range(40):
            on(edge, "nginx", "-s", "reload")
            time.sleep(0.5)
        report = load.stop()
    assert report["failures"] > 0, "40 reloads lost nothing: the generator would not see a loss"
    record(
        "The control: 40 reloads of nginx under 64 keep-alive connections of POST",
        {"requests sent": f"{report['requests']:,}", "failed or reset": f"{report['failures']:,}"},
    )


# -- gates ----------------------------------------------------------------------------------------------------


AT_LANDING_BROKEN = "9.0.4-dies"


@pytest.mark.parametrize(
    "version",
    [
        AT_LANDING_BROKEN,
        pytest.param("9.0.1-unhealthy", marks=pytest.mark.proof),
        pytest.param("9.0.2-wrong-version", marks=pytest.mark.proof),
        pytest.param("9.0.3-slow", marks=pytest.mark.proof),
    ],
)
def test_a_broken_release_stops_at_the_health_gate(driver: Driver, version: str) -> None:
    before = live_version(driver)
    with driver.load("--protocol", "https", "--connections", "8", "--rate", "50") as load:
        result = driver.run("deploy", version=version)
        report = load.stop()
    no_failure(report)
    assert result.code != 0
    assert "health" in result.last_screen.lower()
    assert live_version(driver) == before
    running = on("app1", "docker", "ps", "--format", '{{.Label "platform.signalbox.version"}}')
    assert version not in running
    if version != AT_LANDING_BROKEN:
        record(f"A broken release: {version}", {"refused after": f"{result.seconds:.0f} s", **kept(report)})


def test_a_breach_in_the_bake_window_moves_traffic_back(driver: Driver) -> None:
    before = live_version(driver)
    with driver.load("--protocol", "https", "--connections", "8", "--rate", "100", "--tolerate-errors") as load:
        time.sleep(2)
        result = driver.run("deploy", version="9.0.5-errors")
        load.stop()
    assert result.code != 0
    assert "requests failed" in result.last_screen
    assert live_version(driver) == before


def revision() -> str:
    """Which migration the database has."""
    query = "select version_num from alembic_version"
    return on("data1", "runuser", "-u", "postgres", "--", "psql", "-XAtd", "agent_api", "-c", query)


@pytest.mark.parametrize(
    ("unit", "service"),
    [("redis-server", "Redis"), pytest.param("postgresql@17-main", "PostgreSQL", marks=pytest.mark.proof)],
)
def test_a_release_stops_before_it_touches_anything_where_a_service_is_away(
    driver: Driver, unit: str, service: str
) -> None:
    before, migrated = live_version(driver), revision()
    on("data1", "systemctl", "stop", unit)
    try:
        result = driver.run("deploy", version=other_than(before), require_backup=False)
    finally:
        on("data1", "systemctl", "start", unit)
    assert result.code != 0
    said = " ".join(result.last_screen.split())
    assert re.search(f"{service} at 10.203.0.31 does not take agent.api.(blue|green)", said), result.last_screen
    eventually(lambda: answers(driver))
    assert (live_version(driver), revision()) == (before, migrated)
    assert "List what is pending" not in result.output


@pytest.mark.proof
def test_a_slot_that_still_streams_is_not_replaced_unless_asked(driver: Driver, tmp_path: Path) -> None:
    """A WebSocket that lasts longer than the app's spec says: the second release would cut it."""
    before = live_version(driver)
    following = other_than(before)
    short = (CHECKOUT / "tests/e2e/two_apps.yml").read_text().split("  second-api:")[0]
    apps = tmp_path / "apps.yml"
    apps.write_text(short.replace("{max_seconds: 300}", "{max_seconds: 10}\n    drain: {deadline_seconds: 15}"))
    here = ("-e", f"@{apps}")
    stream = (
        "--protocol",
        "https",
        "--connections",
        "2",
        "--rate",
        "10",
        "--websockets",
        "2",
        "--stream-seconds",
        "150",
    )
    with driver.load(*stream) as load:
        time.sleep(5)
        driver.must("deploy", *here, version=following, bake_seconds=1)
        refused = driver.run("deploy", *here, version=str(before), bake_seconds=1)
        assert refused.code != 0
        assert "-e cut_streams=true" in " ".join(refused.last_screen.split()), refused.last_screen
        assert live_version(driver) == following
        report = load.stop()
    no_failure(report)
    driver.must("rollback", version=str(before))
    with driver.load(*stream, "--tolerate-errors") as load:
        time.sleep(5)
        driver.must("deploy", *here, version=following, bake_seconds=1)
        driver.must("deploy", *here, version=str(before), bake_seconds=1, cut_streams=True)
        load.stop()
    assert live_version(driver) == before


# -- killed in the middle -------------------------------------------------------------------------------------

STEPS = (
    "Take the lease",
    "Bring every edge to the recorded state",
    "Resolve the image to its digest",
    "Prove that the slot can be started on this host",
    "List what is pending, in the new image",
    "Make a restore point",
    "Wait until the idle slot has no request in flight",
    "Start the release in the idle slot",
    "Tell the edge which key the app takes in the slot",
    "Gate the health of the idle slot",
    "Smoke-test the idle slot through the edge",
    "Record the cutover before it happens",
    "Move all traffic to the release",
    "Watch errors and latency at the edge",
    "Commit the release",
    "Wait until the old slot has no request in flight",
)
ROLLBACK_STEPS = (
    "Take the lease",
    "Record the cutover before it happens",
    "Move all traffic to the release",
    "Commit the release",
)


def kill_at(driver: Driver, task: str, delay: float = 0.3, playbook: str = "deploy", **extra: object) -> None:
    """Starts a run and kills the controller, its workers too, shortly after `task` began."""
    process = driver.start(playbook, **extra)
    assert process.stdout is not None
    seen = False
    for line in process.stdout:
        if line.startswith("TASK [") and task in line:
            seen = True
            time.sleep(delay)
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert seen, f"the run never came to {task!r}"


# While a container of the new image runs, at every landing, as a rollback after a kill in the cutover is; the others in
# `make prove`.
AT_LANDING = ("List what is pending, in the new image",)


@pytest.mark.parametrize(
    "task", [*AT_LANDING, *(pytest.param(step, marks=pytest.mark.proof) for step in STEPS if step not in AT_LANDING)]
)
def test_a_killed_controller_is_mended_by_the_next_run(driver: Driver, task: str) -> None:
    version = other_than(live_version(driver))
    with driver.load("--protocol", "https", "--connections", "8", "--rate", "50") as load:
        kill_at(driver, task, version=version)
        assert answers(driver)
        mended = driver.must("deploy", version=version, bake_seconds=1)
        report = load.stop()
    no_failure(report)
    assert live_version(driver) == version
    if task not in AT_LANDING:
        record(f"deploy.yml killed in: {task}", {"the next run": f"released, {mended.seconds:.0f} s", **kept(report)})


def test_rollback_mends_a_killed_cutover(driver: Driver) -> None:
    before = live_version(driver)
    kill_at(driver, "Watch errors and latency at the edge", delay=1, version=other_than(before))
    driver.must("rollback")
    assert answers(driver)
    assert live_version(driver) == before
    assert status(driver)["apps"][0]["lock"] is None


@pytest.mark.proof
@pytest.mark.parametrize("task", ROLLBACK_STEPS)
def test_a_killed_rollback_is_finished_by_the_next(driver: Driver, task: str) -> None:
    before = live_version(driver)
    there = other_than(before)
    driver.must("deploy", version=there, bake_seconds=1)
    with driver.load("--protocol", "https", "--connections", "8", "--rate", "50") as load:
        kill_at(driver, task, playbook="rollback", version=before)
        assert answers(driver)
        mended = driver.must("rollback", version=before)
        report = load.stop()
    no_failure(report)
    assert live_version(driver) == before
    assert answers(driver, version=str(before))
    record(f"rollback.yml killed in: {task}", {"the next run": f"{mended.seconds:.0f} s", **kept(report)})


def test_two_deploys_at_once(driver: Driver) -> None:
    version = other_than(live_version(driver))
    first = driver.start("deploy", version=version)
    second = driver.run("deploy", version=version)
    output, _ = first.communicate(timeout=600)
    codes = sorted((first.returncode, second.code))
    assert codes[0] == 0, output
    if codes[1] != 0:
        refused = " ".join((second.output if second.code else output).split())
        owner = f"{getpass.getuser()}@{socket.gethostname()}"
        assert f"agent-api is locked by {owner}" in refused, refused[-2000:]


# -- restarts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["edge1", "app1", "data1"])
def test_a_rebooted_host_comes_back_by_itself(driver: Driver, host: str) -> None:
    before = live_version(driver)
    restart(host)
    eventually(lambda: answers(driver))
    assert live_version(driver) == before


@pytest.mark.parametrize(
    ("host", "unit"), [("data1", "postgresql@17-main"), ("data1", "redis-server"), ("edge1", "nginx")]
)
def test_a_killed_service_comes_back_by_itself(driver: Driver, host: str, unit: str) -> None:
    on(host, "systemctl", "kill", "--signal", "SIGKILL", unit)
    eventually(lambda: answers(driver))


# -- rollback -------------------------------------------------------------------------------------------------


def test_rollback_to_an_unknown_release_changes_nothing(driver: Driver) -> None:
    before = status(driver)["apps"]
    result = driver.run("rollback", version="0.0.99")
    assert result.code != 0
    assert "0.0.99" in result.last_screen
    assert status(driver)["apps"][0]["version"] == before[0]["version"]


def test_rollback_from_the_registry_when_the_slot_is_gone(driver: Driver) -> None:
    driver.must("deploy", version=other_than(live_version(driver)), bake_seconds=1)
    live = live_version(driver)
    idle = status(driver)["apps"][0]["idle"]
    for host in ("app1", "app2"):
        on(host, "docker", "rm", "--force", f"agent-api-{idle}")
    driver.must("rollback")
    assert answers(driver)
    assert live_version(driver) != live


# -- removal --------------------------------------------------------------------------------------------------


def test_two_apps_side_by_side_and_one_is_removed(driver: Driver, tmp_path: Path) -> None:
    second = tmp_path / "apps.yml"
    second.write_text((CHECKOUT / "tests/e2e/two_apps.yml").read_text())
    both = ("-e", f"@{second}")
    driver.must("secrets", *both)
    driver.must("site", *both)
    driver.must("deploy", *both, app="second-api", version="1.1.0", bake_seconds=1)
    assert answers(driver)
    assert answers(driver, SECOND, "1.1.0")
    driver.must("deploy", *both, app="second-api", version="1.2.0", bake_seconds=1)
    assert answers(driver, SECOND, "1.2.0")
    first = live_version(driver)
    driver.must("rollback", *both, app="second-api")
    assert answers(driver, SECOND, "1.1.0")
    assert live_version(driver) == first
    driver.must("remove_app", *both, app="second-api", drop_database=True)
    assert answers(driver)
    assert not answers(driver, SECOND)
    assert "second-api" not in on("app1", "docker", "ps", "--all", "--format", "{{.Names}}")
    known = "select datname from pg_database union all select rolname from pg_roles"
    assert "second_api" not in on("data1", "runuser", "-u", "postgres", "--", "psql", "-XAtc", known)
    assert "second-api" not in on("data1", "cat", "/etc/redis/users.acl")
    # What it released stays on record, under a dated name.
    left = on("edge1", "ls", "/var/lib/signalbox/releases/second-api").split()
    assert left
    assert all(name == "guard" or name.startswith("ledger-") for name in left), left
    assert "second-api" not in on("app1", "nft", "list", "ruleset")
    assert on("edge1", "find", "/etc/signalbox/tls", "-name", "second-api*") == ""
    assert SECOND not in on("edge1", "nginx", "-T")
    assert on("edge1", "find", "/run/signalbox/edge/keys", "/var/lib/signalbox/edge/keys", "-name", "second*") == ""
    assert [app["app"] for app in status(driver)["apps"]] == ["agent-api"]
