# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Port of the health gate: asks the endpoints side by side, watches the container, and writes the report."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import http.client
import socket
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils import _health as health
from ansible_collections.signalbox.platform.plugins.module_utils._compose import Container
from ansible_collections.signalbox.platform.plugins.module_utils._unix_http import UnixHTTPConnection

_BODY_LIMIT = 2**20
TIMELINE_LIMIT = 1000


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the endpoints are: a base URL, or a Unix socket."""

    base_url: str = ""
    unix_socket: str = ""
    host: str = ""
    ca_file: str = ""

    def url(self, path: str) -> str:
        """A path's full address, for reports and requests."""
        return f"{self.base_url.rstrip('/')}{path}" if self.base_url else f"unix:{self.unix_socket}:{path}"


class _NamedHTTPSConnection(http.client.HTTPSConnection):
    """TLS to an address, by the name in its certificate."""

    def __init__(self, host: str, port: int, name: str, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._name = name
        self._named_context = context

    def connect(self) -> None:
        """Connect, then shake hands under the given name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._named_context.wrap_socket(self.sock, server_hostname=self._name)


def _connect(target: Target, timeout_seconds: float) -> tuple[http.client.HTTPConnection, str]:
    if target.unix_socket:
        return UnixHTTPConnection(target.unix_socket, timeout=timeout_seconds), ""
    parts = urllib.parse.urlsplit(target.base_url)
    host = parts.hostname or ""
    prefix = parts.path.rstrip("/")
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=target.ca_file or None)
        name = target.host.partition(":")[0] or host
        return _NamedHTTPSConnection(host, parts.port or 443, name, timeout_seconds, context), prefix
    return http.client.HTTPConnection(host, parts.port or 80, timeout=timeout_seconds), prefix


def _read(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, until: float) -> bytes:
    """Read the body within what is left of the time: a socket's own timeout begins anew with each byte."""
    body = b""
    while len(body) < _BODY_LIMIT:
        left = until - time.monotonic()
        if left <= 0:
            raise socket.timeout("the body did not end in time")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = response.read1(65536)
        if not chunk:
            break
        body += chunk
    return body


def _failure(error: Exception, timeout_seconds: float) -> tuple[str, str]:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "timeout", f"no complete answer within {timeout_seconds:g} s"
    if isinstance(error, ssl.SSLError):
        return "tls", f"TLS: {getattr(error, 'verify_message', '') or error}"
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return "refused", "connection refused" if isinstance(error, ConnectionRefusedError) else "no such socket"
    return "network", f"{type(error).__name__}: {error}"


def ask(target: Target, endpoint: health.Endpoint, timeout_seconds: float) -> health.Answer:
    """One request; whatever happens to it is an answer."""
    since = time.monotonic()
    connection: http.client.HTTPConnection | None = None
    headers = {
        "User-Agent": "signalbox-health",
        "Accept": "application/json, */*",
        "Connection": "close",
        **endpoint.headers,
    }
    if target.host:
        headers.setdefault("Host", target.host)
    try:
        connection, prefix = _connect(target, timeout_seconds)
        connection.request(
            endpoint.method, prefix + endpoint.path, body=endpoint.body.encode() or None, headers=headers
        )
        response = connection.getresponse()
        body = _read(response, connection, since + timeout_seconds)
        return health.Answer(response.status, body, (time.monotonic() - since) * 1000)
    except (OSError, http.client.HTTPException) as error:
        kind, text = _failure(error, timeout_seconds)
        return health.Answer(0, b"", (time.monotonic() - since) * 1000, kind, text)
    finally:
        if connection is not None:
            connection.close()


class EnginePort(Protocol):
    """What the gate asks of the engine."""

    def container(self, name: str) -> Container | None: ...
    def log_lines(self, name: str, lines: int) -> list[str]: ...


@dataclasses.dataclass
class Probe:
    """One gate at work."""

    target: Target
    endpoints: Sequence[health.Endpoint]
    settings: health.Settings
    version: str = ""
    timeout_seconds: float = 5.0
    container: str = ""
    engine: EnginePort | None = None
    log_lines: int = 30
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    ask: Callable[[Target, health.Endpoint, float], health.Answer] = ask
    timeline: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    last: dict[str, tuple[health.Answer, health.Verdict]] = dataclasses.field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Ask until the gate decides; returns the report."""
        gate = health.Gate(self.settings)
        since = self.clock()
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(self.endpoints))) as pool:
            while not gate.decision:
                begun = self.clock()
                self._watch(gate)
                verdicts = self._round(pool, max(0.1, self.settings.deadline_seconds - (begun - since)))
                # The container may have ended while it was asked: that is the better reason.
                self._watch(gate)
                now = self.clock()
                gate.observe_round(now - since, verdicts)
                if not gate.decision:
                    self.sleep(gate.pause(now - since, now - begun))
        return self._report(gate, self.clock() - since)

    def _watch(self, gate: health.Gate) -> None:
        if not self.container or self.engine is None or gate.decision:
            return
        found = self.engine.container(self.container)
        state = None
        if found is not None:
            state = health.ContainerState(
                found.status, found.exit_code, found.out_of_memory, found.restart_count, found.started_at, found.error
            )
        gate.observe_container(self.container, state)

    def _round(self, pool: concurrent.futures.Executor, left_seconds: float) -> list[health.Verdict]:
        timeout_seconds = min(self.timeout_seconds, left_seconds)
        asked = [pool.submit(self.ask, self.target, endpoint, timeout_seconds) for endpoint in self.endpoints]
        verdicts = []
        for endpoint, future in zip(self.endpoints, asked):
            answer = future.result()
            verdict = health.judge(endpoint, answer, self.version)
            self.last[endpoint.name] = (answer, verdict)
            verdicts.append(verdict)
            self._record(endpoint, answer, verdict)
        return verdicts

    def _record(self, endpoint: health.Endpoint, answer: health.Answer, verdict: health.Verdict) -> None:
        if len(self.timeline) >= TIMELINE_LIMIT:
            return
        self.timeline.append(
            {
                "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
                "endpoint": endpoint.name,
                "status": answer.status,
                "milliseconds": round(answer.milliseconds, 1),
                "ok": verdict.ok,
                "reason": verdict.reason,
            }
        )

    def _report(self, gate: health.Gate, seconds: float) -> dict[str, Any]:
        passed = gate.decision == "passed"
        report: dict[str, Any] = {
            "verdict": gate.decision,
            "kind": gate.kind,
            "reason": gate.reason,
            "advice": "" if passed else health.advice(gate.kind),
            "seconds": round(seconds, 3),
            "rounds": gate.rounds,
            "in_a_row": gate.in_a_row,
            "consecutive": self.settings.consecutive,
            "timeline": self.timeline,
            "last": [self._last(endpoint) for endpoint in self.endpoints if endpoint.name in self.last],
            "container": None if passed else self._container(),
        }
        return report

    def _last(self, endpoint: health.Endpoint) -> dict[str, Any]:
        answer, verdict = self.last[endpoint.name]
        return {
            "method": endpoint.method,
            "url": self.target.url(endpoint.path),
            "status": answer.status,
            "milliseconds": round(answer.milliseconds, 1),
            "ok": verdict.ok,
            "reason": verdict.reason,
            "body": health.shown(answer.body),
        }

    def _container(self) -> dict[str, Any] | None:
        if not self.container or self.engine is None:
            return None
        found = self.engine.container(self.container)
        return {
            "name": self.container,
            "status": "" if found is None else found.status,
            "exit_code": 0 if found is None else found.exit_code,
            "oom_killed": found is not None and found.out_of_memory,
            "restart_count": 0 if found is None else found.restart_count,
            "log": [] if found is None else self.engine.log_lines(self.container, self.log_lines),
        }
