# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that open on one host only: files that systemd-creds encrypted to it. A credential's name is its file's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any, Protocol


class SealError(Exception):
    """What is wrong; never holds a secret."""


class Runner(Protocol):
    """The part of AnsibleModule used here."""

    def run_command(self, args: list[str], **options: Any) -> tuple[int, Any, Any]: ...


def tail(said: str | bytes) -> str:
    """The end of what a program said, in one line."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[-200:] or "no reason"


def write(path: str, data: bytes) -> None:
    """Replace a file that only root may read, or leave it as it was."""
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix=".", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def seal(runner: Runner, path: str, secret: bytes) -> None:
    """Encrypt to this host."""
    command = ["systemd-creds", "encrypt", "--quiet", f"--name={os.path.basename(path)}", "-", "-"]
    code, out, err = runner.run_command(command, data=secret, binary_data=True, encoding=None)
    if code != 0 or not out:
        raise SealError(f"systemd-creds cannot seal {path}: {tail(err)}")
    write(path, bytes(out))


def unseal(runner: Runner, path: str) -> bytes:
    """Decrypt what was sealed on this host."""
    command = ["systemd-creds", "decrypt", "--quiet", f"--name={os.path.basename(path)}", path, "-"]
    code, out, err = runner.run_command(command, encoding=None)
    if code != 0:
        raise SealError(f"{path} cannot be unsealed on this host: {tail(err)}")
    return bytes(out)
