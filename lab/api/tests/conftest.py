"""Tests of the reference API.

The tests under `service` need a migrated PostgreSQL database and a Redis, named by TEST_DATABASE_URL and
TEST_REDIS_URL; without them they are skipped. The others need nothing.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# Settings are read when the application is imported.
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:1/none")
os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:1/0")
os.environ["REDIS_PREFIX"] = f"test-{uuid.uuid4().hex[:8]}:"
os.environ["API_KEY"] = "first-key, second-key"
os.environ["APP_VERSION"] = "1.2.3"
os.environ["SIGNALBOX_SLOT"] = "green"
os.environ["CHAOS_ENABLED"] = "true"

from starlette.testclient import TestClient  # noqa: E402

KEY = {"X-API-Key": "second-key"}


@pytest.fixture
def anonymous() -> Iterator[TestClient]:
    from app.main import create_app

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(anonymous: TestClient) -> TestClient:
    """A client with a key, against a service that has its dependencies."""
    if "TEST_DATABASE_URL" not in os.environ or "TEST_REDIS_URL" not in os.environ:
        pytest.skip("set TEST_DATABASE_URL (migrated) and TEST_REDIS_URL to run this")
    anonymous.headers.update(KEY)
    return anonymous


@pytest.fixture(autouse=True)
def _well_behaved() -> Iterator[None]:
    from app import chaos

    before = chaos.STATE.model_copy()
    yield
    for name in type(before).model_fields:
        setattr(chaos.STATE, name, getattr(before, name))
