"""The application: routes, middleware, start and stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import JSONResponse, Response

from app import chaos, health, logs, metrics, queries, sessions, state, streams
from app.auth import require_key
from app.dependencies import DependencyUnavailable
from app.middleware import Misbehave, Observe, ReadOnly
from app.settings import get_settings

SERVICE = "claude-agent-api"
log = structlog.get_logger()


def die_after(seconds: float) -> None:
    if seconds > 0:
        asyncio.get_running_loop().call_later(seconds, os._exit, 1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    shared = state.State.build(get_settings())
    app.state.shared = shared
    await asyncio.sleep(chaos.STATE.start_delay_seconds)
    die_after(chaos.STATE.exit_after_seconds)
    shared.describe()
    watch = asyncio.create_task(shared.watch())
    log.info("started", version=shared.version, revision=shared.settings.app_revision)
    yield
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await shared.close()
    log.info("stopped")


async def root(request: Request) -> Response:
    body = f'{{"service":"{SERVICE}","version":"{state.of(request).version}"}}'
    return Response(body, media_type="application/json")


async def unavailable(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": str(state.of(request).settings.retry_after_seconds)}
    return JSONResponse({"detail": str(error)}, 503, headers)


async def read_chaos(_request: Request) -> chaos.Chaos:
    return chaos.STATE


async def change_chaos(change: chaos.ChaosChange) -> chaos.Chaos:
    """Changes this worker alone."""
    if not chaos.STATE.enabled:
        raise HTTPException(403, "start the service with CHAOS_ENABLED=true to allow this")
    for name, value in change.model_dump(exclude_none=True).items():
        setattr(chaos.STATE, name, value)
    die_after(change.exit_after_seconds or 0)
    log.warning("misbehaviour_changed", **change.model_dump(exclude_none=True))
    return chaos.STATE


def create_app() -> FastAPI:
    settings = get_settings()
    logs.configure(settings.log_level)
    app = FastAPI(title="Claude Agent API", version=settings.app_version, lifespan=lifespan)
    # Plain routes: no parsing, no validation, for what is asked most often.
    app.add_route("/", root, ["GET", "HEAD"])
    app.add_route("/health", health.endpoint, ["GET", "HEAD"])
    app.add_route("/metrics", metrics.endpoint, ["GET"])
    app.add_api_route("/chaos", read_chaos, methods=["GET"], dependencies=[Depends(require_key)])
    app.add_api_route("/chaos", change_chaos, methods=["POST"], dependencies=[Depends(require_key)])
    for router in (queries.router, streams.router, sessions.router):
        app.include_router(router)
    app.add_exception_handler(DependencyUnavailable, unavailable)
    # The last one added is the outermost.
    app.add_middleware(ReadOnly)
    app.add_middleware(Misbehave)
    app.add_middleware(Observe, settings=settings)
    return app


app = create_app()
