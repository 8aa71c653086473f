# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One program out of a checked archive, into a directory of its version."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

MARK = ".installed.json"


class ArchiveError(Exception):
    """The archive is not what was asked for; the text says why."""


@dataclass(frozen=True)
class Release:
    """What is to be installed, and where."""

    directory: str
    version: str
    program: str
    archive_sha256: str
    member: str

    @property
    def path(self) -> str:
        return os.path.join(self.directory, self.version, self.program)

    @property
    def link(self) -> str:
        return os.path.join(self.directory, self.program)


def checksum(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def is_installed(release: Release) -> bool:
    """Whether the program is, byte for byte, what came out of this archive."""
    try:
        with open(os.path.join(os.path.dirname(release.path), MARK), encoding="utf-8") as file:
            mark = json.load(file)
        return bool(mark["archive"] == release.archive_sha256 and mark["program"] == checksum(release.path))
    except (OSError, ValueError, KeyError):
        return False


def is_linked(release: Release) -> bool:
    return os.path.islink(release.link) and os.path.realpath(release.link) == os.path.realpath(release.path)


def install(release: Release, archive: str) -> None:
    found = checksum(archive)
    if found != release.archive_sha256:
        raise ArchiveError(
            f"The archive's SHA-256 is {found}, and {release.archive_sha256} was reviewed: it is another file, or was "
            "damaged on its way. Give vault_archive_sha256 of a release that you reviewed."
        )
    home = os.path.dirname(release.path)
    os.makedirs(home, mode=0o755, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix=".", dir=home)
    try:
        with os.fdopen(handle, "wb") as target, _member(archive, release.member) as source:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        os.chmod(fresh, 0o755)  # noqa: S103  a program that anybody may run
        mark = {"archive": release.archive_sha256, "program": checksum(fresh)}
        os.replace(fresh, release.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    with open(os.path.join(home, MARK), "w", encoding="utf-8") as file:
        json.dump(mark, file)


def link(release: Release) -> None:
    fresh = f"{release.link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(os.path.join(release.version, release.program), fresh)
    os.replace(fresh, release.link)


@contextlib.contextmanager
def _member(archive: str, member: str) -> Iterator[IO[Any]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as files, files.open(member) as source:
                yield source
            return
        with tarfile.open(archive) as tar:
            entry = tar.extractfile(member)
            if entry is None:
                raise KeyError(member)
            yield entry
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"The archive is damaged ({error}); get the reviewed file anew.") from None
    except (KeyError, tarfile.TarError) as error:
        raise ArchiveError(f"The archive holds no file {member} ({error}); correct vault_archive_member.") from None
