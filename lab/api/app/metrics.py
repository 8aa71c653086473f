"""Prometheus metrics; with several workers they are merged through PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

disable_created_metrics()
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS = Counter("agent_api_http_requests_total", "Finished requests.", ["method", "route", "status"])
ERRORS = Counter("agent_api_http_errors_total", "Requests that ended in a 5xx or in an exception.", ["route"])
LATENCY = Histogram(
    "agent_api_http_request_duration_seconds",
    "Time until the answer was whole; streams excluded.",
    ["route"],
    buckets=BUCKETS,
)
IN_FLIGHT = Gauge("agent_api_http_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
SSE = Gauge("agent_api_sse_connections", "Open event streams.", multiprocess_mode="livesum")
WEBSOCKETS = Gauge("agent_api_websocket_connections", "Open WebSockets.", multiprocess_mode="livesum")
SESSIONS = Gauge("agent_api_sessions_active", "Sessions that exist.", multiprocess_mode="mostrecent")
DATABASE_USED = Gauge("agent_api_database_pool_used", "Database connections in use.", multiprocess_mode="livesum")
DATABASE_CAPACITY = Gauge("agent_api_database_pool_capacity", "Most database connections.", multiprocess_mode="livesum")
REDIS_USED = Gauge("agent_api_redis_pool_used", "Redis connections in use.", multiprocess_mode="livesum")
REDIS_CAPACITY = Gauge("agent_api_redis_pool_capacity", "Most Redis connections.", multiprocess_mode="livesum")
BREAKER_OPEN = Gauge(
    "agent_api_breaker_open", "1 while the circuit breaker is open.", ["dependency"], multiprocess_mode="livemax"
)
CACHE = Counter("agent_api_session_cache_total", "Session cache look-ups.", ["result"])
BUILD = Gauge("agent_api_build_info", "Always 1.", ["version", "revision", "slot"], multiprocess_mode="max")


def endpoint(_request: Request) -> Response:
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
