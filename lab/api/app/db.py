"""PostgreSQL: engine, session factory, and what counts as an outage."""

from __future__ import annotations

import os
import shlex
import uuid
from typing import Any

import asyncpg
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.dependencies import Dependency
from app.settings import Settings

OUTAGES = (
    OSError,
    TimeoutError,
    exc.TimeoutError,
    exc.InterfaceError,
    exc.OperationalError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    # A changed password: the platform replaces the slot, so it is worth asking again later.
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
)


def is_outage(error: BaseException) -> bool:
    if isinstance(error, exc.DBAPIError):
        # SQLAlchemy has no class of its own for most of asyncpg's errors: the driver's error is the cause of `orig`.
        driver_error = error.orig.__cause__ if error.orig else None
        return error.connection_invalidated or isinstance(error, OUTAGES) or isinstance(driver_error, OUTAGES)
    return isinstance(error, OUTAGES)


def server_settings(options: str) -> dict[str, str]:
    """Settings in PGOPTIONS ("-c name=value ..."), which asyncpg itself does not read."""
    words = shlex.split(options)
    pairs = [word.removeprefix("-c") for word in words if word != "-c" and "=" in word]
    return {name.strip(): value for name, value in (pair.split("=", 1) for pair in pairs)}


def connect_args(settings_prepared: bool = True, timeout_seconds: float = 5.0) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "timeout": timeout_seconds,
        "server_settings": {"application_name": "claude-agent-api", **server_settings(os.environ.get("PGOPTIONS", ""))},
    }
    if not settings_prepared:
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__asyncpg_{uuid.uuid4()}__",
        }
    return arguments


def use_private_ca(ca_file: str | None) -> None:
    """asyncpg takes its CA from PGSSLROOTCERT; one variable for both dependencies is enough."""
    if ca_file:
        os.environ.setdefault("PGSSLROOTCERT", ca_file)


class Database:
    def __init__(self, settings: Settings) -> None:
        use_private_ca(settings.signalbox_ca_file)
        self.capacity = settings.database_pool_size + settings.database_pool_overflow
        self.timeout = settings.dependency_timeout_seconds
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_pool_overflow,
            pool_timeout=5,
            pool_pre_ping=True,
            pool_recycle=1800,
            connect_args=connect_args(settings.database_prepared_statements, self.timeout),
        )
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, expire_on_commit=False)
        self.dependency = Dependency(
            "postgres",
            is_outage,
            (TimeoutError, exc.TimeoutError),
            settings.breaker_failures,
            settings.breaker_recovery_seconds,
        )
        self.version: str | None = None

    @property
    def used(self) -> int:
        return int(self.engine.pool.checkedout())  # type: ignore[attr-defined]

    async def probe(self) -> str:
        async with self.engine.connect() as connection:
            if self.version is None:
                full = (await connection.execute(text("SHOW server_version"))).scalar_one()
                self.version = str(full).split()[0]
            else:
                await connection.execute(text("SELECT 1"))
        return self.version

    async def close(self) -> None:
        await self.engine.dispose()
