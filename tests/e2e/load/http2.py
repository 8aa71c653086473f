"""HTTP/2 client connection: h2 over asyncio streams, several requests at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from . import transport
from .http1 import Answer
from .recorder import Fault

WINDOW_BYTES = 2**20


@dataclass
class _Stream:
    done: asyncio.Future[None]
    deliver: Callable[[bytes], None]
    body: list[bytes] = field(default_factory=list)
    status: int = 0
    last_data: float = 0.0


class Http2Connection:
    def __init__(self, streams: transport.Streams, timeout: float) -> None:
        self._reader, self._writer = streams
        self._timeout = timeout
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._streams: dict[int, _Stream] = {}
        self._loop = asyncio.get_running_loop()
        self.going_away = False
        self.closed: Fault | None = None
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW_BYTES)
        self._flush()
        self._task = asyncio.create_task(self._read())

    @property
    def usable(self) -> bool:
        return not self.going_away and self.closed is None

    @property
    def idle(self) -> bool:
        return not self._streams

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    async def exchange(
        self, headers: list[tuple[str, str]], body: bytes = b"", on_data: Callable[[bytes], None] | None = None
    ) -> Answer:
        if self.closed is not None:
            raise self.closed
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, headers, end_stream=not body)
            if body:
                self._h2.send_data(stream_id, body, end_stream=True)
        except h2.exceptions.ProtocolError as error:
            raise Fault("h2_protocol", str(error)) from error
        stream = _Stream(self._loop.create_future(), on_data or (lambda data: stream.body.append(data)))
        self._streams[stream_id] = stream
        stream.last_data = self._loop.time()
        self._flush()
        try:
            await self._finish(stream)
        finally:
            self._streams.pop(stream_id, None)
        return Answer(stream.status, b"".join(stream.body))

    async def _finish(self, stream: _Stream) -> None:
        """Wait for the end of a stream; each new part gives it the whole timeout again."""
        while not stream.done.done():
            left = stream.last_data + self._timeout - self._loop.time()
            if left <= 0:
                raise Fault("timeout", f"no answer, or no part of it, in {self._timeout} s")
            await asyncio.wait([stream.done], timeout=left)
        stream.done.result()

    async def _read(self) -> None:
        fault = Fault("closed_in_answer", "the connection ended with requests in flight")
        try:
            while data := await self._reader.read(transport.READ_BYTES):
                for event in self._h2.receive_data(data):
                    self._handle(event)
                self._flush()
        except OSError as error:
            fault = Fault("reset", str(error))
        except h2.exceptions.ProtocolError as error:
            fault = Fault("h2_protocol", str(error))
        self.closed = fault
        for stream in self._streams.values():
            self._fail(stream, fault)

    def _fail(self, stream: _Stream, fault: Fault) -> None:
        if not stream.done.done():
            stream.done.set_exception(fault)

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self._go_away(event)
            return
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream is None:
            return
        stream.last_data = self._loop.time()
        if isinstance(event, h2.events.ResponseReceived):
            stream.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            try:
                stream.deliver(event.data)
            except Fault as fault:
                self._fail(stream, fault)
        elif isinstance(event, h2.events.StreamEnded) and not stream.done.done():
            stream.done.set_result(None)
        elif isinstance(event, h2.events.StreamReset):
            self._fail(stream, Fault("stream_reset", f"error code {event.error_code}"))

    def _go_away(self, event: h2.events.ConnectionTerminated) -> None:
        """A polite end lets open streams finish; those it does not name were sent and will not be answered."""
        self.going_away = True
        for stream_id, stream in self._streams.items():
            if event.error_code:
                self._fail(stream, Fault("goaway", f"error code {event.error_code}"))
            elif event.last_stream_id is not None and stream_id > event.last_stream_id:
                self._fail(stream, Fault("goaway_unprocessed", "sent, but not taken by the server"))

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await transport.close(self._writer)
