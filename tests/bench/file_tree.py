#!/usr/bin/env python3
"""Figures only: one file_tree call against a loop of ansible.builtin.template, 20 files, on one host.

Usage: tests/bench/file_tree.py HOST     a container reachable with the docker connection plugin
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = 20
LINES = 40


def playbook(base: Path, task: dict) -> Path:
    play = {"hosts": "all", "gather_facts": False, "vars": {"value": "x"}, "tasks": [{"name": "Task", **task}]}
    path = base / "play.yml"
    path.write_text(json.dumps([play]))
    return path


def run(host: str, play: Path) -> float:
    command = ["ansible-playbook", "-i", f"{host},", "-c", "community.docker.docker", str(play)]
    command[0] = str(Path(sys.executable).parent / command[0])
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_PIPELINING": "true",
    }
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, cwd=play.parent)
    return time.monotonic() - started


def measure(host: str, base: Path) -> dict:
    names = [f"file{number}" for number in range(FILES)]
    for name in names:
        target = base / "templates/etc/bench" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("# {{ ansible_managed }}\n" + "setting = {{ value }}\n" * LINES)
    loop = {
        "ansible.builtin.template": {"src": "etc/bench/{{ item }}", "dest": "/etc/bench-{{ item }}"},
        "loop": names,
    }
    tree = {"signalbox.platform.file_tree": {"name": "bench"}}
    empty = {"ansible.builtin.ping": {}}
    figures = {}
    for name, task in (("one empty call", empty), ("template loop", loop), ("file_tree", tree)):
        play = playbook(base, task)
        figures[name] = {"first run": run(host, play), "unchanged": run(host, play)}
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name, times in measure(sys.argv[1], Path(directory)).items():
            print(f"{name:16}" + "".join(f"  {what} {seconds:6.2f} s" for what, seconds in times.items()))


if __name__ == "__main__":
    main()
