"""The load generator against servers that misbehave: every loss must be counted, and nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import wsproto
from wsproto import events as ws_events

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from load import cli, report
from load.http2 import Http2Connection
from load.options import Options, parse
from load.recorder import Fault, Recorder
from load.runner import Runner

BASE = Options(targets=(("127.0.0.1", 1),), host="api.example.test", protocols=("http1",), connections=2, timeout=0.5)
SHORT = {"stream_seconds": 0.1, "stream_interval": 0.02}


@dataclass
class Request:
    number: int  # on this connection, from 1
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """A well-behaved API; a test replaces what it wants to spoil."""

    def __init__(self) -> None:
        self.version = "1.0.0"
        self.executions = 0
        self.answered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                number += 1
                await self.before(number, reader, writer)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split()
                headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self.respond(Request(number, method, path, headers, body), reader, writer)
                await writer.drain()
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def before(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called before each request of a connection is read."""

    async def respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.path == "/api/v1/query/stream":
            self.stream(writer)
        elif request.path.startswith("/api/v1/ws"):
            await self.websocket(request, writer)
        else:
            self.short(request, writer)

    def document(self, request: Request) -> dict[str, object]:
        if request.path == "/":
            return {"service": "claude-agent-api", "version": self.version}
        if request.path == "/health":
            return {"status": "ok", "version": self.version}
        if request.path.startswith("/api/v1/runs/"):
            return {"executions": self.executions, "tokens": self.executions, "replays": 0}
        self.executions += 1
        return {"request_token": request.headers["x-request-token"], "version": self.version}

    def short(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.answered += 1
        self.write(writer, json.dumps(self.document(request)).encode())

    def write(self, writer: asyncio.StreamWriter, body: bytes, status: int = 200, extra: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        writer.write(head.encode() + body)

    def stream(self, writer: asyncio.StreamWriter, numbers: tuple[int, ...] = (1, 2, 3), done: int | None = 3) -> None:
        events = [f'id: {n}\nevent: message\ndata: {{"number":{n}}}\n\n' for n in numbers]
        if done is not None:
            events.append(f'event: done\ndata: {{"count":{done}}}\n\n')
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            writer.write(b"%x\r\n%s\r\n" % (len(event), event.encode()))
        writer.write(b"0\r\n\r\n")

    ws_numbers: tuple[int, ...] = (1, 2)
    ws_done = True
    ws_code: int | None = 1000

    async def websocket(self, request: Request, writer: asyncio.StreamWriter) -> None:
        connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        head = f"GET {request.path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in request.headers.items())
        connection.receive_data(head.encode() + b"\r\n")
        list(connection.events())
        out = [ws_events.AcceptConnection()]
        out += [ws_events.TextMessage(json.dumps({"number": n, "version": "1.0.0"})) for n in self.ws_numbers]
        if self.ws_done:
            out.append(ws_events.TextMessage(json.dumps({"done": True, "count": len(self.ws_numbers)})))
        if self.ws_code is not None:
            out.append(ws_events.CloseConnection(self.ws_code))
        for event in out:
            writer.write(connection.send(event))
        await writer.drain()
        if self.ws_code is None:
            writer.transport.abort()


def drive(server: Server, **changes: object) -> Recorder:
    async def scenario() -> Recorder:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        defaults = {"requests": 30, "check_executions": False}
        runner = Runner(replace(BASE, **{"targets": (("127.0.0.1", port),), **defaults, **changes}))  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await runner.run()
        listener.close()
        return runner.recorder

    return asyncio.run(scenario())


def kinds(recorder: Recorder) -> set[str]:
    return set(recorder.failures_by_kind)


def test_a_well_behaved_server_yields_no_failure() -> None:
    recorder = drive(Server(), streams=2, websockets=2, duration=0.6, requests=None, rate=200.0, **SHORT)
    assert recorder.failures == []
    assert recorder.total > 50
    assert set(recorder.answers) == {"get", "post", "health"}
    assert all(count.completed >= 2 and count.failed == 0 for count in recorder.streams.values())


def test_keep_alive_is_used() -> None:
    assert drive(Server()).connections_opened == 2


class ResetInAnswer(Server):
    def short(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{")
        writer.transport.abort()


class CloseInAnswer(Server):
    def short(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{")
        writer.close()


class CloseWhileWritten(Server):
    """Closes an idle connection just as the next request arrives: the race of a reloading proxy."""

    async def before(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number == 3:
            await reader.readexactly(1)
            writer.transport.abort()
            raise ConnectionResetError


class Hang(Server):
    async def respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)


def spoiled(status: int = 200, body: bytes = b"{}") -> type[Server]:
    class Spoiled(Server):
        def short(self, request: Request, writer: asyncio.StreamWriter) -> None:
            self.write(writer, body, status)

    return Spoiled


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (ResetInAnswer(), {"reset_in_answer", "closed_in_answer"}),
        (CloseInAnswer(), {"closed_in_answer"}),
        (CloseWhileWritten(), {"reset_on_reuse", "closed_on_reuse"}),
        (Hang(), {"timeout"}),
        (spoiled(502, b"<html>")(), {"status_5xx"}),
        (spoiled(404)(), {"status"}),
        (spoiled(200, b"{}")(), {"shape"}),
        (spoiled(200, b"not json")(), {"shape"}),
        (spoiled(200, b'{"service":"other","version":"1","request_token":"x","status":"bad"}')(), {"shape"}),
        (spoiled(200, b'{"service":"claude-agent-api","version":null}')(), {"shape"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Server) else None,
)
def test_every_loss_is_a_failure(server: Server, expected: set[str]) -> None:
    recorder = drive(server, requests=6)
    assert recorder.failed > 0
    assert kinds(recorder) <= expected
    assert report.build(BASE, recorder, recorder.started + 1)["ok"] is False


def test_a_lost_request_is_not_asked_again() -> None:
    server = CloseWhileWritten()
    recorder = drive(server, requests=30)
    assert recorder.total + recorder.failed == 30
    assert server.answered == recorder.total


def test_a_refused_connection_is_a_failure() -> None:
    async def scenario() -> Recorder:
        runner = Runner(replace(BASE, duration=0.3))
        await runner.run()
        return runner.recorder

    assert kinds(asyncio.run(scenario())) == {"connect_refused"}


def test_a_polite_close_is_counted_and_no_failure() -> None:
    class Polite(Server):
        def write(self, writer: asyncio.StreamWriter, body: bytes, status: int = 200, extra: str = "") -> None:
            super().write(writer, body, status, "connection: close\r\n")
            writer.close()

    recorder = drive(Polite(), requests=10)
    assert (recorder.failed, recorder.polite_closes, recorder.connections_opened) == (0, 10, 10)


def test_an_idle_close_seen_before_the_next_request_is_no_failure() -> None:
    class Idle(Server):
        async def respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.short(request, writer)
            await writer.drain()
            writer.close()

    recorder = drive(Idle(), requests=6, connections=1, rate=20.0)
    assert recorder.failed == 0
    assert recorder.idle_closes >= 5


def test_an_accepted_status_is_counted_apart() -> None:
    recorder = drive(spoiled(503)(), requests=10, accept_status=frozenset((503,)))
    assert (recorder.failed, recorder.accepted[503], recorder.total) == (0, 10, 0)


@pytest.mark.parametrize(
    ("numbers", "done", "expected"),
    [
        ((1, 2), None, "stream_truncated"),
        ((), None, "stream_truncated"),
        ((1, 3), 2, "stream_gap"),
        ((1, 2), 3, "stream_gap"),
    ],
)
def test_a_spoiled_event_stream_is_a_failure(numbers: tuple[int, ...], done: int | None, expected: str) -> None:
    class Spoiled(Server):
        def stream(self, writer: asyncio.StreamWriter, *_: object) -> None:
            super().stream(writer, numbers, done)

    recorder = drive(Spoiled(), streams=1, duration=0.15, requests=None, rate=50.0, **SHORT)
    assert kinds(recorder) == {expected}


def test_a_stream_cut_without_its_last_chunk_is_a_failure() -> None:
    class Cut(Server):
        def stream(self, writer: asyncio.StreamWriter, *_: object) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nid: 1\r\n")
            writer.close()

    recorder = drive(Cut(), streams=1, duration=0.15, requests=None, rate=50.0, **SHORT)
    assert kinds(recorder) == {"stream_truncated"}


@pytest.mark.parametrize(
    ("numbers", "done", "code", "expected"),
    [
        ((1, 2), True, 1012, "websocket_close"),
        ((1, 2), False, 1000, "websocket_close"),
        ((1, 3), True, 1000, "websocket_gap"),
        ((1, 2), False, None, ("websocket_close", "websocket_truncated")),
    ],
)
def test_a_spoiled_websocket_is_a_failure(
    numbers: tuple[int, ...], done: bool, code: int | None, expected: str | tuple[str, ...]
) -> None:
    server = Server()
    server.ws_numbers, server.ws_done, server.ws_code = numbers, done, code
    recorder = drive(server, websockets=1, duration=0.15, requests=None, rate=50.0, **SHORT)
    assert recorder.failed > 0
    assert kinds(recorder) <= ({expected} if isinstance(expected, str) else set(expected))


def test_executions_are_compared_with_what_was_sent() -> None:
    assert drive(Server(), check_executions=True).executions["checked"] is True


@pytest.mark.parametrize("error", [1, -1])
def test_a_replay_or_a_loss_is_a_failure(error: int) -> None:
    server = Server()
    server.executions = error
    recorder = drive(server, check_executions=True)
    assert kinds(recorder) == {"executions"}


def test_version_changes_are_timed() -> None:
    recorder = Recorder()
    for now, version in [
        (1.0, "1"),
        (2.0, "1"),
        (2.1, "2"),
        (2.15, "1"),
        (2.2, "2"),
        (9.0, "2"),
        (9.5, "1"),
        (9.6, "1"),
    ]:
        recorder.version(version, now, now - 0.01)
    (there, back) = recorder.changes
    assert (there.old, there.new, there.first_new, there.last_old) == ("1", "2", 2.1, 2.15)
    assert there.overlap_ms == pytest.approx(50)
    assert there.routing_overlap_ms == pytest.approx(40)
    assert (back.old, back.new, back.first_new, back.last_old) == ("2", "1", 9.5, 9.0)
    assert back.overlap_ms == 0


def test_a_slow_old_answer_is_no_change_back() -> None:
    recorder = Recorder()
    for now, sent, version in [(1.0, 0.9, "1"), (2.0, 1.9, "2"), (5.0, 1.8, "1"), (5.1, 5.0, "2")]:
        recorder.version(version, now, sent)
    (change,) = recorder.changes
    assert (change.overlap_ms, change.routing_overlap_ms) == (pytest.approx(3000), 0)


def test_a_version_change_is_seen_in_traffic() -> None:
    class Upgrading(Server):
        def short(self, request: Request, writer: asyncio.StreamWriter) -> None:
            self.version = "2.0.0" if self.answered >= 20 else "1.0.0"
            super().short(request, writer)

    recorder = drive(Upgrading(), requests=40)
    assert [(change.old, change.new) for change in recorder.changes] == [("1.0.0", "2.0.0")]
    assert recorder.versions["1.0.0"].answers == 20


def test_a_stop_file_ends_the_run(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    stop.touch()
    recorder = drive(Server(), requests=None, duration=30.0, rate=100.0, stop_file=stop)
    assert recorder.requests_ended - recorder.started < 5


H2Behaviour = Callable[[h2.connection.H2Connection, int, asyncio.StreamWriter], None]


def h2_answer(connection: h2.connection.H2Connection, stream: int, writer: asyncio.StreamWriter) -> None:
    connection.send_headers(stream, [(":status", "200")])
    connection.send_data(stream, b"{}", end_stream=True)


def h2_exchange(behaviour: H2Behaviour, use: Callable[[Http2Connection], Awaitable[None]]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    behaviour(connection, event.stream_id or 0, writer)
            writer.write(connection.data_to_send())
        writer.close()

    async def scenario() -> None:
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        client = Http2Connection(await asyncio.open_connection("127.0.0.1", port), 0.5)
        async with asyncio.timeout(10):
            await use(client)
            await client.close()
        listener.close()

    asyncio.run(scenario())


HEADERS = [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")]


def test_http2_answers() -> None:
    async def use(client: Http2Connection) -> None:
        answers = await asyncio.gather(*(client.exchange(HEADERS) for _ in range(5)))
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"{}")}
        assert client.usable

    h2_exchange(h2_answer, use)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (lambda connection, stream, writer: connection.reset_stream(stream, 2), "stream_reset"),
        (lambda connection, stream, writer: connection.close_connection(0, last_stream_id=0), "goaway_unprocessed"),
        (lambda connection, stream, writer: connection.close_connection(1), "goaway"),
        (lambda connection, stream, writer: writer.close(), "closed_in_answer|reset"),
        (lambda connection, stream, writer: None, "timeout"),
    ],
)
def test_http2_losses_are_failures(behaviour: H2Behaviour, expected: str) -> None:
    async def use(client: Http2Connection) -> None:
        with pytest.raises(Fault) as caught:
            await client.exchange(HEADERS)
        assert caught.value.kind in expected.split("|")

    h2_exchange(behaviour, use)


@pytest.mark.parametrize(
    "bad", [["--mix", "get=0"], ["--mix", "put=3"], ["--target", "a:b"], ["--requests", "x"], ["--post-ratio", "2"]]
)
def test_bad_options_are_refused(bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--target", "127.0.0.1:443", "--host", "x", "--duration", "1", *bad])


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "secret")
    arguments = "--target 10.0.0.2 --target [::1]:8443 --host x --protocol h2 --protocol https --requests 5"
    options = parse([*arguments.split(), "--api-key-env", "KEY"])
    assert options.targets == (("10.0.0.2", None), ("::1", 8443))
    assert (options.protocols, options.api_key, options.requests) == (("h2", "https"), "secret", 5)
    assert [options.port(name, None) for name in ("http1", "https", "h2")] == [80, 443, 443]


def test_keys_of_a_file_are_sent_in_turns_and_a_changed_file_is_taken_up(tmp_path: Path) -> None:
    class Keyed(Server):
        seen: list[str | None]

        async def respond(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if request.path != "/health":
                self.seen.append(request.headers.get("x-api-key"))
                if len(self.seen) == 20:
                    file.write_text("third\n")
            await super().respond(request, reader, writer)

    file, server = tmp_path / "keys", Keyed()
    file.write_text("first\nsecond\n")
    server.seen = []
    recorder = drive(
        server, requests=None, duration=2.0, rate=200.0, api_key_file=file, streams=1, websockets=1, **SHORT
    )
    assert recorder.failures == []
    assert {"first", "second"} == set(server.seen[:20])
    assert set(server.seen[-5:]) == {"third"}
    server.seen = []
    drive(server, requests=10)
    assert set(server.seen) == {None}


def test_a_run_needs_an_end() -> None:
    with pytest.raises(SystemExit):
        parse(["--target", "10.0.0.2", "--host", "x"])


def test_the_ratio_of_posts() -> None:
    options = parse(["--target", "10.0.0.2", "--host", "x", "--requests", "1", "--post-ratio", "0.25"])
    assert options.mix == (("get", 75), ("post", 25))


def test_the_report_says_what_was_lost() -> None:
    recorder = drive(spoiled(502)(), requests=4)
    recorder.requests_ended = recorder.started + 1
    result = report.build(BASE, recorder, recorder.started + 1)
    assert (result["ok"], result["failures"], result["failure_kinds"]) == (False, 4, {"status_5xx": 4})
    assert result["failure_samples"][0]["request"] == 1  # type: ignore[index]
    assert "status_5xx" in report.table(json.loads(json.dumps(result)))


def test_the_exit_code_says_whether_anything_failed() -> None:
    arguments = ["--target", "127.0.0.1:1", "--host", "x", "--protocol", "http1", "--duration", "0.2"]
    assert cli.main(arguments) == 1
    assert cli.main([*arguments, "--tolerate-errors"]) == 0
