# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of file_tree: what has to change on a host, how it is shown, what is remembered. No I/O, no Ansible."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    ABSENT,
    DIRECTORY,
    FILE,
    FORMAT,
    LINK,
    OTHER,
    Entry,
    FileTreeError,
)

MAX_DIFF_BYTES = 104448


@dataclass(frozen=True)
class Observed:
    """What is on the host at one path."""

    kind: str = ABSENT
    owner: str = ""
    group: str = ""
    mode: int = 0
    target: str = ""
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Change:
    entry: Entry
    before: Observed
    replace: bool  # content, link or directory has to be made; otherwise only owner, group or mode
    attributes: tuple[str, ...] = ()


# What has to change.


def attribute_changes(entry: Entry, before: Observed) -> tuple[str, ...]:
    if entry.kind == LINK or (entry.kind == DIRECTORY and not entry.enforce):
        return ()
    pairs = (("owner", entry.owner, before.owner), ("group", entry.group, before.group))
    names = [name for name, wanted, found in pairs if wanted != found]
    return tuple(names + (["mode"] if entry.mode != before.mode else []))


def change_for(entry: Entry, before: Observed) -> Change | None:
    """None when the path is as wanted; owner and group of both sides must be in the same notation."""
    if before.kind == ABSENT:
        return Change(entry, before, True, ())
    if (entry.kind == DIRECTORY) != (before.kind == DIRECTORY) or before.kind == OTHER:
        raise FileTreeError(
            f"{entry.path} is a {before.kind} on the host and a {entry.kind} in the tree; move it away first"
        )
    same = entry.kind == before.kind and entry.content == before.content and entry.target == before.target
    if entry.kind == DIRECTORY:
        same = True
    attributes = attribute_changes(entry, before) if entry.kind == before.kind else ()
    return None if same and not attributes else Change(entry, before, not same, attributes)


# Differences.


def _is_text(data: bytes) -> bool:
    try:
        return b"\0" not in data and data.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


def content_diff(path: str, before: bytes, after: bytes, secret: bool, what: str = "changed") -> dict[str, Any]:
    if secret:
        return {"prepared": f"{path}: {what}, secret content is not shown\n"}
    if not (_is_text(before) and _is_text(after)):
        return {"prepared": f"{path}: {what}, binary content of {len(before)} -> {len(after)} bytes\n"}
    if max(len(before), len(after)) > MAX_DIFF_BYTES:
        return {"prepared": f"{path}: {what}, too large to show, {len(before)} -> {len(after)} bytes\n"}
    headers = {"before_header": path, "after_header": path if what != "removed" else "/dev/null"}
    return dict(headers, before=before.decode("utf-8"), after=after.decode("utf-8"))


def change_diffs(change: Change) -> list[dict[str, Any]]:
    entry, before = change.entry, change.before
    items: list[dict[str, Any]] = []
    what = "created" if before.kind == ABSENT else "changed"
    if change.replace and entry.kind == FILE:
        items.append(content_diff(entry.path, before.content, entry.content, entry.secret, what))
    elif change.replace:
        after = "directory" if entry.kind == DIRECTORY else f"link to {entry.target}"
        text = "" if before.kind == ABSENT else f"{before.kind} {before.target}"
        header = {"before_header": entry.path, "after_header": entry.path}
        items.append(dict(header, before=text.strip() + "\n" if text else "", after=after + "\n"))
    if change.attributes:
        old = {"owner": before.owner, "group": before.group, "mode": f"{before.mode:04o}"}
        new = {"owner": entry.owner, "group": entry.group, "mode": f"{entry.mode:04o}"}
        item: dict[str, Any] = {"before_header": entry.path, "after_header": entry.path}
        item["before"] = {name: old[name] for name in change.attributes}
        item["after"] = {name: new[name] for name in change.attributes}
        items.append(item)
    return items


# The manifest: what this name has placed, so that what left the tree can be taken away, and nothing else.


@dataclass(frozen=True)
class Manifest:
    name: str
    dest: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    directories: tuple[str, ...] = ()

    def dump(self) -> bytes:
        document = {
            "format": FORMAT,
            "name": self.name,
            "dest": self.dest,
            "files": {path: dict(self.files[path]) for path in sorted(self.files)},
            "directories": sorted(self.directories),
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode("utf-8")


def load_manifest(data: bytes, name: str, dest: str) -> Manifest:
    try:
        document = json.loads(data.decode("utf-8"))
        manifest = Manifest(document["name"], document["dest"], document["files"], tuple(document["directories"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileTreeError(f"manifest {name} is damaged ({error}); move it away, then nothing is removed") from None
    if manifest.dest != dest:
        raise FileTreeError(
            f"manifest {name} belongs to dest {manifest.dest}, not {dest}; "
            "give this tree a name of its own, or move the manifest away"
        )
    return manifest


def fingerprint(entry: Entry) -> dict[str, Any]:
    data = entry.content if entry.kind == FILE else entry.target.encode("utf-8", "surrogateescape")
    return {"kind": entry.kind, "sha256": hashlib.sha256(data).hexdigest(), "secret": entry.secret}


def placed(entries: Iterable[Entry]) -> dict[str, Mapping[str, Any]]:
    return {entry.path: fingerprint(entry) for entry in entries if entry.kind != DIRECTORY}


def announced(manifest: Manifest, entries: Iterable[Entry]) -> Manifest:
    """Written before the first replacement: a run killed half-way leaves no file that no manifest knows."""
    files = dict(manifest.files)
    for path, mark in placed(entries).items():
        if path not in files:
            files[path] = dict(mark, pending=True)
    return replace(manifest, files=files)


def is_ours(mark: Mapping[str, Any], found: Observed) -> bool:
    """A file that somebody changed since is still ours; one only announced is ours when its content arrived."""
    if found.kind not in (FILE, LINK):
        return False
    if not mark.get("pending"):
        return True
    data = found.content if found.kind == FILE else found.target.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest() == mark.get("sha256")


def removal_diff(path: str, mark: Mapping[str, Any], found: Observed) -> dict[str, Any]:
    before = found.content if found.kind == FILE else (f"link to {found.target}\n").encode()
    return content_diff(path, before, b"", bool(mark.get("secret")), "removed")
