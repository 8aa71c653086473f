# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JSON and JSON-lines files that survive a kill or a loss of power at any moment."""

from __future__ import annotations

import json
import os
from typing import Any

FILE_MODE = 0o640


class Damaged(ValueError):
    """The file cannot be read; `line` is the number of the bad line of a JSON-lines file."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


def read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as source:
            record = json.loads(source.read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Damaged(f"it is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise Damaged("it is not a JSON object")
    return record


def read_lines(path: str) -> list[dict[str, Any]]:
    """All records. A last line cut short or zeroed by a loss of power was never acknowledged: it is left out."""
    try:
        with open(path, "rb") as source:
            lines = source.read().split(b"\n")
    except FileNotFoundError:
        return []
    records: list[dict[str, Any]] = []
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line.strip(b"\0 \r\t"):
            continue
        if bad:
            raise Damaged(f"line {bad} is not a JSON object", bad)
        record = _parse_line(line)
        if record is None:
            bad = number
        else:
            records.append(record)
    return records


def append_line(path: str, record: dict[str, Any]) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        os.lseek(handle, _mended_end(handle), os.SEEK_SET)
        _write_all(handle, line_of(record))
        own(handle, FILE_MODE)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_directory(os.path.dirname(path))


def write_json(path: str, record: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")


def write_atomically(path: str, content: bytes) -> None:
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        _write_all(handle, content)
        own(handle, FILE_MODE)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(temporary, path)
    sync_directory(directory)


def line_of(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _mended_end(handle: int) -> int:
    """Where to append: a torn tail is cut off, a whole record that lacks only its newline gets one."""
    content = os.pread(handle, os.fstat(handle).st_size, 0)
    end = len(content.rstrip(b"\0"))
    start = content.rfind(b"\n", 0, max(0, end - 1)) + 1
    tail = content[start:end]
    if tail.strip() and _parse_line(tail) is None:
        end = start
    os.ftruncate(handle, end)
    if end and content[end - 1 : end] != b"\n":
        os.pwrite(handle, b"\n", end)
        end += 1
    return end


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def own(target: Any, mode: int) -> None:
    """The umask and a setgid parent must not decide who reads this."""
    os.chmod(target, mode)
    if os.geteuid() == 0:
        os.chown(target, 0, 0)


def sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
