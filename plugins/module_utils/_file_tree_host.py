# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's side of file_tree: looks at paths, stages, replaces all or nothing, removes what left. No Ansible."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    DIRECTORY,
    FILE,
    LINK,
    OTHER,
    Entry,
    FileTreeError,
)
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_files import (
    TEMPORARY,
    group_name,
    inside,
    missing_parents,
    own,
    quietly,
    read_bytes,
    remake_directory,
    remember,
    restore,
    sync_directory,
    user_name,
    write_temporary,
)
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_plan import (
    Change,
    Observed,
)


class Host:
    """Everything file_tree does to one root directory."""

    def __init__(self, dest: str, name: str = "") -> None:
        self.prefix = f"{TEMPORARY}{name}-"
        self.dest = os.path.normpath(dest).replace("//", "/")
        self.root = os.path.realpath(self.dest)

    def real(self, path: str) -> str:
        """The path with its parents resolved, its last component as it is; refuses a parent that leads out of dest."""
        if path == self.dest:
            return self.root
        parent = os.path.realpath(os.path.dirname(path))
        if inside(path, self.dest) and not inside(parent, self.root):
            raise FileTreeError(f"{path}: its parent is a link out of {self.dest} (to {parent})")
        if os.path.lexists(parent) and not os.path.isdir(parent):
            raise FileTreeError(f"{path}: its parent {parent} is not a directory")
        return os.path.join(parent, os.path.basename(path))

    def observe(self, entry: Entry) -> Observed:
        path = self.real(entry.path)
        try:
            info = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return Observed()
        kind = _kind(info.st_mode)
        if kind == LINK and entry.kind == DIRECTORY:
            return self._observe_linked_directory(entry, path)
        names = user_name(info.st_uid, entry.owner), group_name(info.st_gid, entry.group)
        content = read_bytes(path) if kind == FILE else b""
        target = os.readlink(path) if kind == LINK else ""
        return Observed(kind, names[0], names[1], stat.S_IMODE(info.st_mode), target, content)

    def _observe_linked_directory(self, entry: Entry, path: str) -> Observed:
        """A parent may be a link (/lib is one) as long as it stays below dest; its owner is not ours to set."""
        real = os.path.realpath(path)
        if not os.path.isdir(real):
            raise FileTreeError(f"{entry.path} is a link to {real}, which is not a directory")
        if not inside(real, self.root):
            raise FileTreeError(f"{entry.path} is a link out of {self.dest} (to {real})")
        return Observed(DIRECTORY, entry.owner, entry.group, entry.mode)

    # Replacing

    def apply(self, changes: Sequence[Change], removed: Sequence[str]) -> None:
        """All or nothing: prepare every new file beside its place, then rename; a failure puts everything back."""
        with contextlib.ExitStack() as undo:
            created = self._make_directories(changes, undo)
            staged = [(change, self._prepare(change, undo)) for change in changes if change.replace]
            touched: set[str] = {os.path.dirname(path) for path in created}
            for change, temporary in staged:
                if temporary:
                    touched.add(self._swap(change, temporary, undo))
            for change in changes:
                if not change.replace:
                    self._set_attributes(change, undo)
            for path in removed:
                touched.add(self._remove(path, undo))
            for directory in sorted(touched):
                sync_directory(directory)
            undo.pop_all()

    def _make_directories(self, changes: Sequence[Change], undo: contextlib.ExitStack) -> list[str]:
        made = []
        for change in changes:
            if change.entry.kind == DIRECTORY and change.replace:
                path = self.real(change.entry.path)
                before = missing_parents(path)
                for directory in [*before, path]:
                    os.mkdir(directory, 0o700)
                    undo.callback(quietly, os.rmdir, directory)
                    made.append(directory)
                    if directory != path:
                        os.chmod(directory, 0o755)  # noqa: S103  what mkdir -p leaves
                own(path, change.entry)
        return made

    def _prepare(self, change: Change, undo: contextlib.ExitStack) -> str:
        """The new file or link under a temporary name in the directory it goes to, complete and on the disk."""
        entry = change.entry
        if entry.kind == DIRECTORY:
            return ""
        directory = os.path.dirname(self.real(entry.path))
        if entry.kind == LINK:
            temporary = tempfile.mktemp(prefix=self.prefix, dir=directory)  # noqa: S306  symlink() refuses a taken name
            os.symlink(entry.target, temporary)
            undo.callback(quietly, os.unlink, temporary)
            return temporary
        temporary = write_temporary(directory, entry.content, self.prefix)
        undo.callback(quietly, os.unlink, temporary)
        own(temporary, entry)
        return temporary

    def _swap(self, change: Change, temporary: str, undo: contextlib.ExitStack) -> str:
        path = self.real(change.entry.path)
        undo.callback(restore, path, remember(path))
        os.rename(temporary, path)
        return os.path.dirname(path)

    def _set_attributes(self, change: Change, undo: contextlib.ExitStack) -> None:
        path = self.real(change.entry.path)
        info = os.stat(path)
        undo.callback(quietly, os.chmod, path, stat.S_IMODE(info.st_mode))
        undo.callback(quietly, os.chown, path, info.st_uid, info.st_gid)
        own(path, change.entry)

    def _remove(self, path: str, undo: contextlib.ExitStack) -> str:
        real = self.real(path)
        if os.path.isdir(real) and not os.path.islink(real):
            info = os.stat(real)
            undo.callback(remake_directory, real, info)
            os.rmdir(real)
        elif os.path.lexists(real):
            undo.callback(restore, real, remember(real))
            os.unlink(real)
        return os.path.dirname(real)

    def observe_leaving(self, path: str) -> Observed:
        """A path of the manifest that left the tree; one that a link now leads out of dest is no longer ours."""
        try:
            return self.observe(Entry(path))
        except FileTreeError:
            return Observed()

    def empties(self, directories: Iterable[str], removed: Sequence[str]) -> list[str]:
        """Which of our directories hold nothing once the removed paths are gone; deepest first."""
        gone = set(removed)
        empty = []
        for path in sorted(directories, key=lambda path: (-path.count("/"), path)):
            with contextlib.suppress(OSError, FileTreeError):
                real = self.real(path)
                if not os.path.islink(real) and all(os.path.join(path, n) in gone for n in os.listdir(real)):
                    empty.append(path)
                    gone.add(path)
        return empty

    def clean(self, directories: Iterable[str]) -> None:
        """Removes temporary files that a killed run left behind."""
        for directory in directories:
            with contextlib.suppress(OSError, FileTreeError):
                real = os.path.realpath(self.real(directory))
                for name in os.listdir(real):
                    if name.startswith(self.prefix):
                        os.unlink(os.path.join(real, name))

    # Staging

    @contextlib.contextmanager
    def stage(self, entries: Sequence[Entry], leaving: Sequence[str], base: str | None) -> Iterator[str]:
        """A private copy of the tree; in its directories the host's other files appear as links."""
        root = tempfile.mkdtemp(prefix="signalbox-stage-", dir=base)
        try:
            ours: dict[str, Entry] = {entry.path: entry for entry in entries}
            for entry in entries:
                self._stage_entry(root, entry, ours)
            for directory in {os.path.dirname(e.path) for e in entries if e.kind != DIRECTORY}:
                self._link_others(root, directory, set(ours) | set(leaving))
            for entry in reversed(entries):
                if entry.kind == DIRECTORY:
                    with contextlib.suppress(FileTreeError, PermissionError):
                        own(root + entry.path, entry)
            yield root
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _stage_entry(self, root: str, entry: Entry, ours: dict[str, Entry]) -> None:
        path = root + entry.path
        os.makedirs(path if entry.kind == DIRECTORY else os.path.dirname(path), exist_ok=True)
        if entry.kind == LINK:
            target = entry.target
            os.symlink(root + target if target in ours else target, path)
        elif entry.kind == FILE:
            with open(path, "xb") as handle:
                os.fchmod(handle.fileno(), 0o600)
                handle.write(entry.content)
            with contextlib.suppress(FileTreeError, PermissionError):  # check mode before its package is there
                own(path, entry)

    def _link_others(self, root: str, directory: str, ours: set[str]) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(directory):
                path = os.path.join(directory, name)
                if path not in ours and not os.path.lexists(root + path) and not name.startswith(TEMPORARY):
                    os.symlink(path, root + path)


def _kind(mode: int) -> str:
    for kind, test in ((FILE, stat.S_ISREG), (LINK, stat.S_ISLNK), (DIRECTORY, stat.S_ISDIR)):
        if test(mode):
            return kind
    return OTHER
