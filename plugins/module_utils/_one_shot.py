# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container that runs one command and is gone: how it is started, bounded, and cleaned up after."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from ansible_collections.signalbox.platform.plugins.module_utils._compose import (
    ENTRY_SCRIPT,
    ENTRY_TARGET,
    ENVIRONMENT_TARGET,
    LABEL,
    Command,
    Mount,
    Resources,
)
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import to_shell
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._slot_files import private_directory, write

STOP_SECONDS = 10
SECRET_DIRECTORY = "/run/signalbox/apps"  # noqa: S105  a path


@dataclasses.dataclass(frozen=True)
class OneShot:
    """One command in one container."""

    app: str
    name: str
    token: str
    image: str
    arguments: Sequence[str]
    entrypoint: Sequence[str] | None = None
    resources: Resources = dataclasses.field(default_factory=Resources)
    mounts: Sequence[Mount] = ()
    temporary: Sequence[str] = ("/tmp",)  # noqa: S108  of the container
    read_only: bool = True
    user: str = ""
    network: str = "bridge"
    # Of each stream this much of the end is kept: a migration may print for an hour.
    kept_bytes: int = 65536

    @property
    def container(self) -> str:
        """Name of the container, another for each run."""
        return f"{self.app}-run-{self.name}-{self.token}"

    @property
    def kin(self) -> dict[str, str]:
        """Labels that earlier runs of the same task carry as well."""
        return {f"{LABEL}.managed": "true", f"{LABEL}.kind": "run", f"{LABEL}.app": self.app, f"{LABEL}.run": self.name}

    @property
    def environment_file(self) -> str:
        """The environment in clear, on tmpfs."""
        return f"{SECRET_DIRECTORY}/{self.app}/{self.container}.env"

    @property
    def entry_file(self) -> str:
        """The script that loads it."""
        return f"{SECRET_DIRECTORY}/{self.app}/{self.container}.entry"

    def command(self, image: Command) -> list[str]:
        """What runs in the container, by the same rule as `docker run`: arguments replace the image's own."""
        entrypoint = image.entrypoint if self.entrypoint is None else self.entrypoint
        arguments = self.arguments or (image.arguments if self.entrypoint is None else ())
        return [*entrypoint, *arguments]


def _limits(resources: Resources) -> list[str]:
    argv: list[str] = []
    if resources.cpus:
        argv += ["--cpus", str(resources.cpus)]
    if resources.memory:
        argv += ["--memory", resources.memory, "--memory-swap", resources.memory]
    if resources.pids:
        argv += ["--pids-limit", str(resources.pids)]
    return argv


def _bind(source: str, target: str) -> list[str]:
    return ["--mount", f"type=bind,source={source},target={target},readonly"]


def run_argv(run: OneShot, image: Command) -> list[str]:
    """The engine's command line; no value of the environment is in it."""
    argv = ["docker", "run", "--rm", "--init", "--pull", "never", "--name", run.container, "--network", run.network]
    argv += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--stop-timeout", str(STOP_SECONDS)]
    for name, value in run.kin.items():
        argv += ["--label", f"{name}={value}"]
    for mount in run.mounts:
        argv += _bind(mount.source, mount.target)
    argv += _bind(run.environment_file, ENVIRONMENT_TARGET) + _bind(run.entry_file, ENTRY_TARGET)
    for path in run.temporary:
        argv += ["--tmpfs", f"{path}:mode=1777,nosuid,nodev"]
    argv += _limits(run.resources)
    if run.read_only:
        argv.append("--read-only")
    if run.user:
        argv += ["--user", run.user]
    return [*argv, "--entrypoint", "/bin/sh", run.image, ENTRY_TARGET, *run.command(image)]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    timed_out: bool
    seconds: float


def explain(ended: Ended, timeout_seconds: float) -> str:
    """One line on why a run failed."""
    if ended.timed_out:
        return (
            f"did not end within {timeout_seconds:g} s and was stopped; raise timeout_seconds, or see what it waits for"
        )
    meaning = {
        125: "the engine could not start it",
        126: "the command is not executable",
        127: "the command is not in the image",
        137: "it was killed, most likely for want of memory",
        143: "it was terminated from outside",
    }.get(ended.code, "")
    return f"exited with {ended.code} after {ended.seconds:.1f} s{': ' + meaning if meaning else ''}"


def last_lines(ended: Ended, lines: int = 30) -> str:
    """The end of what a run printed, errors last."""
    return "\n".join((ended.stdout.splitlines() + ended.stderr.splitlines())[-lines:])


def remove_leftovers(engine: Engine, run: OneShot) -> list[str]:
    """Remove what a killed run of the same task left behind: its container, and its files."""
    removed = engine.containers_with(run.kin)
    for identifier in removed:
        with contextlib.suppress(EngineError):
            engine.stop(identifier, STOP_SECONDS)
        engine.remove(identifier)
    directory = f"{SECRET_DIRECTORY}/{run.app}"
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if name.startswith(f"{run.app}-run-{run.name}-"):
            os.unlink(os.path.join(directory, name))
    return removed


@contextlib.contextmanager
def files_for(run: OneShot, environment: Mapping[str, str]) -> Iterator[None]:
    """The run's files, for as long as it lasts."""
    os.makedirs(os.path.dirname(SECRET_DIRECTORY), mode=0o755, exist_ok=True)
    private_directory(os.path.dirname(run.environment_file))
    os.chmod(SECRET_DIRECTORY, 0o700)
    try:
        write(run.environment_file, to_shell(environment).encode(), 0o444)
        write(run.entry_file, ENTRY_SCRIPT.encode(), 0o555)
        yield
    finally:
        for path in (run.environment_file, run.entry_file):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


class _Tail(threading.Thread):
    """Reads a stream to its end and keeps the last part."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        super().__init__(daemon=True)
        self._stream, self._most = stream, most
        self._chunks: collections.deque[bytes] = collections.deque()
        self._kept = 0

    def run(self) -> None:
        """Read until the stream closes."""
        for chunk in iter(lambda: os.read(self._stream.fileno(), 8192), b""):
            self._chunks.append(chunk)
            self._kept += len(chunk)
            while self._kept - len(self._chunks[0]) > self._most:
                self._kept -= len(self._chunks.popleft())

    def text(self) -> str:
        """What was kept."""
        return b"".join(self._chunks)[-self._most :].decode(errors="replace")


def execute(engine: Engine, run: OneShot, image: Command, timeout_seconds: float) -> Ended:
    """Run to the end or to the time limit; the container is gone afterwards, whatever happens."""
    since = time.monotonic()
    timed_out = False
    process = subprocess.Popen(
        run_argv(run, image),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    tails = [_Tail(stream, run.kept_bytes) for stream in (process.stdout, process.stderr) if stream is not None]
    for tail in tails:
        tail.start()
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        if process.poll() is None:
            _end(engine, run, process)
    for tail in tails:
        tail.join(5)
    return Ended(process.returncode, tails[0].text(), tails[1].text(), timed_out, time.monotonic() - since)


def _end(engine: Engine, run: OneShot, process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(EngineError):
        engine.stop(run.container, STOP_SECONDS)
    engine.remove(run.container)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
