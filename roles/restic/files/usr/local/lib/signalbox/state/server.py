# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On the host that keeps the state of the others: expiry, which they cannot do themselves, checks and rehearsals."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kept import Problem, Repository, shown

# A client can give its snapshots any time, and so push out those of other days: the time must be that of arrival.
_OFF_SECONDS = 24 * 3600.0
# Of the server, as Debian's package names it.
_OWNER = "restic-rest-server"


def prepare(directory: Path, passwords: Mapping[str, str]) -> dict[str, Any]:
    """A repository for each host that has none.

    Made here and not by its host, which could not remove what it left when it was killed halfway: keys without a
    configuration, which no later run may add to.
    """
    made = []
    for host, password in sorted(passwords.items()):
        place = directory / host
        if (place / "config").exists():
            continue
        if any((place / "snapshots").glob("*")):
            raise Problem(f"{place} has snapshots and no config file, so it is spoiled: move it aside and run site.yml")
        shutil.rmtree(place, ignore_errors=True)
        Repository(str(place), password, run_as=_OWNER).run("init", "--quiet")
        made.append(host)
    return {"made": made}


def care(directory: Path, passwords: Mapping[str, str], days: int, record: Path) -> dict[str, Any]:
    """Removes snapshots that are old and reads every byte of those that stay; `record` is for the status."""
    began = time.monotonic()
    findings = []
    for host, password in sorted(passwords.items()):
        if not (directory / host / "config").exists():
            continue
        try:
            repository = Repository(str(directory / host), password, run_as=_OWNER)
            findings += [f"{host}: {text}" for text in _care(repository, directory / host, days)]
        except Problem as problem:
            findings.append(f"{host}: {problem}")
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.write_text(json.dumps(findings) + "\n")
    done = {"success": int(not findings), "timestamp_seconds": time.time(), "seconds": time.monotonic() - began}
    return {**done, "findings": findings}


def _care(repository: Repository, directory: Path, days: int) -> list[str]:
    repository.run("unlock", "--quiet")
    found = repository.snapshots()
    for one in found:
        arrived = (directory / "snapshots" / one.label).stat().st_mtime
        if abs(one.made - arrived) > _OFF_SECONDS:
            said = (
                f"a snapshot says that it is of {shown(one.made)} and arrived at {shown(arrived)}, so none is removed"
            )
            return [f"{said}: its host's clock is wrong, or somebody means harm"]
    if found and found[-1].unrestored:
        what = "the state of the machine before this one was not put back, so none is removed"
        return [f"{what}: rebuild.yml -e lost=HOST puts it back, and with -e without_state=true gives it up"]
    # By age alone, never by number: many new snapshots must not push out the old ones.
    kept = ["--keep-within=2d", f"--keep-within-daily={days}d"]
    repository.run("forget", "--quiet", "--group-by=host", *kept, "--prune", "--max-unused=10%")
    repository.run("check", "--quiet", "--read-data")
    return []


def status(directory: Path, clients: Sequence[str], oldest_seconds: float, record: Path) -> dict[str, Any]:
    """By the files that arrived and this host's clock, so that nothing is decrypted and nobody is believed."""
    lines: list[str] = []
    problems = [f"kept state of {text}" for text in (json.loads(record.read_text()) if record.exists() else [])]
    for host in sorted(clients):
        arrived = [file.stat().st_mtime for file in (directory / host / "snapshots").glob("*")]
        if not arrived:
            problems.append(f"no state of {host} has arrived yet")
            continue
        minutes = (time.time() - max(arrived)) / 60
        size = f"{_bytes(directory / host) / 1e6:.1f} MB"
        lines.append(f"state of {host:14} {minutes:3.0f} min ago  {len(arrived):4} kept  {size}")
        if minutes * 60 > oldest_seconds:
            problems.append(f"the newest state of {host} is {minutes:.0f} minutes old")
    return {"lines": [*(f"PROBLEM  {text}" for text in problems), *lines], "problems": problems}


def drill(directory: Path, passwords: Mapping[str, str], scratch: Path) -> dict[str, Any]:
    """Each host's newest state restored, with every byte compared, and removed again."""
    lines, findings = [], []
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    for host, password in sorted(passwords.items()):
        if not any((directory / host / "snapshots").glob("*")):
            continue
        began = time.monotonic()
        target = scratch / host
        shutil.rmtree(target, ignore_errors=True)
        try:
            repository = Repository(str(directory / host), password)
            repository.run("restore", "latest", "--no-lock", "--quiet", f"--target={target}", "--verify")
            lines.append(f"state of {host}: {_bytes(target) / 1e6:.1f} MB back in {time.monotonic() - began:.1f} s")
        except Problem as problem:
            findings.append(f"{host}: {problem}")
        finally:
            shutil.rmtree(target, ignore_errors=True)
    return {"lines": lines, "findings": findings}


def _bytes(directory: Path) -> int:
    return sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file())
