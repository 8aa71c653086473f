"""Drives connections and streams until the run is over."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

from . import transport
from .http1 import Answer, Http1Connection
from .http2 import Http2Connection
from .options import Options, Target
from .recorder import Fault, Recorder
from .streams import SseCheck, WebSocketClient
from .traffic import Request, Traffic

# After a failure to connect, so that an outage is not answered by a flood.
PAUSE_SECONDS = 0.1


class Runner:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.recorder = Recorder()
        self.traffic = Traffic(options)
        self._transport = transport.Transport(options)
        self._ids = itertools.count(1)
        self._stopping = asyncio.Event()
        self._slot = 0.0

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """All connections until the limit; then the streams under way are waited for, and executions are checked."""
        options = self.options
        ways = list(itertools.product(options.protocols, options.targets))
        stream_ways = [("https" if protocol == "h2" else protocol, target) for protocol, target in ways]
        watcher = asyncio.create_task(self._watch())
        streams = [self._streams_of("sse", *ways[n % len(ways)]) for n in range(options.streams)]
        streams += [self._streams_of("websocket", *stream_ways[n % len(ways)]) for n in range(options.websockets)]
        stream_tasks = [asyncio.create_task(stream) for stream in streams]
        await asyncio.gather(*(self._connection(*ways[n % len(ways)]) for n in range(options.connections)))
        self.stop()
        self.recorder.requests_ended = time.time()
        await asyncio.gather(*stream_tasks)
        watcher.cancel()
        if options.check_executions and self.recorder.posts_sent:
            await self._check_executions()

    async def _watch(self) -> None:
        end = time.monotonic() + (self.options.duration or float("inf"))
        while time.monotonic() < end:
            if self.options.stop_file and self.options.stop_file.exists():
                break
            await asyncio.sleep(0.1)
        self.stop()

    def _over(self) -> bool:
        limit = self.options.requests
        return self._stopping.is_set() or (limit is not None and self.traffic.sent >= limit)

    async def _turn(self) -> None:
        """Wait for this request's place in the rate."""
        if self.options.rate:
            now = asyncio.get_running_loop().time()
            self._slot = max(self._slot + 1 / self.options.rate, now)
            await asyncio.sleep(self._slot - now)

    async def _connection(self, protocol: str, target: Target) -> None:
        """One client: connects, asks until the connection ends or the run is over, and connects again."""
        serve = self._serve_http2 if protocol == "h2" else self._serve_http1
        label = f"{target[0]}:{self.options.port(protocol, target[1])}"
        while not self._over():
            number = next(self._ids)
            try:
                streams = await self._transport.open(target, protocol)
            except Fault as fault:
                self.recorder.failure(fault, protocol, label, number, 0)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.recorder.connections_opened += 1
            await serve(streams, protocol, label, number)

    async def _serve_http1(self, streams: transport.Streams, protocol: str, label: str, number: int) -> None:
        connection = Http1Connection(streams, self.options.timeout)
        host = self.options.host
        while not self._over():
            await self._turn()
            if connection.closed_while_idle:
                self.recorder.idle_closes += 1
                break
            request = self.traffic.next()
            if not await self._ask(connection.exchange(request.http1(host)), request, protocol, label, number):
                break
            if not connection.keep_alive:
                self.recorder.polite_closes += 1
                break
        await connection.close()

    async def _serve_http2(self, streams: transport.Streams, protocol: str, label: str, number: int) -> None:
        connection = Http2Connection(streams, self.options.timeout)

        async def lane() -> None:
            while not self._over() and connection.usable:
                await self._turn()
                if not connection.usable:
                    break
                request = self.traffic.next()
                exchange = connection.exchange(request.http2(self.options.host), request.body)
                await self._ask(exchange, request, protocol, label, number)

        await asyncio.gather(*(lane() for _ in range(self.options.h2_streams)))
        if connection.going_away:
            self.recorder.polite_closes += 1
        elif connection.closed:
            self.recorder.idle_closes += 1
        await connection.close()

    async def _ask(self, exchange, request: Request, protocol: str, label: str, number: int) -> bool:  # type: ignore[no-untyped-def]
        """One request; False when its connection is of no more use."""
        recorder = self.recorder
        is_post = request.kind == "post"
        recorder.posts_sent += is_post
        began = time.perf_counter()
        try:
            answer: Answer = await exchange
        except Fault as fault:
            recorder.failure(fault, protocol, label, number, request.number)
            return False
        seconds = time.perf_counter() - began
        if answer.status in self.options.accept_status:
            recorder.accepted[answer.status] += 1
            recorder.posts_refused += is_post
            return True
        try:
            version = self.traffic.check(request, answer)
        except Fault as fault:
            recorder.failure(fault, protocol, label, number, request.number)
            return True
        recorder.posts_answered += is_post
        recorder.answer(protocol, request.kind, seconds, version)
        return True

    async def _streams_of(self, kind: str, protocol: str, target: Target) -> None:
        """One stream after the other, each on a connection of its own; none is begun after the stop."""
        count = self.recorder.streams[kind]
        label = f"{target[0]}:{self.options.port(protocol, target[1])}"
        run = self._sse if kind == "sse" else self._websocket
        while not self._stopping.is_set():
            number = next(self._ids)
            count.started += 1
            try:
                streams = await self._transport.open(target, protocol)
                self.recorder.connections_opened += 1
                await run(streams, protocol)
                count.completed += 1
            except Fault as fault:
                count.failed += 1
                self.recorder.failure(fault, f"{kind}/{protocol}", label, number, count.started)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _sse(self, streams: transport.Streams, protocol: str) -> None:
        check = SseCheck(self.recorder.streams["sse"])
        request = self.traffic.stream(self.recorder.streams["sse"].started)
        patience = self.options.timeout + self.options.stream_interval
        connection: Http1Connection | Http2Connection
        if protocol == "h2":
            connection = Http2Connection(streams, patience)
            exchange = connection.exchange(request.http2(self.options.host), request.body, check.feed)
        else:
            connection = Http1Connection(streams, patience)
            exchange = connection.exchange(request.http1(self.options.host), check.feed)
        try:
            answer = await exchange
            if answer.status != 200:
                raise Fault("status_5xx" if answer.status >= 500 else "status", f"{answer.status} for a stream")
            check.finish()
        except Fault as fault:
            if fault.kind.startswith(("closed", "reset")):
                raise Fault("stream_truncated", str(fault)) from fault
            raise
        finally:
            await connection.close()

    async def _websocket(self, streams: transport.Streams, protocol: str) -> None:
        try:
            count = self.recorder.streams["websocket"]
            await WebSocketClient(streams, self.options, count, self.traffic.keys.next()).run()
        finally:
            await transport.close(streams[1])

    async def _check_executions(self) -> None:
        """Each POST was sent once, so it must have been executed once: more is a replay, fewer a loss."""
        recorder, protocol, target = self.recorder, self.options.protocols[0], self.options.targets[0]
        protocol = "https" if protocol == "h2" else protocol
        label = f"{target[0]}:{self.options.port(protocol, target[1])}"
        sent = recorder.posts_sent - recorder.posts_refused
        recorder.executions |= {"sent": sent, "answered": recorder.posts_answered}
        try:
            connection = Http1Connection(await self._transport.open(target, protocol), self.options.timeout)
            answer = await connection.exchange(self.traffic.executions().http1(self.options.host))
            await connection.close()
            counted = json.loads(answer.body)
            recorder.executions |= {"checked": True, **{k: counted[k] for k in ("executions", "tokens", "replays")}}
            if counted["executions"] != sent:
                raise Fault(
                    "executions", f"{sent} sent, {counted['executions']} executed, {counted['replays']} replays"
                )
            if counted["replays"]:
                raise Fault("replays", f"{counted['replays']} executions beyond the first")
        except Fault as fault:
            recorder.failure(fault, protocol, label, 0, 0)
        except (ValueError, KeyError) as error:
            recorder.failure(Fault("executions", f"not told: {error!r}"), protocol, label, 0, 0)
