# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The port to an edge on this host: control socket and state files."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import tempfile
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._traffic import State, TrafficError
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_gate import GateError
from ansible_collections.signalbox.platform.plugins.module_utils._unix_http import UnixHttp, UnixHttpError

CONTROL_SOCKET = "/run/signalbox-edge/control.sock"
STATE_DIRECTORY = "/var/lib/signalbox/edge/state"
# nginx's workers read the states when they start.
GROUP = "www-data"


class UnknownApp(TrafficError):
    """The edge answers and has no such app."""


class EdgeHost:
    """Implements the port of _traffic with files and the control API."""

    def __init__(self, socket: str = CONTROL_SOCKET, directory: str = STATE_DIRECTORY, timeout: float = 10.0) -> None:
        self.http = UnixHttp(socket, timeout)
        self.socket = socket
        self.directory = directory

    def path(self, app: str) -> str:
        """Return the state file of an app."""
        return os.path.join(self.directory, f"{app}.json")

    def read_file(self, app: str) -> State | None:
        """Return the stored state; a file that is not valid counts as none and is replaced by the next change."""
        try:
            with open(self.path(app), encoding="utf-8") as file:
                state = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        return state if isinstance(state, dict) and isinstance(state.get("generation"), int) else None

    def write_file(self, app: str, state: State | None) -> None:
        """Write by temporary file, fsync and rename, so that a power cut leaves the old or the new state."""
        if state is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(app))
            self.sync_directory()
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{app}.", dir=self.directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(state, file, indent=2)
                file.write("\n")
                file.flush()
                with contextlib.suppress(KeyError):
                    os.fchown(file.fileno(), -1, grp.getgrnam(GROUP).gr_gid)
                os.fchmod(file.fileno(), 0o640)
                os.fsync(file.fileno())
            os.rename(temporary, self.path(app))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        self.sync_directory()

    def sync_directory(self) -> None:
        """Make a rename or a removal durable."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def call(self, method: str, target: str, body: Any | None = None) -> tuple[int, Any]:
        """Call the control API; TrafficError when it does not answer or does not know the app."""
        try:
            status, answer = self.http.request(method, target, body)
        except UnixHttpError as error:
            raise TrafficError(f"the edge does not answer on {self.socket}: {error}") from error
        if status == 404 and isinstance(answer, dict) and "apps" in answer:
            known = ", ".join(answer["apps"]) or "none"
            raise UnknownApp(
                f"the edge has no such app (it has: {known}); add it to edge_apps and run the role edge first"
            )
        return status, answer

    def read_memory(self, app: str) -> State | None:
        """Return the state in force."""
        status, answer = self.call("GET", f"/state/{app}")
        if status == 404:
            return None
        if status != 200:
            raise TrafficError(f"the edge answered {status}: {answer}")
        state: State = answer
        return state

    def write_memory(self, app: str, state: State | None) -> None:
        """Put a state in force."""
        status, answer = self.call("DELETE" if state is None else "PUT", f"/state/{app}", state)
        if status != 200:
            raise TrafficError(f"the edge refused the state ({status}): {answer.get('error', answer)}")

    def apps(self) -> list[str]:
        """Return the apps that the edge serves."""
        status, answer = self.call("GET", "/health")
        if status != 200:
            raise TrafficError(f"the edge is not healthy ({status}): {answer}")
        return list(answer["apps"])

    def counters(self, app: str) -> dict[str, Any]:
        """Return the counters of an app."""
        status, answer = self.call("GET", f"/counters/{app}")
        if status != 200:
            raise TrafficError(f"the edge answered {status}: {answer}")
        found: dict[str, Any] = answer
        return found

    def snapshot(self, app: str) -> dict[str, Any]:
        """Return the counters for a gate, which is patient with one missed read."""
        try:
            return self.counters(app)
        except TrafficError as error:
            raise GateError(str(error)) from error
