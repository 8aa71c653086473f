# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versioned copies of the repository, by restic, in a directory that root alone can write.

pgBackRest's TLS server lets the database host write and remove files of its stanza, so whoever owns that host can spoil
the repository. A copy from before brings it back. What is copied is encrypted already; restic's own passphrase is the
repository's, so that one escrow opens both.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

import targets
from problems import BROKEN, DAMAGED, NO_BACKUP, NO_ROOM, Problem
from repository import passphrase

# Renamed into their place when they are complete; what a rollback brings and keeps.
EXCLUDED = ("*.pgbackrest.tmp", ".coming-back", ".spoiled-*")
SERVICES = (
    "signalbox-backup.timer",
    "signalbox-backup-verify.timer",
    "signalbox-backup-drill.timer",
    "pgbackrest.service",
)
# A repository that lost so much since its last copy was not only expired.
SHRUNK = 0.5
_MISSING = 10


@dataclass(frozen=True)
class Copy:
    """One copy; the moment of its end in seconds since the epoch."""

    label: str
    made: float
    bytes: int


@dataclass
class Copies:
    """`repository` is pgBackRest's directory, `directory` that of the copies, `keys` the file with the passphrase."""

    repository: Path
    directory: Path
    keys: Path
    days: int
    say: Callable[[str], None] = print

    def take(self, smaller: bool = False) -> dict[str, Any]:
        """A copy of the repository as it is, and expiry of older ones. What it found wrong is in `findings`.

        With `smaller` it is accepted that the repository has shrunk.
        """
        began = time.monotonic()
        self._make()
        before = self.list()
        options = ["--json", "--quiet", "--compression=off", *(f"--exclude={name}" for name in EXCLUDED)]
        said = self._restic("backup", *options, str(self.repository))
        summary = json.loads(said.splitlines()[-1])
        size = int(summary["total_bytes_processed"])
        findings = []
        largest = max((copy.bytes for copy in before), default=0)
        if size < largest * SHRUNK and not smaller:
            lost = f"the repository has {size >> 20} MiB, and a copy of it has {largest >> 20} MiB"
            findings.append(f"{lost}; no copy is removed until backup.yml is run with -e accept_smaller=true")
        else:
            kept = ["--keep-last=1"] if smaller else [f"--keep-within={self.days}d", "--keep-last=2"]
            self._restic("forget", "--quiet", *kept, "--prune", "--max-unused=10%")
        self._restic("check", "--quiet")
        return {
            "success": int(not findings),
            "timestamp_seconds": time.time(),
            "seconds": time.monotonic() - began,
            "repository_bytes": size,
            "added_bytes": int(summary["data_added"]),
            "count": len(self.list()),
            "findings": findings,
        }

    def list(self) -> list[Copy]:
        """Oldest first."""
        found = json.loads(self._restic("snapshots", "--json"))
        return sorted((_copy(entry) for entry in found), key=lambda copy: copy.made)

    def roll_back(self, moment: float) -> dict[str, str]:
        """The repository as the newest copy before the moment has it. What is there now is kept beside it."""
        found = self.list()
        usable = [copy for copy in found if copy.made <= moment]
        if not usable:
            there = f"the oldest is of {targets.shown(found[0].made)}" if found else "there is none"
            raise Problem(NO_BACKUP, f"no copy is as old as {targets.shown(moment)}", f"{there}: choose a later moment")
        chosen = usable[-1]
        free = shutil.disk_usage(self.repository).free
        if free < chosen.bytes * 1.05:
            what = f"{self.repository} has {free >> 20} MiB free, and {chosen.bytes >> 20} MiB come back"
            raise Problem(NO_ROOM, what, "enlarge the disk; what is there now is kept until you remove it")
        self.say(f"bringing back the copy of {targets.shown(chosen.made)}, {chosen.bytes >> 20} MiB")
        owner = pwd.getpwnam("postgres")
        for service in SERVICES:
            _systemctl("stop", service)
        # Nobody else may change what root writes to. After a kill site.yml gives the directory back, or the next run.
        os.chown(self.repository, 0, 0)
        os.chmod(self.repository, 0o700)
        try:
            fresh = self.repository / ".coming-back"
            if fresh.is_symlink():
                fresh.unlink()
            if fresh.exists():
                shutil.rmtree(fresh)
            self._restic("restore", "--quiet", f"{chosen.label}:{self.repository}", f"--target={fresh}", "--verify")
            aside = self._exchange(fresh)
        finally:
            os.chown(self.repository, owner.pw_uid, owner.pw_gid)
            os.chmod(self.repository, 0o750)  # noqa: S103  as tmpfiles.d makes it
            for service in reversed(SERVICES):
                _systemctl("start", service)
        return {"copy": targets.shown(chosen.made), "kept": str(aside)}

    def _exchange(self, fresh: Path) -> Path:
        """In the directory itself, which may be a disk's root. Once killed, the next run begins anew."""
        aside = self.repository / datetime.now(timezone.utc).strftime(".spoiled-%Y%m%dT%H%M%SZ")
        aside.mkdir(mode=0o700)
        for name in ("archive", "backup"):
            if (self.repository / name).exists():
                (self.repository / name).rename(aside / name)
            if (fresh / name).exists():
                (fresh / name).rename(self.repository / name)
        shutil.rmtree(fresh)
        return aside

    def _make(self) -> None:
        if self._run("cat", "config").returncode == _MISSING:
            self._restic("init", "--quiet")
        # A run that was killed has left its lock; one that lives keeps it.
        self._restic("unlock", "--quiet")

    def _restic(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split())[-400:]
            remedy = "see the reason; the repository itself is not touched"
            raise Problem(DAMAGED if arguments[0] == "check" else BROKEN, f"restic {arguments[0]}: {said}", remedy)
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["restic", "--no-cache", "--retry-lock=10m", f"--repo={self.directory}", *arguments]
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin"),
            "TZ": "UTC",
            "RESTIC_PASSWORD": passphrase(self.keys),
        }
        return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)


def _copy(entry: Mapping[str, Any]) -> Copy:
    ended = str(entry["summary"].get("backup_end") or entry["time"])
    made = datetime.fromisoformat(ended[:19] + "+00:00").timestamp()
    return Copy(str(entry["id"]), made, int(entry["summary"]["total_bytes_processed"]))


def _systemctl(verb: str, unit: str) -> None:
    subprocess.run(["systemctl", verb, unit], capture_output=True, check=False)
