"""PostgreSQL and Redis behind circuit breakers: a failed dependency is retried shortly, then refused fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from circuitbreaker import STATE_CLOSED, CircuitBreaker

from app import chaos, metrics

T = TypeVar("T")
log = structlog.get_logger()

# About 2.5 s in all: long enough for a restart of the service asked.
BACKOFF_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.0)


class DependencyUnavailable(Exception):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is unavailable: {reason}")
        self.name = name


class Dependency:
    def __init__(
        self,
        name: str,
        is_outage: Callable[[BaseException], bool],
        timeouts: tuple[type[BaseException], ...],
        failures: int,
        recovery_seconds: int,
    ) -> None:
        self.name = name
        self.is_outage = is_outage
        self.timeouts = timeouts
        self.breaker = CircuitBreaker(
            failure_threshold=failures,
            recovery_timeout=recovery_seconds,
            expected_exception=lambda _type, error: is_outage(error),
            name=name,
        )

    async def call(self, operation: Callable[[], Awaitable[T]], *, retry: bool = True) -> T:
        """Run an operation; `retry` only where running it twice does no harm."""
        if chaos.STATE.fail_dependency == self.name:
            raise DependencyUnavailable(self.name, "failure injected")
        if self.breaker.opened:
            raise DependencyUnavailable(self.name, "circuit breaker open")
        try:
            backoff = BACKOFF_SECONDS if retry else ()
            answer: T = await self.breaker.call_async(self._attempts, operation, backoff)
            return answer
        except Exception as error:
            if not self.is_outage(error):
                raise
            log.warning(
                "dependency_failed",
                dependency=self.name,
                error=f"{type(error).__name__}: {error}",
                breaker=self.breaker.state,
            )
            raise DependencyUnavailable(self.name, type(error).__name__) from error
        finally:
            metrics.BREAKER_OPEN.labels(self.name).set(0 if self.breaker.closed else 1)

    async def _attempts(self, operation: Callable[[], Awaitable[T]], backoff: tuple[float, ...]) -> T:
        for pause in backoff:
            try:
                return await operation()
            except Exception as error:
                # After a timeout the operation may have been carried out, and the caller has waited enough. While
                # the breaker is not closed one try is enough: the next request asks again.
                if isinstance(error, self.timeouts) or not self.is_outage(error) or self.breaker.state != STATE_CLOSED:
                    raise
                await asyncio.sleep(pause)
        return await operation()

    def report(self) -> dict[str, object]:
        return {"state": self.breaker.state, "failures": self.breaker.failure_count}
