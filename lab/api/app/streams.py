"""Long answers: numbered server-sent events and WebSocket messages, each ending in an explicit `done`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from app import auth, metrics, state

router = APIRouter(prefix="/api/v1")
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class StreamIn(BaseModel):
    prompt: str = Field(max_length=32_768)
    seconds: float = Field(10, ge=0, le=3600)
    interval: float = Field(1, ge=0.01, le=60)


def sse(number: int | None, event: str, data: bytes) -> bytes:
    identity = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (identity, event.encode(), data)


async def counted_sse(shared: state.State, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    metrics.SSE.inc()
    shared.connections.sse += 1
    try:
        async for part in source:
            yield part
    finally:
        metrics.SSE.dec()
        shared.connections.sse -= 1


async def numbers(seconds: float, interval: float) -> AsyncIterator[int]:
    """1, 2, 3, ... at a steady beat until the time is over; the first one at once."""
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    while True:
        number += 1
        yield number
        next_at = min(began + number * interval, began + seconds)
        await asyncio.sleep(next_at - loop.time())
        if loop.time() >= began + seconds:
            return


@router.post("/query/stream", dependencies=[Depends(auth.require_key)])
async def stream(body: StreamIn, request: Request) -> StreamingResponse:
    shared = state.of(request)

    async def produce() -> AsyncIterator[bytes]:
        number = 0
        async for number in numbers(body.seconds, body.interval):
            yield sse(number, "message", orjson.dumps({"number": number, "version": shared.version}))
        yield sse(None, "done", orjson.dumps({"count": number, "version": shared.version}))

    return StreamingResponse(counted_sse(shared, produce()), media_type="text/event-stream", headers=SSE_HEADERS)


async def _until_gone(socket: WebSocket) -> None:
    """Reads what the client sends, so that its close is noticed and its messages do not pile up."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _count_up(socket: WebSocket, shared: state.State, seconds: float, interval: float) -> None:
    number = 0
    async for number in numbers(seconds, interval):
        await socket.send_text(orjson.dumps({"number": number, "version": shared.version}).decode())
    await socket.send_text(orjson.dumps({"done": True, "count": number, "version": shared.version}).decode())
    await socket.close(1000)


@router.websocket("/ws")
async def websocket(
    socket: WebSocket,
    seconds: Annotated[float, Query(ge=0, le=3600)] = 10,
    interval: Annotated[float, Query(ge=0.01, le=60)] = 1,
) -> None:
    shared = state.of(socket)
    if not auth.accepted(shared.settings, socket.headers.get(auth.HEADER)):
        await socket.close(1008)  # Before the handshake: the client sees a 403.
        return
    await socket.accept()
    metrics.WEBSOCKETS.inc()
    shared.connections.websocket += 1
    tasks = [
        asyncio.create_task(_count_up(socket, shared, seconds, interval)),
        asyncio.create_task(_until_gone(socket)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        metrics.WEBSOCKETS.dec()
        shared.connections.websocket -= 1
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, RuntimeError)):
            raise result
