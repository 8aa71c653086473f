"""Alembic's environment: asynchronous engine, one transaction per revision.

The login's owner role and the timeouts come from PGOPTIONS, for instance
PGOPTIONS="-c role=agent_owner -c lock_timeout=5s -c statement_timeout=600s".
"""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.db import connect_args, use_private_ca
from app.models import Base


def _configure(**options: object) -> None:
    context.configure(target_metadata=Base.metadata, transaction_per_migration=True, compare_type=True, **options)
    with context.begin_transaction():
        context.run_migrations()


def _migrate(connection: Connection) -> None:
    _configure(connection=connection)


async def _online() -> None:
    use_private_ca(os.environ.get("SIGNALBOX_CA_FILE"))
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool, connect_args=connect_args())
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    _configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
else:
    asyncio.run(_online())
