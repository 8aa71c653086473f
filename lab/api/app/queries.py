"""Short queries, and how often each of them was executed."""

from __future__ import annotations

import uuid
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field

from app import executions, sessions, state
from app.auth import require_key

router = APIRouter(prefix="/api/v1", dependencies=[Depends(require_key)])
TOKEN_SHAPE = "X-Request-Token must be <run>:<number>, the number below 67108864"


class QueryIn(BaseModel):
    prompt: str = Field(max_length=32_768)
    session_id: uuid.UUID | None = None


def _token(text: str) -> executions.Token:
    token = executions.parse(text)
    if token is None:
        raise HTTPException(422, TOKEN_SHAPE)
    return token


@router.post("/query")
async def query(body: QueryIn, request: Request, x_request_token: Annotated[str | None, Header()] = None) -> Response:
    shared = state.of(request)
    execution = None
    if x_request_token is not None:
        execution = await shared.executions.count(_token(x_request_token))
    if body.session_id is not None:
        await sessions.load(shared, body.session_id)
        await shared.cache.publish(body.session_id, "query", {"prompt": body.prompt[:200]})
    answer = {
        "answer": f"{len(body.prompt.split())} words understood",
        "request_token": x_request_token,
        "execution": execution,
        "version": shared.version,
        "slot": shared.settings.signalbox_slot,
    }
    return Response(orjson.dumps(answer), media_type="application/json")


@router.get("/requests/{token}")
async def executions_of_token(token: str, request: Request) -> dict[str, str | int]:
    return {"token": token, "executions": await state.of(request).executions.of_token(_token(token))}


@router.get("/runs/{run}")
async def executions_of_run(run: str, request: Request) -> dict[str, str | int]:
    return {"run": run, **await state.of(request).executions.of_run(run)}
