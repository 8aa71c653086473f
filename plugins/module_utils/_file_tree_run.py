# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of file_tree on the host: look, plan, execute, and keep the manifest true at every moment. No Ansible."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    DIRECTORY,
    Entry,
    FileTreeError,
)
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_files import (
    group_id,
    read_bytes,
    sync_directory,
    user_id,
    write_temporary,
)
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_plan import (
    Change,
    Manifest,
    Observed,
    announced,
    change_diffs,
    change_for,
    is_ours,
    load_manifest,
    placed,
    removal_diff,
)


class Run:
    def __init__(self, entries: Sequence[Entry], dest: str, name: str | None, manifest_directory: str) -> None:
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise FileTreeError(f"name {name!r} may hold letters, digits, dot, dash and underscore only")
        self.host = Host(dest, name or "")
        self.entries = list(entries)
        self.name, self.directory = name or "", manifest_directory
        self.manifest = Manifest(self.name, self.host.dest)
        self.changes: list[Change] = []
        self.leaving: dict[str, Observed] = {}
        self.removed: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        return bool(self.changes or self.removed)

    @property
    def manifest_path(self) -> str:
        return os.path.join(self.directory, self.name + ".json")

    @contextlib.contextmanager
    def lock(self, writing: bool) -> Iterator[None]:
        """One named tree at a time on a host: two runs would take each other's temporary files for leftovers."""
        if not (self.name and writing):
            yield
            return
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with open(os.path.join(self.directory, ".lock"), "w", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def plan(self) -> None:
        if self.name and os.path.exists(self.manifest_path):
            self.manifest = load_manifest(read_bytes(self.manifest_path), self.name, self.host.dest)
        made = set(self.manifest.directories)
        for entry in self.entries:
            if entry.kind == DIRECTORY and entry.path in made:
                entry = replace(entry, enforce=True)
            change = change_for(entry, self.host.observe(entry))
            if change:
                self.changes.append(change)
        wanted = {entry.path for entry in self.entries}
        for path, mark in self.manifest.files.items():
            found = self.host.observe_leaving(path) if path not in wanted else Observed()
            if is_ours(mark, found):
                self.leaving[path] = found
        files = sorted(self.leaving)
        self.removed = tuple(files + self.host.empties(made - wanted, files))

    def stage(self, base: str | None) -> contextlib.AbstractContextManager[str]:
        return self.host.stage(self.entries, list(self.leaving), base)

    def execute(self) -> None:
        if self.name:
            self.host.clean({os.path.dirname(entry.path) for entry in self.entries})
        for change in self.changes:  # an unknown user is found before the first write
            user_id(change.entry.owner), group_id(change.entry.group)
        before = self.manifest
        ahead = announced(before, self.entries)
        if self.pending and ahead != before:
            self._write(replace(ahead, directories=self._directories()))
        try:
            self.host.apply(self.changes, self.removed)
        except BaseException:
            self._write(before)
            raise
        self._write(Manifest(self.name, self.host.dest, placed(self.entries), self._directories()))

    def _directories(self) -> tuple[str, ...]:
        made = {c.entry.path for c in self.changes if c.entry.kind == DIRECTORY and c.replace}
        return tuple(sorted((made | set(self.manifest.directories)) - set(self.removed)))

    def _write(self, manifest: Manifest) -> None:
        data = manifest.dump()
        if not self.name or (os.path.exists(self.manifest_path) and read_bytes(self.manifest_path) == data):
            return
        temporary = write_temporary(self.directory, data)
        os.rename(temporary, self.manifest_path)
        sync_directory(self.directory)

    def changed_paths(self) -> list[str]:
        return [change.entry.path for change in self.changes]

    def diffs(self) -> list[dict[str, Any]]:
        items = []
        for change in self.changes:
            if self.manifest.files.get(change.entry.path, {}).get("secret"):  # what goes away may still be secret
                change = replace(change, entry=replace(change.entry, secret=True))
            items.extend(change_diffs(change))
        for path in self.removed:
            if path in self.leaving:
                items.append(removal_diff(path, self.manifest.files[path], self.leaving[path]))
            else:
                items.append({"before_header": path, "after_header": "/dev/null", "before": "directory\n", "after": ""})
        return items
