"""What one worker shares between its requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, select
from starlette.requests import HTTPConnection

from app import chaos, metrics
from app.cache import Cache
from app.db import Database
from app.dependencies import DependencyUnavailable
from app.executions import Executions
from app.models import AgentSession
from app.settings import Settings

log = structlog.get_logger()
SESSIONS_COUNTED_EVERY_TICKS = 15


@dataclass
class Connections:
    in_flight: int = 0
    sse: int = 0
    websocket: int = 0


@dataclass
class State:
    settings: Settings
    database: Database
    cache: Cache
    executions: Executions
    started: float = field(default_factory=time.monotonic)
    connections: Connections = field(default_factory=Connections)
    read_only: bool = False

    @classmethod
    def build(cls, settings: Settings) -> State:
        cache = Cache(settings)
        return cls(settings, Database(settings), cache, Executions(cache), read_only=settings.read_only)

    @property
    def version(self) -> str:
        return chaos.STATE.version or self.settings.app_version

    async def watch(self) -> None:
        """Once a second: the read-only switch and the gauges that nothing else moves."""
        tick = 0
        while True:
            try:
                if not self.settings.read_only:
                    self.read_only = await self.cache.read_only()
            except DependencyUnavailable:
                pass  # The last known value holds.
            metrics.DATABASE_USED.set(self.database.used)
            metrics.REDIS_USED.set(self.cache.used)
            if tick % SESSIONS_COUNTED_EVERY_TICKS == 0:
                await self._count_sessions()
            tick += 1
            await asyncio.sleep(1)

    async def _count_sessions(self) -> None:
        async def count() -> int:
            async with self.database.sessions() as session:
                return (await session.execute(select(func.count()).select_from(AgentSession))).scalar_one()

        try:
            metrics.SESSIONS.set(await self.database.dependency.call(count, retry=False))
        except DependencyUnavailable:
            pass
        except Exception as error:  # A gauge must not end the watch: the table may not be there yet.
            log.warning("sessions_not_counted", error=type(error).__name__)

    def describe(self) -> None:
        metrics.BUILD.labels(self.version, self.settings.app_revision, self.settings.signalbox_slot).set(1)
        metrics.DATABASE_CAPACITY.set(self.database.capacity)
        metrics.REDIS_CAPACITY.set(self.cache.capacity)

    async def close(self) -> None:
        await self.cache.close()
        await self.database.close()


def of(connection: HTTPConnection) -> State:
    state: State = connection.app.state.shared
    return state
