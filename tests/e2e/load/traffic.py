"""The requests that are sent, and what a right answer to each looks like."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from . import http1
from .http1 import Answer
from .keys import Keys
from .options import Options
from .recorder import Fault

BODY = b'{"prompt":"what is the answer"}'


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    number: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    token: str = ""

    def http1(self, host: str) -> bytes:
        return http1.render(self.method, self.path, [("host", host), *self.headers], self.body)

    def http2(self, host: str) -> list[tuple[str, str]]:
        pseudo = [(":method", self.method), (":scheme", "https"), (":authority", host), (":path", self.path)]
        return [*pseudo, *self.headers]


class Traffic:
    def __init__(self, options: Options) -> None:
        self._options = options
        cycle = [kind for kind, share in options.mix for _ in range(share)]
        random.Random(0).shuffle(cycle)
        self._cycle = cycle
        self.keys = Keys(options)
        self.sent = 0
        self._posts = 0

    def next(self) -> Request:
        self.sent += 1
        kind = self._cycle[self.sent % len(self._cycle)]
        if kind == "get":
            return Request(kind, self.sent, "GET", "/", self.keys.header(), b"")
        if kind == "health":
            return Request(kind, self.sent, "GET", self._options.health_path, (), b"")
        self._posts += 1
        token = f"{self._options.run}:{self._posts}"
        headers = (*self.keys.header(), ("content-type", "application/json"), ("x-request-token", token))
        return Request(kind, self.sent, "POST", "/api/v1/query", headers, BODY, token)

    def stream(self, number: int) -> Request:
        options = self._options
        body = {"prompt": "stream", "seconds": options.stream_seconds, "interval": options.stream_interval}
        headers = (*self.keys.header(), ("content-type", "application/json"), ("accept", "text/event-stream"))
        return Request("stream", number, "POST", "/api/v1/query/stream", headers, json.dumps(body).encode())

    def executions(self) -> Request:
        return Request("executions", 0, "GET", f"/api/v1/runs/{self._options.run}", self.keys.header(), b"")

    def check(self, request: Request, answer: Answer) -> str:
        """Returns the version that answered, or raises what is wrong."""
        if answer.status != 200:
            kind = "status_5xx" if answer.status >= 500 else "status"
            raise Fault(kind, f"{answer.status} {answer.body[:200].decode(errors='replace')}")
        try:
            body = json.loads(answer.body)
            version = body["version"]
            right = isinstance(version, str) and (
                (request.kind == "get" and body["service"] == self._options.service)
                or (request.kind == "post" and body["request_token"] == request.token)
                or (request.kind == "health" and body["status"] == "ok")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Fault("shape", f"{error!r} in {answer.body[:200]!r}") from error
        if not right:
            raise Fault("shape", f"{request.kind}: {answer.body[:200]!r}")
        return str(version)
