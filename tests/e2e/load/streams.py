"""Long streams: numbered SSE events and WebSocket messages; a gap, a truncation or an unclean close is a failure."""

from __future__ import annotations

import asyncio
import json

import wsproto
from wsproto import events
from wsproto.utilities import ProtocolError

from . import transport
from .options import Options
from .recorder import Fault, StreamCount


class SseCheck:
    """Fed with the body of an event stream."""

    def __init__(self, count: StreamCount) -> None:
        self._count = count
        self._rest = b""
        self._number = 0
        self.done = False

    def feed(self, data: bytes) -> None:
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line and line[:1] != b":")
            if fields:
                self._event(fields)

    def _event(self, fields: dict[bytes, bytes]) -> None:
        if self.done:
            raise Fault("stream_gap", "an event after done")
        if fields.get(b"event") == b"done":
            count = json.loads(fields.get(b"data", b"{}")).get("count")
            if count != self._number:
                raise Fault("stream_gap", f"done after {self._number} events says {count}")
            self.done = True
            return
        self._number += 1
        self._count.messages += 1
        if fields.get(b"id") != str(self._number).encode():
            raise Fault("stream_gap", f"event {self._number} has id {fields.get(b'id')!r}")

    def finish(self) -> None:
        if not self.done:
            raise Fault("stream_truncated", f"ended after {self._number} events without done")


class WebSocketClient:
    def __init__(self, streams: transport.Streams, options: Options, count: StreamCount, key: str) -> None:
        self._reader, self._writer = streams
        self._options = options
        self._key = key
        self._count = count
        self._number = 0
        self._text = ""
        self._done = False
        self._finished = False
        self._connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    async def run(self) -> None:
        options = self._options
        path = f"/api/v1/ws?seconds={options.stream_seconds}&interval={options.stream_interval}"
        headers = [(b"x-api-key", self._key.encode())] if self._key else []
        patience = options.timeout + options.stream_interval
        try:
            self._send(events.Request(host=options.host, target=path, extra_headers=headers))
            while not self._finished:
                async with asyncio.timeout(patience):
                    data = await self._reader.read(transport.READ_BYTES)
                self._connection.receive_data(data or None)
                for event in self._connection.events():
                    self._handle(event)
                if not data and not self._finished:
                    raise Fault("websocket_truncated", f"ended after {self._number} messages without a close")
        except TimeoutError as error:
            raise Fault("websocket_timeout", f"silent after {self._number} messages") from error
        except OSError as error:
            raise Fault("websocket_truncated", f"after {self._number} messages: {error}") from error
        except ProtocolError as error:
            raise Fault("websocket_protocol", f"after {self._number} messages: {error}") from error

    def _send(self, event: events.Event) -> None:
        self._writer.write(self._connection.send(event))

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, events.TextMessage):
            self._text += event.data
            if event.message_finished:
                text, self._text = self._text, ""
                self._message(json.loads(text))
        elif isinstance(event, events.Ping):
            self._send(event.response())
        elif isinstance(event, events.CloseConnection):
            self._closed(event)
        elif isinstance(event, events.RejectConnection):
            raise Fault("websocket_refused", f"status {event.status_code}")

    def _message(self, message: dict[str, object]) -> None:
        if message.get("done"):
            if message.get("count") != self._number:
                raise Fault("websocket_gap", f"done after {self._number} messages says {message.get('count')}")
            self._done = True
            return
        self._number += 1
        self._count.messages += 1
        if message.get("number") != self._number:
            raise Fault("websocket_gap", f"message {self._number} is numbered {message.get('number')}")

    def _closed(self, event: events.CloseConnection) -> None:
        if not self._done or event.code != 1000:
            raise Fault("websocket_close", f"code {event.code} after {self._number} messages, done: {self._done}")
        self._send(event.response())
        self._finished = True
