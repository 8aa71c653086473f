"""HTTP/1.1 client connection: httptools over asyncio streams, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import httptools

from . import transport
from .recorder import Fault


class Answer(NamedTuple):
    status: int
    body: bytes


class Http1Connection:
    def __init__(self, streams: transport.Streams, timeout: float) -> None:
        self._reader, self._writer = streams
        self._timeout = timeout
        self._requests = 0
        self.keep_alive = True
        self._begin(None)

    def _begin(self, on_data: Callable[[bytes], None] | None) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._deliver = on_data or self._body.append
        self._complete = False
        self._began = False

    # What the parser calls.
    def on_body(self, data: bytes) -> None:
        self._deliver(data)

    def on_message_complete(self) -> None:
        self._complete = True
        # Asked later, the parser always says no.
        self.keep_alive = self._parser.should_keep_alive()

    @property
    def closed_while_idle(self) -> bool:
        return self._reader.at_eof()

    async def exchange(self, request: bytes, on_data: Callable[[bytes], None] | None = None) -> Answer:
        """Send one request, read its whole answer; a stream's parts go to `on_data`, each within the timeout."""
        reused = self._requests > 0
        self._requests += 1
        self._begin(on_data)
        try:
            self._writer.write(request)
            async with asyncio.timeout(self._timeout) as deadline:
                while not self._complete:
                    data = await self._reader.read(transport.READ_BYTES)
                    if not data:
                        raise transport.ended(reused, self._began)
                    self._began = True
                    self._parser.feed_data(data)
                    if on_data is not None:
                        deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
        except TimeoutError as error:
            raise Fault("timeout", f"no answer, or no part of it, in {self._timeout} s") from error
        except OSError as error:
            raise transport.lost(error, reused, self._began) from error
        except httptools.HttpParserError as error:
            # httptools wraps what a callback raised.
            if isinstance(error.__context__, Fault):
                raise error.__context__ from None
            raise Fault("malformed", str(error)) from error
        return Answer(self._parser.get_status_code(), b"".join(self._body))

    async def close(self) -> None:
        await transport.close(self._writer)


def render(method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
