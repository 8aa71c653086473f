"""The table of the playbook status: aligned, complete, never wider than asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _status as status
from ansible_collections.signalbox.platform.plugins.module_utils._progress import width

CHECKOUT = Path(__file__).resolve().parents[2]

APP: dict[str, Any] = {
    "app": "agent-api",
    "live": "blue",
    "version": "1.4.0",
    "digest": "sha256:0f1e2d3c4b5a69788796",
    "since": "2026-11-23T05:22:59.123Z",
    "mode": "open",
    "weights": {"blue": 90, "green": 10},
    "in_flight": 3,
    "streams": 2,
    "error_rate": 0.0012,
    "hosts": {
        "app2": {"blue": {"state": "running", "version": "1.4.0", "health": "healthy"}, "green": None},
        "app1": {"blue": {"state": "running", "version": "1.4.0"}, "green": "stopped"},
    },
    "last_releases": [
        {
            "time": "2026-11-23T05:22:59.123Z",
            "release": {"version": "1.4.0"},
            "kind": "deploy",
            "result": "committed",
            "duration_seconds": 72.4,
            "owner": "alice@laptop",
        },
        {
            "time": "2026-11-22T04:00:00.000Z",
            "release": {"version": "1.3.9-rc.1"},
            "kind": "deploy",
            "result": "failed",
            "duration_seconds": 9,
            "owner": "ci@runner",
            "failing_step": "health",
            "reason": "green is not healthy: " + "500 " * 40,
        },
    ],
    "lock": {
        "owner": "bob@ci",
        "kind": "deploy",
        "step": "bake",
        "acquired": "2026-11-23T06:00:00.000Z",
        "remaining_seconds": 74.2,
        "expired": False,
    },
}
BARE = {"app": "billing", "live": None}


def test_the_whole_table() -> None:
    lines = status.status_table([APP, BARE]).split("\n")
    assert lines[:3] == [
        "APP        LIVE  VERSION  DIGEST     SINCE             TRAFFIC %          IN FLIGHT  STREAMS  ERRORS",
        "agent-api  blue  1.4.0    0f1e2d3c4  2026-11-23 05:22  blue 90, green 10          3        2  0.12 %",
        "billing    none  -        -          -                 -                          -        -       -",
    ]
    assert lines[4:10] == [
        "agent-api",
        "  hosts     app1  blue running 1.4.0            green stopped",
        "            app2  blue running 1.4.0 (healthy)  green empty",
        "  releases  2026-11-23 05:22  1.4.0       deploy  committed  1:12  alice@laptop",
        "            2026-11-22 04:00  1.3.9-rc.1  deploy  failed     0:09  ci@runner",
        "              at health: green is not healthy: 500 500 500 500 500 500 500 500 500 500 500 500 500 …",
    ]
    assert lines[10] == "  lock      bob@ci: deploy, step bake, since 2026-11-23 06:00, 74 s left"
    assert lines[11:] == ["", "billing", "  lock      free"]


@pytest.mark.parametrize("columns", [72, 80, 100, 140])
def test_never_wider_than_asked(columns: int) -> None:
    long = {**APP, "app": "a-name-of-the-greatest-length-32", "problems": ["x " * 99]}
    long["version"] = "2026.11.23-build.1234+abcdef"
    for line in status.status_table([APP, long, BARE], columns).split("\n"):
        assert width(line) <= columns


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ({}, "-"),
        ({"weights": {"blue": 0, "green": 0}}, "-"),
        ({"weights": {"blue": 100, "green": 0}, "mode": "open"}, "blue 100"),
        ({"weights": {"blue": 10, "green": 90}, "mode": "read_only"}, "read only, green 90, blue 10"),
        ({"weights": {}, "mode": "closed"}, "closed"),
    ],
)
def test_traffic(app: dict[str, Any], expected: str) -> None:
    assert status.traffic(app) == expected


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        (None, "empty"),
        ("stopped", "stopped"),
        ({}, "empty"),
        ({"state": "running", "version": "1"}, "running 1"),
        ({"state": "running", "version": "1", "health": "healthy"}, "running 1 (healthy)"),
    ],
)
def test_slot_text(slot: Any, expected: str) -> None:
    assert status.slot_text(slot) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, "-"), (0, "0.00 %"), (0.0012, "0.12 %"), (1, "100.00 %")])
def test_rate(value: float | None, expected: str) -> None:
    assert status.rate(value) == expected


def test_a_dead_lock_and_what_a_run_left() -> None:
    left = {"kind": "deploy", "owner": "a@b", "step": "cutover", "status": "started", "release": {"version": "2"}}
    text = status.status_table([{**BARE, "lock": {**APP["lock"], "expired": True}, "interrupted": left}])
    assert "ran out; the next run takes it over" in text
    assert "  left      deploy of 2 by a@b stopped at cutover (started)" in text


def test_no_app() -> None:
    assert status.status_table([]) == "No app is known. Deploy one first."


@pytest.mark.parametrize(("value", "code"), [(json.dumps([APP]), 0), ('"text"', 2)])
def test_the_filter(tmp_path: Path, value: str, code: int) -> None:
    play = tmp_path / "play.yml"
    task = {"ansible.builtin.copy": {"dest": str(tmp_path / "out"), "mode": "0644"}}
    task["ansible.builtin.copy"]["content"] = "{{ apps | signalbox.platform.status_table(columns=90) }}"
    head = {"hosts": "localhost", "gather_facts": False, "vars": {"apps": json.loads(value)}, "tasks": [task]}
    play.write_text(json.dumps([head]))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            str(play),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert "needs a list of mappings" in done.stdout + done.stderr
    else:
        assert (tmp_path / "out").read_text().strip() == status.status_table([APP], 90).strip()
