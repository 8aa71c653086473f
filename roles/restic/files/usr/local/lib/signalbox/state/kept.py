# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's repository of restic, at the server or on its disk, and where this host's own secrets are read."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RECORDS = Path("/var/lib/signalbox/state")
CREDENTIALS = Path("/etc/credstore.encrypted")
# Exit codes of restic (its manual, Scripting, Exit codes).
MISSING = 10
WRONG_PASSWORD = 12
UNRESTORED = "unrestored"
_REACH_SECONDS = 10
_MACHINE = "machine:"


class Problem(Exception):
    """What is wrong and what to do; never holds a secret."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a host at a moment, in seconds since the epoch; `machine` is the machine that it was taken on.

    With `unrestored`, that machine had not yet got back what the one before it had.
    """

    label: str
    made: float
    machine: str
    unrestored: bool
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Repository:
    """`at` is what restic calls it: a directory, or C(rest:https://...), which takes `user` and the same password.

    `run_as` is who owns the directory, so that what restic writes there is the server's.
    """

    at: str
    password: str
    user: str = ""
    authority: str = ""
    run_as: str | None = None

    def reach(self) -> None:
        """Restic itself asks a server that is away for a quarter of an hour."""
        address = urlsplit(self.at.removeprefix("rest:"))
        if not address.hostname:
            return
        try:
            socket.create_connection((address.hostname, address.port or 443), timeout=_REACH_SECONDS).close()
        except OSError as error:
            raise Problem(f"the backup host does not answer at {address.netloc}: {error}") from None

    def exists(self) -> bool:
        self.reach()
        done = self._run("cat", "config", "--quiet")
        if done.returncode not in (0, MISSING):
            raise _problem("cat config", done)
        return done.returncode == 0

    def snapshots(self) -> list[Snapshot]:
        """Oldest first."""
        return sorted(map(_snapshot, json.loads(self.run("snapshots", "--json"))), key=lambda found: found.made)

    def run(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise _problem(arguments[0], done)
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = [f"--repo={self.at}", "--retry-lock=5m", *([f"--cacert={self.authority}"] if self.authority else [])]
        cache = os.environ.get("CACHE_DIRECTORY")
        options.append(f"--cache-dir={cache}" if cache else "--no-cache")
        environment = {"PATH": os.environ.get("PATH", "/usr/bin"), "TZ": "UTC", "RESTIC_PASSWORD": self.password}
        if self.user:
            environment |= {"RESTIC_REST_USERNAME": self.user, "RESTIC_REST_PASSWORD": self.password}
        command = ["restic", *options, *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            user=self.run_as,
            group=self.run_as,
            extra_groups=[] if self.run_as else None,
        )


def machine_tag() -> str:
    """Tells this machine from the one that stood here before it, under the same name.

    Not by /etc/machine-id, which machines from one image may share.
    """
    path = RECORDS / "machine"
    if not path.exists():
        RECORDS.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(uuid.uuid4().hex + "\n")
        os.replace(fresh, path)
    return _MACHINE + path.read_text().strip()


def credential(name: str) -> str:
    """Of the unit that runs this, or what root can open."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given:
        return (Path(given) / name).read_text()
    command = ["systemd-creds", "decrypt", "--quiet", f"--name={name}", str(CREDENTIALS / name), "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{CREDENTIALS / name} cannot be opened on this host: run site.yml")
    return done.stdout


def shown(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moment))


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    # Nanoseconds, which older Pythons do not read, and an offset that is the client's own.
    made = datetime.fromisoformat(re.sub(r"\.\d+", "", str(entry["time"])).replace("Z", "+00:00")).timestamp()
    tags = entry.get("tags") or []
    machine = next((tag for tag in tags if tag.startswith(_MACHINE)), "")
    return Snapshot(str(entry["id"]), made, machine, UNRESTORED in tags, tuple(entry["paths"]))


def _problem(what: str, done: subprocess.CompletedProcess[str]) -> Problem:
    if done.returncode == WRONG_PASSWORD:
        return Problem(
            "the repository has another password than this host's: was the backup host made anew? Run site.yml"
        )
    said = " ".join((done.stderr or done.stdout).split())[-400:]
    return Problem(f"restic {what}: {said or f'exit code {done.returncode}'}")
