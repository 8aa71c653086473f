"""Sessions: kept in PostgreSQL, cached in Redis, their events published to whoever listens."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from app import state
from app.auth import require_key
from app.models import AgentSession
from app.streams import SSE_HEADERS, counted_sse, sse

router = APIRouter(prefix="/api/v1/sessions", dependencies=[Depends(require_key)])


class SessionIn(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    model: str | None = Field(None, max_length=100)
    data: dict[str, Any] = Field(default_factory=dict)


class SessionOut(SessionIn):
    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    created_at: datetime


async def load(shared: state.State, session_id: uuid.UUID) -> dict[str, Any]:
    cached = await shared.cache.get_session(session_id)
    if cached is not None:
        return cached

    async def read() -> AgentSession | None:
        async with shared.database.sessions() as session:
            return await session.get(AgentSession, session_id)

    row = await shared.database.dependency.call(read)
    if row is None:
        raise HTTPException(404, "no such session")
    found = SessionOut.model_validate(row).model_dump(mode="json")
    await shared.cache.put_session(found)
    return found


@router.post("", status_code=201)
async def create(body: SessionIn, request: Request) -> SessionOut:
    shared = state.of(request)
    values = {"id": uuid.uuid4(), **body.model_dump()}

    async def write() -> AgentSession:
        async with shared.database.sessions.begin() as session:
            # The id is made here, so that a repeated attempt cannot make a second row.
            await session.execute(insert(AgentSession).values(values).on_conflict_do_nothing())
            return (await session.execute(select(AgentSession).where(AgentSession.id == values["id"]))).scalar_one()

    made = SessionOut.model_validate(await shared.database.dependency.call(write))
    document = made.model_dump(mode="json")
    await shared.cache.put_session(document)
    await shared.cache.publish(made.id, "created", document)
    return made


@router.get("")
async def list_all(
    request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50, offset: Annotated[int, Query(ge=0)] = 0
) -> list[SessionOut]:
    shared = state.of(request)
    statement = select(AgentSession).order_by(AgentSession.created_at.desc(), AgentSession.id)

    async def read() -> list[AgentSession]:
        async with shared.database.sessions() as session:
            return list((await session.execute(statement.limit(limit).offset(offset))).scalars())

    return [SessionOut.model_validate(row) for row in await shared.database.dependency.call(read)]


@router.get("/{session_id}")
async def get_one(session_id: uuid.UUID, request: Request) -> SessionOut:
    return SessionOut.model_validate(await load(state.of(request), session_id))


@router.delete("/{session_id}", status_code=204)
async def remove(session_id: uuid.UUID, request: Request) -> Response:
    shared = state.of(request)

    async def write() -> bool:
        async with shared.database.sessions.begin() as session:
            statement = delete(AgentSession).where(AgentSession.id == session_id).returning(AgentSession.id)
            return (await session.execute(statement)).scalar_one_or_none() is not None

    # Not retried: a second attempt would report "no such session" for what the first one deleted.
    existed = await shared.database.dependency.call(write, retry=False)
    await shared.cache.forget_session(session_id)
    if not existed:
        raise HTTPException(404, "no such session")
    await shared.cache.publish(session_id, "deleted", {"id": str(session_id)})
    return Response(status_code=204)


@router.get("/{session_id}/events")
async def events(
    session_id: uuid.UUID, request: Request, seconds: Annotated[float, Query(gt=0, le=3600)] = 300
) -> StreamingResponse:
    shared = state.of(request)
    await load(shared, session_id)

    async def follow() -> AsyncIterator[bytes]:
        number = 0
        yield b": subscribed\n\n"
        async for event in shared.cache.events(session_id, seconds):
            if event is None:
                yield b": keep-alive\n\n"
                continue
            number += 1
            yield sse(number, event["event"], orjson.dumps(event["data"]))
        yield sse(None, "done", orjson.dumps({"count": number}))

    return StreamingResponse(counted_sse(shared, follow()), media_type="text/event-stream", headers=SSE_HEADERS)
