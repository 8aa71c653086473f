"""The service against a real PostgreSQL and a real Redis."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest
import redis
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app import chaos


def test_health_names_every_part(client: TestClient) -> None:
    answer = client.get("/health")
    body = answer.json()
    assert (answer.status_code, body["status"], body["version"], body["slot"]) == (200, "ok", "1.2.3", "green")
    assert {name: part["status"] for name, part in body["dependencies"].items()} == {"postgres": "ok", "redis": "ok"}
    assert body["dependencies"]["postgres"]["version"]
    assert {"disk", "memory", "connections", "breaker"} <= body.keys()


@pytest.mark.parametrize(("name", "status"), [("postgres", "error"), ("redis", "degraded")])
def test_a_failed_dependency_shows_in_health(client: TestClient, name: str, status: str) -> None:
    client.post("/chaos", json={"fail_dependency": name}).raise_for_status()
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, status)
    assert answer.json()["dependencies"][name]["status"] == "error"


def test_a_session_lives_and_dies(client: TestClient) -> None:
    made = client.post("/api/v1/sessions", json={"title": "first", "data": {"n": 1}})
    assert made.status_code == 201
    path = f"/api/v1/sessions/{made.json()['id']}"
    assert client.get(path).json() == made.json()
    assert made.json() in client.get("/api/v1/sessions").json()
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404


def test_sessions_are_read_without_redis(client: TestClient) -> None:
    made = client.post("/api/v1/sessions", json={"title": "uncached"}).json()
    chaos.STATE.fail_dependency = "redis"
    assert client.get(f"/api/v1/sessions/{made['id']}").json() == made


def test_events_of_a_session_reach_its_listener(client: TestClient) -> None:
    session_id = client.post("/api/v1/sessions", json={"title": "watched"}).json()["id"]
    bodies: list[str] = []
    listener = threading.Thread(
        target=lambda: bodies.append(client.get(f"/api/v1/sessions/{session_id}/events?seconds=1.5").text)
    )
    listener.start()
    time.sleep(0.5)
    client.post("/api/v1/query", json={"prompt": "hello", "session_id": session_id}).raise_for_status()
    listener.join()
    assert 'event: query\ndata: {"prompt":"hello"}' in bodies[0]
    assert 'event: done\ndata: {"count":1}' in bodies[0]


def test_replays_of_a_token_are_counted(client: TestClient) -> None:
    run = uuid.uuid4().hex

    def ask(number: int) -> int:
        headers = {"X-Request-Token": f"{run}:{number}"}
        answer = client.post("/api/v1/query", json={"prompt": "a b"}, headers=headers).json()
        assert answer["request_token"] == headers["X-Request-Token"]
        return int(answer["execution"])

    assert [ask(1), ask(2), ask(2), ask(2)] == [1, 1, 2, 3]
    assert client.get(f"/api/v1/requests/{run}:2").json()["executions"] == 3
    assert client.get(f"/api/v1/requests/{run}:9").json()["executions"] == 0
    assert client.get(f"/api/v1/runs/{run}").json() == {
        "run": run,
        "executions": 4,
        "tokens": 2,
        "replayed_tokens": 1,
        "replays": 2,
    }


def test_a_malformed_token_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/query", json={"prompt": "a"}, headers={"X-Request-Token": "nonsense"})
    assert answer.status_code == 422


def test_an_uncountable_query_is_refused(client: TestClient) -> None:
    chaos.STATE.fail_dependency = "redis"
    answer = client.post("/api/v1/query", json={"prompt": "a"}, headers={"X-Request-Token": "r:1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_a_stream_is_numbered_and_ends_in_done(client: TestClient) -> None:
    answer = client.post("/api/v1/query/stream", json={"prompt": "x", "seconds": 0.25, "interval": 0.1})
    assert answer.headers["x-accel-buffering"] == "no"
    assert [line for line in answer.text.splitlines() if line.startswith("id:")] == ["id: 1", "id: 2", "id: 3"]
    assert answer.text.endswith('event: done\ndata: {"count":3,"version":"1.2.3"}\n\n')


def test_a_websocket_is_numbered_and_closes_cleanly(client: TestClient) -> None:
    with client.websocket_connect("/api/v1/ws?seconds=0.15&interval=0.1", headers=dict(client.headers)) as socket:
        assert [socket.receive_json()["number"] for _ in range(2)] == [1, 2]
        assert socket.receive_json() == {"done": True, "count": 2, "version": "1.2.3"}
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1000


def test_a_websocket_needs_a_key(anonymous: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), anonymous.websocket_connect("/api/v1/ws"):
        pass


def test_read_only_mode_refuses_writes_alone(client: TestClient) -> None:
    switch = client.app.state.shared.cache.key("read_only")  # type: ignore[attr-defined]
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as store:
        store.set(switch, "1")
        try:
            time.sleep(1.5)  # it is looked at once a second
            refused = client.post("/api/v1/sessions", json={"title": "no"})
            assert (refused.status_code, refused.headers.get("retry-after")) == (503, "5")
            assert client.get("/api/v1/sessions").status_code == 200
        finally:
            store.delete(switch)


def test_metrics_name_what_monitoring_reads(client: TestClient) -> None:
    client.get("/")
    text = client.get("/metrics").text
    for name in (
        'agent_api_http_requests_total{method="GET",route="/",status="200"}',
        "agent_api_http_request_duration_seconds_bucket",
        "agent_api_sessions_active",
        "agent_api_database_pool_used",
        "agent_api_database_pool_capacity 15.0",
        "agent_api_redis_pool_used",
        "agent_api_redis_pool_capacity 32.0",
        "agent_api_sse_connections",
        "agent_api_websocket_connections",
    ):
        assert name in text
