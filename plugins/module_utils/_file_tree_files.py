# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small file operations of file_tree: names and numbers, durable writes, putting things back. No Ansible."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import tempfile

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    Entry,
    FileTreeError,
)

TEMPORARY = ".signalbox-tmp-"


def user_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise FileTreeError(f"no user {name} on the host; install its package or create it before the files") from None


def group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise FileTreeError(f"no group {name} on the host; install its package or create it before the files") from None


def user_name(number: int, wanted: str) -> str:
    """The name to compare with what is wanted: a number with a number, and a shared uid by the wanted name."""
    if wanted.isdigit():
        return str(number)
    with contextlib.suppress(KeyError):
        if pwd.getpwnam(wanted).pw_uid == number:
            return wanted
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int, wanted: str) -> str:
    if wanted.isdigit():
        return str(number)
    with contextlib.suppress(KeyError):
        if grp.getgrnam(wanted).gr_gid == number:
            return wanted
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def read_bytes(path: str) -> bytes:
    with open(path, "rb") as handle:
        return handle.read()


def missing_parents(path: str) -> list[str]:
    missing: list[str] = []
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        missing.insert(0, parent)
        parent = os.path.dirname(parent)
    return missing


def quietly(function: object, *args: object) -> None:
    with contextlib.suppress(OSError):
        function(*args)  # type: ignore[operator]


def own(path: str, entry: Entry) -> None:
    """Owner before mode: chown clears set-id bits."""
    wanted = user_id(entry.owner), group_id(entry.group)
    info = os.stat(path)
    if (info.st_uid, info.st_gid) != wanted:
        try:
            os.chown(path, *wanted)
        except PermissionError:
            raise FileTreeError(f"{path}: only root may give it to {entry.owner}:{entry.group}; use become") from None
    if stat.S_IMODE(os.stat(path).st_mode) != entry.mode:
        os.chmod(path, entry.mode)


def write_temporary(directory: str, content: bytes, prefix: str = TEMPORARY) -> str:
    number, path = tempfile.mkstemp(prefix=prefix, dir=directory)  # mode 0600 from the first byte
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    except BaseException:
        os.unlink(path)
        raise
    return path


class Memory:
    """What stood at a path: enough to put it back, times included."""

    def __init__(self, info: os.stat_result | None, content: bytes = b"", target: str = "") -> None:
        self.info, self.content, self.target = info, content, target


def remember(path: str) -> Memory:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return Memory(None)
    if stat.S_ISLNK(info.st_mode):
        return Memory(info, target=os.readlink(path))
    return Memory(info, content=read_bytes(path))


def restore(path: str, memory: Memory) -> None:
    info = memory.info
    if info is None:
        quietly(os.unlink, path)
    elif stat.S_ISLNK(info.st_mode):
        quietly(os.unlink, path)
        os.symlink(memory.target, path)
    else:
        temporary = write_temporary(os.path.dirname(path), memory.content)
        os.chown(temporary, info.st_uid, info.st_gid)
        os.chmod(temporary, stat.S_IMODE(info.st_mode))
        os.utime(temporary, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.rename(temporary, path)


def remake_directory(path: str, info: os.stat_result) -> None:
    os.mkdir(path, stat.S_IMODE(info.st_mode))
    os.chown(path, info.st_uid, info.st_gid)


def sync_directory(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
