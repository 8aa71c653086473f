# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Port to the container engine: its API over the Unix socket, a few milliseconds where the command line takes fifty."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._compose import (
    Command,
    Container,
    EngineLimits,
    container_of,
)
from ansible_collections.signalbox.platform.plugins.module_utils._unix_http import UnixHTTPConnection

SOCKET = "/run/docker.sock"


class EngineError(Exception):
    """The engine could not be asked, or refused."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """The few calls the platform needs."""

    def __init__(self, socket_path: str = SOCKET, timeout_seconds: float = 30.0) -> None:
        self._socket_path = socket_path
        self._timeout_seconds = timeout_seconds

    def _request(self, method: str, path: str, timeout_seconds: float | None = None) -> tuple[int, bytes]:
        connection = UnixHTTPConnection(self._socket_path, timeout=timeout_seconds or self._timeout_seconds)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(
                f"the container engine does not answer on {self._socket_path}: {error}; see `systemctl status docker`"
            ) from error
        finally:
            connection.close()

    def _call(self, method: str, path: str, timeout_seconds: float | None = None) -> Any:
        status, body = self._request(method, path, timeout_seconds)
        if status >= 400:
            raise EngineError(_message(body), status)
        return json.loads(body) if body.strip() else None

    def _find(self, path: str) -> Any:
        try:
            return self._call("GET", path)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def info(self) -> tuple[EngineLimits, str]:
        """Limits the kernel enforces, and the directory images lie in."""
        answer = self._call("GET", "/info")
        cpus = bool(answer.get("CpuCfsQuota")) and bool(answer.get("CpuCfsPeriod"))
        limits = EngineLimits(cpus=cpus, memory=bool(answer.get("MemoryLimit")), pids=bool(answer.get("PidsLimit")))
        return limits, str(answer["DockerRootDir"])

    def container(self, name: str) -> Container | None:
        """One container by name or id."""
        answer = self._find(f"/containers/{_quoted(name)}/json")
        return None if answer is None else container_of(answer)

    def image_command(self, image: str) -> Command | None:
        """What an image runs by itself; None when the image is not here."""
        answer = self._find(f"/images/{_quoted(image)}/json")
        if answer is None:
            return None
        config = answer.get("Config") or {}
        return Command(tuple(config.get("Entrypoint") or ()), tuple(config.get("Cmd") or ()))

    def containers_with(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of all containers, running or not, that carry all these labels."""
        filters = json.dumps({"label": [f"{name}={value}" for name, value in sorted(labels.items())]})
        answer = self._call("GET", f"/containers/json?all=1&filters={_quoted(filters)}")
        return [container["Id"] for container in answer]

    def start(self, name: str) -> None:
        """Start a container that exists."""
        self._call("POST", f"/containers/{_quoted(name)}/start")

    def stop(self, name: str, timeout_seconds: int) -> None:
        """Stop: SIGTERM, and SIGKILL when the time is over."""
        self._call(
            "POST", f"/containers/{_quoted(name)}/stop?t={timeout_seconds}", timeout_seconds + self._timeout_seconds
        )

    def remove(self, name: str) -> None:
        """Remove a container at once, running or not; no error when it is gone."""
        try:
            self._call("DELETE", f"/containers/{_quoted(name)}?force=1&v=1")
        except EngineError as error:
            # 409: the engine is removing it already.
            if error.status not in (404, 409):
                raise

    def remove_network(self, name: str) -> None:
        """Remove a network; no error when it is gone or in use."""
        self._ignore("DELETE", f"/networks/{_quoted(name)}")

    def remove_image(self, image: str) -> bool:
        """Remove an image; False when it is gone or in use."""
        return self._ignore("DELETE", f"/images/{_quoted(image)}")

    def _ignore(self, method: str, path: str) -> bool:
        try:
            self._call(method, path)
        except EngineError as error:
            if error.status not in (403, 404, 409):
                raise
            return False
        return True

    def log_lines(self, name: str, lines: int) -> list[str]:
        """Last lines a container wrote, or the reason why they are not to be had."""
        try:
            status, body = self._request("GET", f"/containers/{_quoted(name)}/logs?stdout=1&stderr=1&tail={lines}")
        except EngineError as error:
            return [f"(no log: {error})"]
        if status >= 400:
            return [f"(no log: {_message(body)})"]
        return demultiplex(body).decode(errors="replace").splitlines()[-lines:]


def demultiplex(body: bytes) -> bytes:
    """Strip the frame headers the engine puts before each piece of output (stream, three zeros, length)."""
    output = bytearray()
    position = 0
    while position + 8 <= len(body) and body[position] in (0, 1, 2) and body[position + 1 : position + 4] == b"\0\0\0":
        length = int.from_bytes(body[position + 4 : position + 8], "big")
        output += body[position + 8 : position + 8 + length]
        position += 8 + length
    return bytes(output + body[position:])


def _quoted(text: str) -> str:
    # The engine routes on the raw path: an image keeps its slashes.
    return urllib.parse.quote(text, safe="/:@")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:500]
