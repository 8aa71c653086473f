"""Redis: cached sessions, events of a session (pub/sub), the read-only switch."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app import metrics, tracing
from app.dependencies import Dependency, DependencyUnavailable
from app.settings import Settings

SESSION_SECONDS = 60


def is_outage(error: BaseException) -> bool:
    return isinstance(error, (OSError, TimeoutError, RedisConnectionError, RedisTimeoutError, BusyLoadingError))


class Cache:
    def __init__(self, settings: Settings) -> None:
        url = settings.redis_url.get_secret_value()
        tls: dict[str, Any] = {}
        if url.startswith("rediss://"):
            tls = {"ssl_ca_certs": settings.signalbox_ca_file, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        self.capacity = settings.redis_pool_size
        self.prefix = settings.redis_prefix
        # One immediate retry replaces a connection that went stale in the pool; longer outages are retried
        # by the dependency, with pauses.
        self.pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=self.capacity,
            timeout=settings.dependency_timeout_seconds,
            socket_timeout=settings.dependency_timeout_seconds,
            socket_connect_timeout=settings.dependency_timeout_seconds,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            decode_responses=False,
            **tls,
        )
        self.redis: Redis = Redis(connection_pool=self.pool)
        self.dependency = Dependency(
            "redis",
            is_outage,
            (TimeoutError, RedisTimeoutError),
            settings.breaker_failures,
            settings.breaker_recovery_seconds,
        )
        self.version: str | None = None

    @property
    def used(self) -> int:
        counts = self.pool.get_connection_count()
        return sum(count for count, attributes in counts if "used" in attributes.values())

    def key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    async def probe(self) -> str | None:
        await self.redis.ping()
        if self.version is None:
            try:
                self.version = str((await self.redis.info("server"))["redis_version"])
            except (NoPermissionError, AuthenticationError, KeyError):
                return None
        return self.version

    async def read_only(self) -> bool:
        value = await self.dependency.call(lambda: self.redis.get(self.key("read_only")), retry=False)
        return value is not None and value.lower() in (b"1", b"true", b"yes", b"on")

    async def get_session(self, session_id: uuid.UUID) -> dict[str, Any] | None:
        """A cache is an aid: when it cannot answer, the database does."""
        try:
            raw = await self.dependency.call(lambda: self.redis.get(self.key("session", str(session_id))), retry=False)
        except DependencyUnavailable:
            metrics.CACHE.labels("unavailable").inc()
            return None
        metrics.CACHE.labels("hit" if raw else "miss").inc()
        return orjson.loads(raw) if raw else None

    async def put_session(self, session: dict[str, Any]) -> None:
        key, value = self.key("session", str(session["id"])), orjson.dumps(session)
        await self._best_effort(lambda: self.redis.set(key, value, ex=SESSION_SECONDS))

    async def forget_session(self, session_id: uuid.UUID) -> None:
        await self._best_effort(lambda: self.redis.delete(self.key("session", str(session_id))))

    async def publish(self, session_id: uuid.UUID, event: str, data: dict[str, Any]) -> None:
        message = orjson.dumps({"event": event, "data": data, "trace": tracing.outgoing_headers()})
        await self._best_effort(lambda: self.redis.publish(self.key("events", str(session_id)), message))

    async def _best_effort(self, operation: Any) -> None:
        with contextlib.suppress(DependencyUnavailable):
            await self.dependency.call(operation, retry=False)

    async def events(self, session_id: uuid.UUID, seconds: float) -> AsyncIterator[dict[str, Any] | None]:
        """Events of a session as they are published; None about every 15 s, for a keep-alive comment."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await self.dependency.call(lambda: subscription.subscribe(self.key("events", str(session_id))))
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                message = await subscription.get_message(timeout=min(left, 15.0))
                if message is None:
                    yield None
                elif message["type"] == "message":
                    yield orjson.loads(message["data"])

    async def close(self) -> None:
        await self.redis.aclose()
        await self.pool.disconnect()
