"""One program out of a checked archive: zip, wheel and tar; a file that is damaged, another one, or not there."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_archive as archives

PROGRAM = b"#!/bin/sh\necho 1.0\n"
MEMBER = "openbao/bin/bao"


def zipped(path: Path, content: bytes = PROGRAM) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("README", "nothing")
        files.writestr(MEMBER, content)
    return path


def tarred(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as files:
        for name, content in (("README", b"nothing"), (MEMBER, PROGRAM)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            files.addfile(entry, io.BytesIO(content))
        directory = tarfile.TarInfo("openbao/share")
        directory.type = tarfile.DIRTYPE
        files.addfile(directory)
    return path


def release(where: Path, archive: Path, version: str = "1.0", member: str = MEMBER) -> archives.Release:
    return archives.Release(str(where / "opt"), version, "bao", archives.checksum(str(archive)), member)


@pytest.mark.parametrize("kind", ["zip", "whl", "tar", "tar.gz", "tar.xz"])
def test_the_program_is_taken_out_and_found_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"archive.{kind}"
    archive = tarred(path, f"w:{kind.partition('.')[2]}") if kind.startswith("tar") else zipped(path)
    wanted = release(tmp_path, archive)
    assert not archives.is_installed(wanted)
    archives.install(wanted, str(archive))
    assert Path(wanted.path).read_bytes() == PROGRAM
    assert Path(wanted.path).stat().st_mode & 0o7777 == 0o755
    assert archives.is_installed(wanted)
    assert sorted(os.listdir(Path(wanted.path).parent)) == [archives.MARK, "bao"], "nothing else of the archive"


def test_a_program_that_was_changed_is_not_the_installed_one(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive.zip")
    wanted = release(tmp_path, archive)
    archives.install(wanted, str(archive))
    Path(wanted.path).write_bytes(PROGRAM + b"more")
    assert not archives.is_installed(wanted)
    archives.install(wanted, str(archive))
    assert archives.is_installed(wanted)
    (Path(wanted.path).parent / archives.MARK).write_text("{}")
    assert not archives.is_installed(wanted)


def test_an_archive_that_was_not_reviewed_is_refused(tmp_path: Path) -> None:
    wanted = release(tmp_path, zipped(tmp_path / "archive.zip"))
    other = zipped(tmp_path / "other.zip", b"something else")
    with pytest.raises(archives.ArchiveError, match=f"{wanted.archive_sha256} was reviewed: it is another file"):
        archives.install(wanted, str(other))
    assert not (tmp_path / "opt").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("member", ["bao", "openbao/share"])
def test_a_member_that_is_no_file_is_refused_and_leaves_nothing(tmp_path: Path, kind: str, member: str) -> None:
    archive = (tarred if kind == "tar" else zipped)(tmp_path / f"archive.{kind}")
    wanted = release(tmp_path, archive, member=member)
    with pytest.raises(archives.ArchiveError, match=f"holds no file {member}.*correct vault_archive_member"):
        archives.install(wanted, str(archive))
    assert os.listdir(Path(wanted.path).parent) == []


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "archive"
    page.write_text("<html>Not found</html>")
    with pytest.raises(archives.ArchiveError, match="holds no file"):
        archives.install(release(tmp_path, page), str(page))


def test_a_zip_that_breaks_off_inside_is_refused_and_keeps_what_served(tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip")
    archives.install(release(tmp_path, good), str(good))
    broken = tmp_path / "broken.zip"
    data = zipped(tmp_path / "source.zip", os.urandom(4096)).read_bytes()
    broken.write_bytes(data[:200] + b"\0" * 200 + data[400:])
    with pytest.raises(archives.ArchiveError, match="is damaged"):
        archives.install(release(tmp_path, broken), str(broken))
    assert Path(release(tmp_path, good).path).read_bytes() == PROGRAM


def test_the_link_moves_to_the_newer_version_and_both_stay(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive.zip")
    old, new = release(tmp_path, archive), release(tmp_path, archive, "1.1")
    for one in (old, new):
        archives.install(one, str(archive))
        assert not archives.is_linked(one)
        archives.link(one)
        assert archives.is_linked(one)
    assert not archives.is_linked(old)
    assert os.readlink(new.link) == "1.1/bao"
    assert Path(old.path).exists()
