"""What root hands over is the file that was written, and nothing that took its name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._handover import NotHandedOver, hand_over

ME = os.getuid()


def test_the_receiver_alone_reads_it_whatever_the_umask_is(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    source = tmp_path / "club.masked"
    source.write_text("rows")
    source.chmod(0o644)
    before = os.umask(0o077)
    try:
        handed = Path(hand_over(str(source), ME, str(tmp_path / "private/fetched"), ME))
    finally:
        os.umask(before)
    assert handed.read_text() == "rows"
    assert stat.S_IMODE(handed.stat().st_mode) == 0o600
    assert stat.S_IMODE(handed.parent.stat().st_mode) == 0o711
    assert stat.S_IMODE(handed.parent.parent.stat().st_mode) == 0o711
    assert not source.exists()


def test_a_former_copy_gives_way_and_a_link_in_its_place_is_not_written_through(tmp_path: Path) -> None:
    fetched, other = tmp_path / "fetched", tmp_path / "other"
    fetched.mkdir()
    other.write_text("kept")
    (fetched / "club.masked").symlink_to(other)
    (tmp_path / "club.masked").write_text("rows")
    assert Path(hand_over(str(tmp_path / "club.masked"), ME, str(fetched), ME)).read_text() == "rows"
    assert other.read_text() == "kept"


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "another's", "nothing"])
def test_what_is_no_file_of_the_writer_stays(tmp_path: Path, kind: str) -> None:
    secret, source = tmp_path / "shadow", tmp_path / "club.masked"
    secret.write_text("secret")
    owner = ME + 1 if kind == "another's" else ME
    if kind == "link":
        source.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "directory":
        source.mkdir()
    elif kind == "another's":
        source.write_text("rows")
    with pytest.raises(NotHandedOver):
        hand_over(str(source), owner, str(tmp_path / "fetched"), ME)
    assert not (tmp_path / "fetched/club.masked").exists()
