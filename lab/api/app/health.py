"""/health: the service's state and that of each dependency, asked afresh."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from app import chaos, state
from app.dependencies import Dependency

DISK_FREE_LEAST_PERCENT = 2.0
CGROUP = Path("/sys/fs/cgroup")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def probe(dependency: Dependency, ask: Callable[[], Awaitable[str | None]], seconds: float) -> dict[str, Any]:
    """Ask past the circuit breaker: the health of a dependency is not that of the breaker."""
    began = time.perf_counter()
    try:
        if chaos.STATE.fail_dependency == dependency.name:
            raise ConnectionError("failure injected")
        async with asyncio.timeout(seconds):
            version = await ask()
    except Exception as error:  # Whatever goes wrong here is the answer.
        elapsed = round((time.perf_counter() - began) * 1000, 2)
        return {"status": "error", "latency_ms": elapsed, "version": None, "error": type(error).__name__}
    return {"status": "ok", "latency_ms": round((time.perf_counter() - began) * 1000, 2), "version": version}


def disk() -> dict[str, Any]:
    usage = shutil.disk_usage("/")
    free = round(100 * usage.free / usage.total, 1)
    status = "ok" if free >= DISK_FREE_LEAST_PERCENT else "error"
    return {"status": status, "total_bytes": usage.total, "free_bytes": usage.free, "free_percent": free}


def _number(*candidates: str) -> int | None:
    for name in candidates:
        try:
            return int((CGROUP / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def memory() -> dict[str, Any]:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    return {
        "process_bytes": resident,
        "container_bytes": _number("memory.current", "memory/memory.usage_in_bytes"),
        "limit_bytes": _number("memory.max", "memory/memory.limit_in_bytes"),
    }


def verdict(dependencies: dict[str, dict[str, Any]], disk_status: str) -> str:
    """Without PostgreSQL or told never to be healthy: error. Without Redis or disk room: degraded."""
    if chaos.STATE.never_healthy or dependencies["postgres"]["status"] != "ok":
        return "error"
    if dependencies["redis"]["status"] != "ok" or disk_status != "ok":
        return "degraded"
    return "ok"


def connections(shared: state.State) -> dict[str, Any]:
    return {
        "in_flight": shared.connections.in_flight,
        "sse": shared.connections.sse,
        "websocket": shared.connections.websocket,
        "postgres": {"used": shared.database.used, "capacity": shared.database.capacity},
        "redis": {"used": shared.cache.used, "capacity": shared.cache.capacity},
    }


async def endpoint(request: Request) -> JSONResponse:
    shared = state.of(request)
    seconds = shared.settings.dependency_timeout_seconds
    postgres, redis = await asyncio.gather(
        probe(shared.database.dependency, shared.database.probe, seconds),
        probe(shared.cache.dependency, shared.cache.probe, seconds),
    )
    dependencies = {"postgres": postgres, "redis": redis}
    room = disk()
    status = verdict(dependencies, room["status"])
    breakers = {item.name: item.report() for item in (shared.database.dependency, shared.cache.dependency)}
    worst = next((s for s in ("open", "half_open") if any(b["state"] == s for b in breakers.values())), "closed")
    body = {
        "status": status,
        "version": shared.version,
        "revision": shared.settings.app_revision,
        "slot": shared.settings.signalbox_slot,
        "uptime_seconds": round(time.monotonic() - shared.started, 1),
        "read_only": shared.read_only,
        "dependencies": dependencies,
        "disk": room,
        "memory": memory(),
        "connections": connections(shared),
        "breaker": {"state": worst, **breakers},
    }
    return JSONResponse(body, 200 if status == "ok" else 503, {"Cache-Control": "no-store"})
