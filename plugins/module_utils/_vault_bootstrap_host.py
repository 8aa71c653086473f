# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bootstrap's port to its host: sealed credentials, the record of the bootstrap, handouts, PGP, units."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._sealed import (
    Runner,
    SealError,
    seal,
    tail,
    unseal,
    write,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError, key_bytes


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Host:
    """What the bootstrap does to the machine it runs on."""

    def __init__(self, runner: Runner, directory: str, unit: str) -> None:
        self._runner, self.directory, self.unit = runner, directory, unit
        self.record_path = os.path.join(directory, "bootstrap.json")

    # The record of the bootstrap

    def record(self) -> dict[str, Any]:
        try:
            with open(self.record_path, encoding="utf-8") as file:
                return dict(json.load(file))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise BootstrapError(f"{self.record_path} is damaged ({error}); restore it or remove it.") from None

    def write_record(self, **values: str) -> None:
        write(self.record_path, (json.dumps({**self.record(), **values}, indent=2) + "\n").encode())

    # Sealed credentials

    def seal(self, path: str, secret: bytes) -> None:
        try:
            seal(self._runner, path, secret)
        except SealError as error:
            raise BootstrapError(str(error)) from None

    def unseal(self, path: str) -> bytes:
        try:
            return unseal(self._runner, path)
        except SealError as error:
            raise BootstrapError(str(error)) from None

    # Handouts

    def keep_handouts(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            write(os.path.join(self.directory, "handout", f"{name}.json"), text.encode())

    def handouts(self) -> dict[str, str]:
        directory, found = os.path.join(self.directory, "handout"), {}
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if name.endswith(".json") and not name.startswith("."):
                with open(os.path.join(directory, name), encoding="utf-8") as file:
                    found[name[: -len(".json")]] = file.read()
        return found

    def encrypt(self, keys: Mapping[str, str], secret: bytes) -> dict[str, str]:
        """The secret in base64 for each holder alone, as base64 of a PGP message; key rings live and die in memory."""
        return {name: self._encrypt(name, text, secret) for name, text in keys.items()}

    def _encrypt(self, name: str, text: str, secret: bytes) -> str:
        home = tempfile.mkdtemp(dir="/run" if os.access("/run", os.W_OK) else None)
        key = os.path.join(home, "holder.key")
        try:
            write(key, key_bytes(text))
            command = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart", "--trust-model", "always"]
            command += ["--recipient-file", key, "--encrypt"]
            code, out, err = self._runner.run_command(
                command, data=base64.b64encode(secret).decode(), encoding=None, binary_data=True
            )
            if code != 0:
                raise BootstrapError(f"vault_pgp_keys.{name}: gpg cannot encrypt to it: {tail(err)}")
            return base64.b64encode(bytes(out)).decode()
        finally:
            shutil.rmtree(home, ignore_errors=True)

    # The server's unit and storage

    def systemctl(self, verb: str) -> None:
        code, _out, err = self._runner.run_command(["systemctl", verb, self.unit])
        if code != 0:
            raise BootstrapError(f"systemctl {verb} {self.unit} failed: {tail(err)}; see journalctl --unit {self.unit}")

    def empty(self, storage: str) -> None:
        """Only what raft itself wrote, below the storage's own directory."""
        self.systemctl("stop")
        for name in ("raft", "vault.db"):
            path = os.path.join(storage, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.record_path)
        self.systemctl("start")
