# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On a host whose state is kept: a snapshot of it, and the state that its predecessor had, put into place."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept import RECORDS, UNRESTORED, Problem, Repository, Snapshot, machine_tag, shown

_RESTORED = RECORDS / "restored.json"
_LINKS = ".signalbox-state"
_ATTEMPTS = 5


@dataclass(frozen=True)
class Item:
    """One directory. `unit` is stopped while it is put back; with `linked`, its files belong together."""

    name: str
    path: Path
    owner: str = "root"
    mode: str = "0755"
    unit: str = ""
    linked: bool = False

    @property
    def source(self) -> Path:
        """The directory that restic reads."""
        return self.path.parent / _LINKS / self.path.name if self.linked else self.path


def items_of(entries: Iterable[Mapping[str, Any]]) -> list[Item]:
    return [Item(**{**entry, "path": Path(entry["path"])}) for entry in entries]


def take(repository: Repository, host: str, items: list[Item], watched: list[Path]) -> dict[str, Any]:
    """A snapshot of what there is; one more while one of `watched` changed meanwhile, as systemd does not tell then."""
    began = time.monotonic()
    if not repository.exists():
        raise Problem("the backup host has no repository for this host: run site.yml")
    # A run that was killed has left its lock; one that lives keeps it.
    repository.run("unlock", "--quiet")
    mine = machine_tag()
    unrestored = _unrestored(repository, items, mine)
    tags = [f"--tag={mine}", *([f"--tag={UNRESTORED}"] if unrestored else [])]
    for _ in range(_ATTEMPTS):
        before = _marks(watched)
        there = [item for item in items if item.path.is_dir()]
        for item in there:
            _prepare(item)
        # With its own records there is something to send from the first day on, and the backup host hears from it.
        paths = [str(RECORDS), *(str(item.source) for item in there)]
        said = repository.run("backup", "--json", "--quiet", f"--host={host}", "--group-by=host", *tags, *paths)
        if _marks(watched) == before:
            break
    summary = json.loads(said.splitlines()[-1])
    return {
        "items": [item.name for item in there],
        "timestamp_seconds": time.time(),
        "seconds": time.monotonic() - began,
        "bytes": int(summary["total_bytes_processed"]),
        "added_bytes": int(summary["data_added"]),
        "unrestored": int(unrestored),
    }


def _marks(watched: list[Path]) -> list[tuple[int, int]]:
    return [(path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else (0, 0) for path in watched]


def _prepare(item: Item) -> None:
    """Restic keeps a snapshot, too, that lacks what it could not read; what is small is read before."""
    if item.linked:
        _link(item)
    if item.unit:
        return
    for file in item.path.rglob("*"):
        try:
            if file.is_file():
                file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Problem(f"{file} cannot be read, so nothing was sent: {error.strerror}") from None


def _unrestored(repository: Repository, items: list[Item], mine: str) -> bool:
    """Whether a machine of this name had state that is not back here yet."""
    back = set(_record().get("items", []))
    waiting = {str(item.source) for item in items if item.name not in back}
    return any(waiting & set(one.paths) for one in repository.snapshots() if one.machine != mine and not one.unrestored)


def put_back(
    repository: Repository, host: str, items: list[Item], with_services: bool, before: float
) -> dict[str, Any]:
    """The newest state from `before` of the machine that stood here before; nothing where it is back already.

    Without `with_services` it is the state that has to be there before services are, else that which a service reads.
    Safe to kill: a run begins anew with what is not in place yet.
    """
    record = _record()
    done = list(record.get("items", []))
    fresh = [item for item in items if bool(item.unit) == with_services and item.name not in done]
    if record and record["made"] > before:
        raise Problem(
            f"the state of {record['of']} is back already. Remove {_RESTORED}, and run it again, for an older"
        )
    if not fresh:
        return {"restored": [], "of": record.get("of", "")}
    chosen = _chosen(repository, host, items, record.get("snapshot", ""), before)
    moved = []
    for item in fresh:
        if str(item.source) in chosen.paths:
            _place(repository, chosen, item)
            moved.append(item.name)
        done.append(item.name)
        _write(_RESTORED, _entry(chosen.label, shown(chosen.made), chosen.made, done))
    return {"restored": moved, "of": shown(chosen.made)}


def go_on(items: list[Item]) -> dict[str, Any]:
    """Without what the machine before had: from now on this one's state counts."""
    _write(_RESTORED, _entry("", "never", 0.0, [item.name for item in items]))
    return {"restored": [], "of": "never"}


def _entry(label: str, of: str, made: float, items: list[str]) -> dict[str, Any]:
    return {"snapshot": label, "of": of, "made": made, "items": items}


def _record() -> dict[str, Any]:
    """What is back already."""
    found: dict[str, Any] = json.loads(_RESTORED.read_text()) if _RESTORED.exists() else {}
    return found


def _chosen(repository: Repository, host: str, items: list[Item], label: str, before: float) -> Snapshot:
    """The one that an earlier part of the same rebuild took, else the newest whole one of another machine."""
    found = repository.snapshots() if repository.exists() else []
    for one in found:
        if label and one.label == label:
            return one
    usable = [one for one in found if one.machine != machine_tag() and not one.unrestored and one.made <= before]
    # A directory of the list that was there never goes for good reasons: without it a snapshot is of a spoiled host.
    wanted = {str(item.source) for item in items} & {path for one in usable for path in one.paths}
    for one in reversed(usable):
        if wanted <= set(one.paths) and _is_whole(repository, one, wanted):
            return one
    if any(one.machine == machine_tag() for one in found) and not usable:
        mend = f"remove {RECORDS}, so that this counts as another machine, and run it again"
        raise Problem(
            f"the backup host keeps no state of an earlier {host}, only of this one. To have that back: {mend}"
        )
    raise Problem(f"the backup host keeps no such state of an earlier {host}: -e without_state=true goes on without it")


def _is_whole(repository: Repository, one: Snapshot, sources: set[str]) -> bool:
    """Restic keeps a snapshot, too, of what was taken away while it read."""
    listed = [json.loads(line).get("path") for line in repository.run("ls", "--json", one.label).splitlines()]
    return sources <= set(listed)


def _link(item: Item) -> None:
    """All its files as of one moment, without a copy.

    Redis replaces the manifest last when it writes its log anew (its manual, Persistence, Backing up AOF), so as long
    as the manifest stays the same file, what was linked belongs together; the newest log only grows.
    """
    for _ in range(_ATTEMPTS):
        shutil.rmtree(item.source, ignore_errors=True)
        item.source.mkdir(mode=0o700, parents=True)
        before = _inodes(item.path, "*.manifest")
        try:
            for file in item.path.iterdir():
                if not file.name.startswith("temp-"):
                    os.link(file, item.source / file.name)
        except FileNotFoundError:
            continue
        if _inodes(item.path, "*.manifest") == before:
            return
        time.sleep(1)
    raise Problem(f"{item.path} changed {_ATTEMPTS} times while it was read: it is tried again by the next run")


def _inodes(directory: Path, pattern: str) -> list[tuple[str, int]]:
    return sorted((file.name, file.stat().st_ino) for file in directory.glob(pattern))


def _place(repository: Repository, chosen: Snapshot, item: Item) -> None:
    """A file system of its own cannot be renamed: there it is done inside."""
    inside = os.path.ismount(item.path)
    stamp = time.strftime("before-%Y%m%dT%H%M%SZ", time.gmtime())
    beside = item.path if inside else item.path.parent
    coming = beside / (".coming-back" if inside else f".{item.path.name}.coming-back")
    aside = beside / (f".{stamp}" if inside else f"{item.path.name}.{stamp}")
    shutil.rmtree(coming, ignore_errors=True)
    item.path.parent.mkdir(parents=True, exist_ok=True)
    repository.run("restore", "--quiet", f"{chosen.label}:{item.source}", f"--target={coming}", "--verify")
    _own(coming, item)
    if item.unit:
        _systemctl("stop", item.unit)
    try:
        if inside:
            _move_entries(item.path, aside, leave=(coming, aside))
            _move_entries(coming, item.path)
            coming.rmdir()
            _own(item.path, item)
        else:
            if item.path.exists():
                item.path.rename(aside)
            coming.rename(item.path)
    finally:
        if item.unit:
            _systemctl("start", item.unit)


def _move_entries(source: Path, target: Path, leave: tuple[Path, ...] = ()) -> None:
    target.mkdir(mode=0o700, exist_ok=True)
    for entry in source.iterdir():
        if entry not in leave and not entry.name.startswith(".before-") and entry.name != "lost+found":
            entry.rename(target / entry.name)


def _own(directory: Path, item: Item) -> None:
    """A package may have given its user another number on the new machine."""
    directory.chmod(int(item.mode, 8))
    if item.owner == "root":
        return
    user = pwd.getpwnam(item.owner)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _systemctl(verb: str, unit: str) -> None:
    done = subprocess.run(["systemctl", verb, unit], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"systemctl {verb} {unit}: {' '.join(done.stderr.split())[-200:]}")


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record, indent=2) + "\n")
    os.replace(fresh, path)
