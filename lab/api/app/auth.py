"""X-API-Key: compared in constant time against every accepted key."""

from __future__ import annotations

import hmac

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from app import state
from app.settings import Settings

HEADER = "x-api-key"


def accepted(settings: Settings, offered: str | None) -> bool:
    given = (offered or "").encode()
    # No early exit: how many keys there are, or which one fits, must not show in the time taken.
    return sum(hmac.compare_digest(given, key.get_secret_value().encode()) for key in settings.api_key) > 0


async def require_key(connection: HTTPConnection) -> None:
    if not accepted(state.of(connection).settings, connection.headers.get(HEADER)):
        raise HTTPException(401, "missing or unknown X-API-Key", {"WWW-Authenticate": "ApiKey"})
