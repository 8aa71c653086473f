"""What the lab takes off the machine again, and what it must not touch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.append(str(CHECKOUT / "lab"))
import engine  # noqa: E402
from shell import LabError  # noqa: E402


@pytest.fixture
def pidfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine, "PIDFILE", tmp_path / "dockerd.pid")
    monkeypatch.setattr(engine, "INSTALLED", tmp_path / "installed-packages")
    monkeypatch.setattr(engine, "STATE", tmp_path)
    monkeypatch.setattr(engine, "WATCHERS", tmp_path / "max_user_instances")
    monkeypatch.setattr(engine, "WATCHERS_BEFORE", tmp_path / "inotify-instances")
    return tmp_path / "dockerd.pid"


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """It takes half a second to end, as an engine does."""
    late = (
        "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), sys.exit())); print(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-uc", late, *arguments], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


def test_a_process_that_got_the_number_of_a_dead_engine_lives_on(pidfile: Path) -> None:
    with process("--pidfile", "/elsewhere/dockerd.pid") as other:
        pidfile.write_text(str(other.pid))
        engine.remove()
        assert other.poll() is None
    assert not pidfile.exists()


def test_the_engine_has_ended_before_its_packages_go(pidfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.INSTALLED.write_text("docker.io\n")
    at_purge: list[bytes] = []
    with process("--pidfile", str(pidfile)) as started:
        pidfile.write_text(str(started.pid))
        monkeypatch.setattr(engine, "answers", lambda: False)
        command = Path(f"/proc/{started.pid}/cmdline")  # empty once it has ended: a child stays until it is waited for
        monkeypatch.setattr(engine, "stream", lambda *_, **__: at_purge.append(command.read_bytes()))
        engine.remove()
    assert at_purge == [b""]


@pytest.mark.parametrize(("before", "during"), [("128\n", "1024"), ("4096\n", "4096\n")])
def test_hosts_may_watch_files_until_they_are_gone(
    pidfile: Path, monkeypatch: pytest.MonkeyPatch, before: str, during: str
) -> None:
    monkeypatch.setattr(engine, "answers", lambda: True)
    engine.WATCHERS.write_text(before)
    for _ in range(2):
        engine.ensure()
        assert engine.WATCHERS.read_text() == during
    engine.remove()
    assert int(engine.WATCHERS.read_text()) == int(before)


def test_an_engine_with_what_is_not_ours_stays(pidfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.INSTALLED.write_text("docker.io\n")
    monkeypatch.setattr(engine, "answers", lambda: True)
    monkeypatch.setattr(engine, "_of_others", lambda: ["image precious:1"])
    monkeypatch.setattr(engine, "stream", lambda *_, **__: pytest.fail("purged"))
    with pytest.raises(LabError, match="precious:1"):
        engine.remove()
    assert engine.INSTALLED.exists()


def test_a_user_without_docker_is_told_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "answers", lambda: False)
    monkeypatch.setattr(engine, "install", lambda _: pytest.fail("installed"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getgroups", lambda: [1000])
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(LabError, match=r"sudo make.*docker"):
        engine.ensure()
