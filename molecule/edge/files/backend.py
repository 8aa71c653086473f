#!/usr/bin/python3
"""A slot for tests: backend.py ADDRESS PORT SLOT VERSION. HTTP/1.1 with keep-alive, standard library only.

/health               JSON with status, version and slot
/headers              the request's headers as JSON
/echo                 the request's body
/slow?seconds=S       answers after S seconds
/events?seconds=S     event stream, ten events a second
/upgrade              switches protocols and echoes bytes until the client closes
/seen                 every X-API-Key that ever came with a request, as JSON
/fail, /drop          500; closes the connection without an answer
"""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

SLOT, VERSION = "", ""
SEEN: set[str] = set()


def response(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nX-Slot: {SLOT}\r\n\r\n"
    return head.encode() + body


async def events(writer: asyncio.StreamWriter, seconds: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(int(seconds * 10)):
        event = f"data: {SLOT} {number}\n\n".encode()
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
    writer.write(b"0\r\n\r\n")


async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def answer(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    url = urlsplit(target)
    seconds = float(parse_qs(url.query).get("seconds", ["1"])[0])
    if url.path == "/headers":
        return response("200 OK", json.dumps(headers).encode())
    if url.path == "/seen":
        return response("200 OK", json.dumps(sorted(SEEN)).encode())
    if url.path == "/echo":
        return response("200 OK", body, "application/octet-stream")
    if url.path == "/fail":
        return response("500 Internal Server Error", b"{}")
    if url.path == "/slow":
        await asyncio.sleep(seconds)
    return response("200 OK", json.dumps({"status": "ok", "version": VERSION, "slot": SLOT, "method": method}).encode())


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = urlsplit(target).path
            SEEN.update({headers["x-api-key"]} if "x-api-key" in headers else ())
            if path == "/drop":
                break
            if path == "/upgrade":
                await upgraded(reader, writer)
                break
            if path == "/events":
                await events(writer, float(parse_qs(urlsplit(target).query).get("seconds", ["1"])[0]))
            else:
                writer.write(await answer(method, target, headers, body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(address: str, port: int) -> None:
    server = await asyncio.start_server(serve, address, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    SLOT, VERSION = sys.argv[3], sys.argv[4]
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
