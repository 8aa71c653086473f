# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Port to a slot's files: the compose file on disk, the environment on tmpfs, and its copy sealed to the host."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping

from ansible_collections.signalbox.platform.plugins.module_utils._compose import ENTRY_SCRIPT, Paths
from ansible_collections.signalbox.platform.plugins.module_utils._container_environment import (
    from_shell,
    to_compose,
    to_shell,
)


class SealError(Exception):
    """The environment could not be sealed to the host."""


@dataclasses.dataclass(frozen=True)
class Keeping:
    """How long the sealed copy may be used (0: without end), and from where it can be made again."""

    seconds: int = 0
    sources: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    template: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def text(self, key: bytes) -> str:
        """What stands beside the sealed copy; names and places only, and a keyed mark of the template."""
        if not self.sources:
            return ""
        template = hmac.new(key, to_shell(self.template).encode(), hashlib.sha256).hexdigest()
        plain = {"keep_seconds": self.seconds, "sources": self.sources, "template": template}
        return json.dumps(plain, indent=2, sort_keys=True) + "\n"


def read(path: str) -> str | None:
    """A file's text, or None."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def write(path: str, content: bytes, mode: int) -> None:
    """Replace a file so that a reader sees the old or the new one, even after a power cut."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def private_directory(path: str) -> None:
    """A directory, and its parents below the first that exists, for root alone."""
    previous = os.umask(0o077)
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(previous)


class SlotFiles:
    """Files of one slot."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def fingerprint_key(self) -> bytes:
        """This host's key for fingerprints, made at first use."""
        path = f"{self.paths.state_directory}/.fingerprint-key"
        try:
            with open(path, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            os.makedirs(self.paths.state_directory, mode=0o755, exist_ok=True)
            key = secrets.token_bytes(32)
            write(path, key, 0o400)
            return key

    def has_fingerprint_key(self) -> bool:
        """Whether a slot was ever started here."""
        return os.path.exists(f"{self.paths.state_directory}/.fingerprint-key")

    def environment(self) -> dict[str, str]:
        """The environment as last written, empty after a boot that did not restore it."""
        text = read(self.paths.environment)
        return {} if text is None else from_shell(text)

    def compose(self) -> str | None:
        """The compose file as last written."""
        return read(self.paths.compose)

    def write_environment(self, environment: dict[str, str], engine_environment: bool) -> None:
        """Write the environment, readable to the container's user: the directories above keep everybody else out."""
        os.makedirs(os.path.dirname(self.paths.secret_directory), mode=0o755, exist_ok=True)
        private_directory(os.path.dirname(self.paths.environment))
        os.chmod(self.paths.secret_directory, 0o700)
        write(self.paths.environment, to_shell(environment).encode(), 0o444)
        if engine_environment:
            write(self.paths.compose_environment, to_compose(environment).encode(), 0o400)

    def write_compose(self, text: str) -> None:
        """Write the compose file and the entry script it mounts."""
        os.makedirs(self.paths.directory, mode=0o755, exist_ok=True)
        write(self.paths.entry, ENTRY_SCRIPT.encode(), 0o555)
        write(self.paths.compose, text.encode(), 0o644)

    def seal(self, environment: dict[str, str], keeping: Keeping) -> None:
        """Encrypt the environment to this host, so that a boot needs no secret store.

        Where it came from one, the host is told how to get it again: the sources in clear, the environment with its
        placeholders encrypted, for it may hold other secrets.
        """
        name = f"{self.paths.app}-{self.paths.slot}"
        if keeping.sources:
            template = _encrypt(f"{name}-template", to_shell(keeping.template).encode())
            write(self.paths.template, template, 0o400)
            write(self.paths.sources, keeping.text(self.fingerprint_key()).encode(), 0o400)
        limit = time.time() + keeping.seconds if keeping.seconds else 0
        write(self.paths.sealed, _encrypt(name, to_shell(environment).encode(), limit), 0o400)
        if not keeping.sources:
            for path in (self.paths.sources, self.paths.template):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def sealed(self, keeping: Keeping) -> bool:
        """Whether a sealed copy exists that is kept this way."""
        wanted = keeping.text(self.fingerprint_key() if self.has_fingerprint_key() else b"")
        return os.path.exists(self.paths.sealed) and (read(self.paths.sources) or "") == wanted

    def remove(self) -> list[str]:
        """Remove every file of the slot; returns what was there."""
        paths = (
            self.paths.compose,
            self.paths.entry,
            self.paths.sealed,
            self.paths.sources,
            self.paths.template,
            self.paths.environment,
            self.paths.compose_environment,
        )
        removed = [path for path in paths if os.path.exists(path)]
        for path in removed:
            os.unlink(path)
        directory = self.paths.directory
        for empty in (directory, os.path.dirname(directory), os.path.dirname(self.paths.environment)):
            with contextlib.suppress(OSError):  # not there, or the app's other slot is
                os.rmdir(empty)
        return removed


def _encrypt(name: str, content: bytes, not_after: float = 0) -> bytes:
    """Encrypted with the host's key; after `not_after` systemd refuses to decrypt it."""
    command = ["systemd-creds", "encrypt", "--quiet", "--with-key=host", f"--name={name}"]
    command += [f"--not-after=@{int(not_after)}"] if not_after else []
    try:
        result = subprocess.run([*command, "-", "-"], input=content, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SealError(f"systemd-creds: {error}") from error
    if result.returncode != 0:
        raise SealError(f"systemd-creds: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout
