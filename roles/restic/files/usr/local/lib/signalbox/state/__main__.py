# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of hosts, kept on the backup host.

python3 state backup            a snapshot of this host's state
python3 state restore [MOMENT]  what the machine before this one had, before services are there
python3 state restore-services [MOMENT]   and what services read
python3 state go-on             without what it had
python3 state prepare|care|drill|status   on the backup host

Answers with JSON; 1 when something is wrong, with the reason on standard error.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import client
import server
from kept import RECORDS, Problem, Repository, credential

CONFIGURATION = Path("/etc/signalbox/state.json")
ON_CLIENTS = ("backup", "restore", "restore-services", "go-on")
ON_THE_SERVER = ("prepare", "care", "drill", "status")
CLIENT_CREDENTIAL = "signalbox-state"
SERVER_CREDENTIAL = "signalbox-state-passwords"


def main(operation: str, moment: str = "") -> int:
    try:
        settings = json.loads(CONFIGURATION.read_text())
        answer = _run(operation, settings, moment)
        _metrics(settings, operation, answer)
    except Problem as problem:
        print(f"state: {problem}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    for finding in answer.get("findings", []):
        print(f"state: {finding}", file=sys.stderr)
    return 1 if answer.get("findings") else 0


def _run(operation: str, settings: dict[str, Any], moment: str) -> dict[str, Any]:
    if operation in ON_CLIENTS:
        # One at a time: nothing is sent of a state that is only half back.
        lock = RECORDS / "lock"
        RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
        fcntl.flock(os.open(lock, os.O_CREAT | os.O_CLOEXEC | os.O_RDWR, 0o600), fcntl.LOCK_EX)
        mine = settings["client"]
        repository = Repository(mine["repository"], credential(CLIENT_CREDENTIAL), mine["host"], mine["authority"])
        items = client.items_of(mine["items"])
        if operation == "go-on":
            return client.go_on(items)
        if operation == "backup":
            return client.take(repository, mine["host"], items, [Path(path) for path in mine["watched"]])
        before = _seconds(moment) if moment else float("inf")
        return client.put_back(repository, mine["host"], items, operation == "restore-services", before)
    here = settings["server"]
    directory = Path(here["directory"])
    if operation == "status":
        return server.status(directory, here["clients"], here["oldest_seconds"], RECORDS / "care.json")
    passwords = json.loads(credential(SERVER_CREDENTIAL))
    if operation == "prepare":
        return server.prepare(directory, {host: passwords[host] for host in here["clients"]})
    if operation == "care":
        return server.care(directory, passwords, here["keep_days"], RECORDS / "care.json")
    return server.drill(directory, passwords, Path(here["scratch"]))


def _seconds(moment: str) -> float:
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise Problem(f"{moment} is no moment: give one such as 2026-11-23T14:05:00+00:00") from None
    if found.tzinfo is None:
        raise Problem(f"{moment} has no time zone: give one such as 2026-11-23T14:05:00+00:00")
    return found.timestamp()


def _metrics(settings: dict[str, Any], operation: str, answer: dict[str, Any]) -> None:
    """For the node exporter's textfile collector."""
    if operation not in ("backup", "care"):
        return
    name = {"backup": "state_backup", "care": "state_care"}[operation]
    numbers = {key: value for key, value in answer.items() if isinstance(value, (int, float))}
    path = Path(settings["metrics"]) / f"signalbox_{name}.prom"
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(f"signalbox_{name}_{key} {value!r}\n" for key, value in sorted(numbers.items())))
    fresh.chmod(0o644)
    os.replace(fresh, path)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in (*ON_CLIENTS, *ON_THE_SERVER):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
