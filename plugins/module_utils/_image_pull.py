# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Getting an image onto a host: room on the disk, a private login, retries that make sense."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import json
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Callable

from ansible_collections.signalbox.platform.plugins.module_utils._compose import Command
from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine
from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import parse

RUNTIME_DIRECTORY = "/run/signalbox"
# Held shared from the pull until a container holds the image, and exclusively by the prune timer.
LOCK = "/run/lock/signalbox-images.lock"

# A download takes its compressed size, and about three times that unpacked.
ROOM_PER_DOWNLOADED_BYTE = 4

# argv, environment -> return code, standard output, standard error
Run = Callable[[list[str], Mapping[str, str]], "tuple[int, str, str]"]


class ImageError(Exception):
    """An image is not to be had; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Login:
    """An account at one registry."""

    address: str
    username: str
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a pull failed."""

    hint: str
    permanent: bool


LATE = Failure("it did not arrive in time: the way to the registry is slow, or release_pull_seconds too short", True)
_FAILURES = (
    (r"no space left on device", "the disk is full: free some, or let signalbox-image-prune.service run", True),
    (
        r"unauthorized|authentication required|no basic auth credentials|denied",
        "the registry refused the login: check user and password",
        True,
    ),
    (
        r"manifest unknown|not found|name unknown",
        "the registry has no such image: was it pushed, and not deleted since?",
        True,
    ),
    (
        r"certificate signed by unknown authority|x509",
        "the registry's certificate is not trusted: give its CA to container_engine_registries",
        True,
    ),
    (r"server gave HTTP response to HTTPS client", "the registry speaks plain HTTP: give it a certificate", True),
    (r"toomanyrequests|429", "the registry limits the rate", False),
    (r"connection refused|no such host|timeout|EOF|reset by peer|50[0234]", "the registry was not reachable", False),
)


def explain(output: str) -> Failure:
    """Read the engine's message: what it means, and whether trying again can help."""
    for pattern, hint, permanent in _FAILURES:
        if re.search(pattern, output, re.IGNORECASE):
            return Failure(hint, permanent)
    return Failure("see the engine's message", False)


def required_bytes(minimum_free_bytes: int, download_bytes: int) -> int:
    """Room the image store needs before a pull."""
    return max(minimum_free_bytes, download_bytes * ROOM_PER_DOWNLOADED_BYTE)


def backoff_seconds(attempt: int, jitter: float) -> float:
    """Wait before another attempt; `jitter` in 0..1 spreads hosts that all failed at the same moment."""
    return float(min(30.0, 2.0**attempt) * (0.5 + jitter / 2))


def client_configuration(login: Login | None) -> str:
    """The client's configuration file for one login."""
    if login is None:
        return "{}"
    token = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return json.dumps({"auths": {login.address: {"auth": token}}})


@contextlib.contextmanager
def images_held() -> Iterator[None]:
    """Keep the prune timer away until the image is in use."""
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def client_directory(login: Login | None) -> Iterator[str]:
    """A client directory of this process alone, on tmpfs: no password in argv, none left in root's home."""
    os.makedirs(RUNTIME_DIRECTORY, mode=0o755, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="client-", dir=RUNTIME_DIRECTORY)
    try:
        descriptor = os.open(os.path.join(directory, "config.json"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(client_configuration(login))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclasses.dataclass
class Puller:
    """Brings images onto this host."""

    engine: Engine
    run: Run
    login: Login | None = None
    attempts: int = 4
    minimum_free_bytes: int = 0
    download_bytes: int = 0
    # For all attempts together; 0 is no limit.
    timeout_seconds: int = 0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def present(self, image: str) -> bool:
        """Whether the image is on this host."""
        return self.engine.image_command(image) is not None

    def ensure(self, image: str) -> tuple[Command, bool]:
        """What the image runs, and whether it had to be pulled."""
        command = self.engine.image_command(image)
        if command is not None:
            return command, False
        self.check_room()
        self._pull(image)
        command = self.engine.image_command(image)
        if command is None:
            raise ImageError(
                f"{image} was pulled, but the engine does not know it by this digest; is the digest that of a manifest?"
            )
        return command, True

    def check_room(self) -> None:
        """Fail where an image that has to be pulled would not fit."""
        _limits, root = self.engine.info()
        free = shutil.disk_usage(root).free
        required = required_bytes(self.minimum_free_bytes, self.download_bytes)
        if free < required:
            raise ImageError(
                f"{root} has {free // 2**20} MiB free, and the image needs {required // 2**20} MiB. "
                "Free room (`docker image prune --all` keeps what containers use) or enlarge the disk."
            )

    def _pull(self, image: str) -> None:
        since = self.clock()
        with client_directory(self.login) as directory:
            for attempt in range(1, self.attempts + 1):
                command = ["docker", "pull", "--quiet", image]
                if self.timeout_seconds:
                    left = max(1, int(self.timeout_seconds - (self.clock() - since)))
                    command = ["timeout", "--kill-after=10", str(left), *command]
                code, out, error = self.run(command, {"DOCKER_CONFIG": directory})
                if code == 0:
                    return
                failure = LATE if self.timeout_seconds and code in (124, 137) else explain(error or out)
                if failure.permanent or attempt == self.attempts:
                    raise ImageError(
                        f"{image} could not be pulled from {parse(image).registry} "
                        f"({attempt} of {self.attempts} attempts): "
                        f"{failure.hint}. The engine said: {(error or out).strip()[-500:]}"
                    )
                self.sleep(backoff_seconds(attempt, random.random()))  # noqa: S311  jitter
