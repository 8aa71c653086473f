"""One platform for all end-to-end tests: lab hosts, provisioned, with several versions of the API to release.

The tests run in file order and leave the platform serving: each is a day in an operator's life, not a fresh world.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "lab"))

from driver import Driver  # noqa: E402

GOOD = ("1.0.0", "1.1.0", "1.2.0")
BROKEN = {
    "9.0.1-unhealthy": "CHAOS_NEVER_HEALTHY=true",
    "9.0.2-wrong-version": "CHAOS_VERSION=8.8.8",
    "9.0.3-slow": "CHAOS_LATENCY_MILLISECONDS=2500",
    "9.0.4-dies": "CHAOS_EXIT_AFTER_SECONDS=5",
    "9.0.5-errors": "CHAOS_ERROR_RATE=0.3",
}


# Ansible's own output names every task as it starts, by which tests find the moment to strike.
NAMES_TASKS = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proof: takes long; run by `make prove`")


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """A converged platform with a release serving, on a lab made anew unless SIGNALBOX_KEEP_LAB=1."""
    platform = Driver(settings=NAMES_TASKS)
    keep = os.environ.get("SIGNALBOX_KEEP_LAB") == "1"
    if not keep:
        platform.lab("down")
    platform.lab("up")
    platform.must("secrets")
    platform.must("site")
    platform.publish(dict.fromkeys(GOOD, "") | BROKEN)
    if live_version(platform) is None:
        platform.must("deploy", version="1.0.0")
    yield platform
    if not keep:
        platform.lab("down")


def status(platform: Driver) -> dict:
    """What status.yml says for machines."""
    report = Path(platform.environment.get("TMPDIR", "/tmp")) / "signalbox-status.json"
    shown = platform.must("status", status_file=str(report)).output
    # A table is lines, not one line with signs for them, in whatever way it is printed.
    assert "\\\\n" not in shown
    return json.loads(report.read_text())


def live_version(platform: Driver) -> str | None:
    apps = status(platform)["apps"]
    found = next((app for app in apps if app["app"] == "agent-api"), None)
    return found and found["version"]
