# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The port to the keys of an edge on this host: control socket, the file on tmpfs, and its copy sealed to the host."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import subprocess
import tempfile
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._edge_keys import SUBSTANCE, Record, View
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import TrafficError
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_edge import CONTROL_SOCKET, GROUP, EdgeHost

KEYS_DIRECTORY = "/run/signalbox/edge/keys"
SEALED_DIRECTORY = "/var/lib/signalbox/edge/keys"
FILE_MODE, SEALED_MODE = 0o440, 0o400


class EdgeKeysHost:
    """Implements the port of _edge_keys."""

    def __init__(
        self,
        socket: str = CONTROL_SOCKET,
        keys_directory: str = KEYS_DIRECTORY,
        sealed_directory: str = SEALED_DIRECTORY,
        timeout: float = 10.0,
    ) -> None:
        self.edge = EdgeHost(socket, timeout=timeout)
        self.keys_directory = keys_directory
        self.sealed_directory = sealed_directory

    def path(self, app: str) -> str:
        """The file that nginx loads at its start."""
        return os.path.join(self.keys_directory, f"{app}.json")

    def sealed_path(self, app: str) -> str:
        """The copy that a boot restores the file from."""
        return os.path.join(self.sealed_directory, f"{app}.sealed")

    def stored(self, app: str) -> bool:
        """Whether both files are there."""
        return os.path.exists(self.path(app)) and os.path.exists(self.sealed_path(app))

    def read_file(self, app: str) -> Record | None:
        """Return the record; one that is not valid counts as none and is replaced by the next change."""
        try:
            with open(self.path(app), "rb") as stream:
                content = stream.read()
        except FileNotFoundError:
            content = self._unsealed(app)
        try:
            record = json.loads(content)
        except ValueError:
            return None
        whole = isinstance(record, dict) and all(name in record for name in (*SUBSTANCE, "generation", "salt"))
        return record if whole else None

    def _unsealed(self, app: str) -> bytes:
        """Content of the sealed copy, empty when there is none that this host can open."""
        if not os.path.exists(self.sealed_path(app)):
            return b""
        try:
            return self._credentials("decrypt", app, self.sealed_path(app))
        except TrafficError:
            return b""

    def _credentials(self, verb: str, app: str, source: str, content: bytes = b"", *more: str) -> bytes:
        command = ["systemd-creds", verb, *more, f"--name=edge-keys-{app}", source, "-"]
        try:
            done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TrafficError(f"systemd-creds: {error}") from error
        if done.returncode != 0:
            raise TrafficError(f"systemd-creds {verb}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def write_file(self, app: str, record: Record | None) -> None:
        """The sealed copy comes first: a file that is as wanted has its copy, wherever a run was killed."""
        if record is None:
            for path in (self.sealed_path(app), self.path(app)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            return
        content = json.dumps(record).encode()
        sealed = self._credentials("encrypt", app, "-", content, "--quiet", "--with-key=host")
        self._directories()
        replace_file(self.sealed_path(app), sealed, SEALED_MODE)
        replace_file(self.path(app), content, FILE_MODE, group_id())

    def _directories(self) -> None:
        """As the role edge makes them; keys may be put on a host before the role ran there."""
        for path, mode, group in (
            (os.path.dirname(self.keys_directory), 0o750, group_id()),
            (self.keys_directory, 0o750, group_id()),
            (self.sealed_directory, 0o700, 0),
        ):
            make_directory(path, mode, group)

    def read_memory(self, app: str) -> View | None:
        """Return what the edge shows of the keys in force."""
        status, answer = self.edge.call("GET", f"/keys/{app}")
        if status == 404 and "no keys" in str(answer.get("error")):
            return None
        return self._shown(status, answer)

    def write_memory(self, app: str, record: Record | None) -> None:
        """Put keys in force."""
        self._shown(*self.edge.call("DELETE" if record is None else "PUT", f"/keys/{app}", record))

    def _shown(self, status: int, answer: Any) -> View:
        if status == 404:
            raise TrafficError("the edge knows nothing of keys; run the role edge, or put the files in place only")
        if status != 200:
            raise TrafficError(f"the edge answered {status}: {answer.get('error', 'no reason given')}")
        view: View = answer
        return view


def group_id() -> int:
    """The group of nginx's workers, which load the keys."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return -1


def make_directory(path: str, mode: int, group: int) -> None:
    """A directory that is not there yet, and its parents, whatever the umask."""
    if os.path.isdir(path):
        return
    make_directory(os.path.dirname(path), 0o755, -1)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    os.chown(path, -1, group)
    os.chmod(path, mode)


def replace_file(path: str, content: bytes, mode: int, group: int = -1) -> None:
    """Replace a file: a reader sees the old or the new one, even after a power cut, and nobody else sees either."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchown(stream.fileno(), -1, group)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
