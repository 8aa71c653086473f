# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP over a unix socket, with the standard library alone: targets need no package for it."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any


class UnixHTTPConnection(http.client.HTTPConnection):
    """An http.client connection whose transport is a unix socket."""

    def __init__(self, path: str, host: str = "localhost", timeout: float = 10.0) -> None:
        super().__init__(host, timeout=timeout)
        self.unix_path = path

    def connect(self) -> None:
        """Connect to the socket file in place of a host."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self.unix_path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


class UnixHttpError(Exception):
    """The socket did not answer, or not with JSON."""


class UnixHttp:
    """JSON requests to one unix socket; every request has a connection of its own."""

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self.path = path
        self.timeout = timeout

    def request(self, method: str, target: str, body: Any | None = None) -> tuple[int, Any]:
        """Return status and decoded body; UnixHttpError when there is no usable answer."""
        connection = UnixHTTPConnection(self.path, timeout=self.timeout)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            status, raw = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnixHttpError(f"{method} {target} on {self.path}: {error}") from error
        finally:
            connection.close()
        try:
            return status, json.loads(raw)
        except ValueError as error:
            raise UnixHttpError(f"{method} {target} on {self.path}: status {status}, body is not JSON") from error
