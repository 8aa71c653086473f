"""One pure ASGI layer around everything: correlation, metrics, access log, read-only mode, injected misbehaviour."""

from __future__ import annotations

import asyncio
import random
import time

import structlog
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import chaos, metrics, tracing
from app.settings import Settings
from app.state import State

log = structlog.get_logger()
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
# Asked by machines every few seconds: logged only when something is wrong with them.
QUIET = frozenset(("/health", "/metrics"))
PLAIN_ROUTES = frozenset(("/", "/health", "/metrics"))
# Not spoilt by injected errors: operators need them to see and to end the misbehaviour.
EXEMPT = frozenset(("/chaos", "/metrics"))
STREAM_ROUTES = frozenset(("/api/v1/query/stream", "/api/v1/sessions/{session_id}/events"))


class Observe:
    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.access_log = settings.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        context = tracing.enter(dict(scope["headers"]))
        scope["correlation_id"] = context.correlation_id
        extra = context.response_headers()
        began = time.perf_counter()
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), *extra]
            elif message["type"] == "websocket.close" and not status:
                status = 403  # Refused before the handshake.
            await send(message)

        shared: State = scope["app"].state.shared if "app" in scope else None  # type: ignore[assignment]
        metrics.IN_FLIGHT.inc()
        if shared:
            shared.connections.in_flight += 1
        try:
            await self.app(scope, receive, send_observed)
        except Exception:
            if status or scope["type"] != "http":
                raise
            # Answered here: an exception that reaches the server makes it close a connection that others may reuse.
            log.exception("unexpected_error")
            await JSONResponse({"detail": "internal error"}, 500)(scope, receive, send_observed)
        finally:
            metrics.IN_FLIGHT.dec()
            if shared:
                shared.connections.in_flight -= 1
            self._record(scope, status, time.perf_counter() - began)
            context.leave()

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        route = path if path in PLAIN_ROUTES else getattr(scope.get("route"), "path", "unmatched")
        method = scope.get("method", "WEBSOCKET")
        metrics.REQUESTS.labels(method, route, status).inc()
        if status >= 500:
            metrics.ERRORS.labels(route).inc()
        if method != "WEBSOCKET" and route not in STREAM_ROUTES:
            metrics.LATENCY.labels(route).observe(seconds)
        if status >= 500 or (self.access_log and path not in QUIET):
            log.info(
                "request",
                method=method,
                path=path,
                status=status,
                duration_milliseconds=round(seconds * 1000, 2),
                client=scope["client"][0] if scope.get("client") else None,
            )


class Misbehave:
    """Injected latency and errors (CHAOS_LATENCY_MILLISECONDS, CHAOS_ERROR_RATE)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        current = chaos.STATE
        if scope["type"] == "http" and scope["path"] not in EXEMPT:
            if current.latency_milliseconds:
                await asyncio.sleep(current.latency_milliseconds / 1000)
            if current.error_rate and scope["path"] != "/health" and random.random() < current.error_rate:
                await JSONResponse({"detail": "failure injected"}, 500)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class ReadOnly:
    """While data must not change, writes are refused at once and told when to come back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and scope["path"].startswith("/api/"):
            shared: State = scope["app"].state.shared
            if shared.read_only:
                headers = {"Retry-After": str(shared.settings.retry_after_seconds)}
                await JSONResponse({"detail": "read-only mode"}, 503, headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)
