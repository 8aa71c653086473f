"""What needs neither PostgreSQL nor Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from app import auth, chaos, db, executions, health, streams, tracing
from app.dependencies import Dependency, DependencyUnavailable
from app.settings import Settings, get_settings


def test_root_needs_no_dependency_and_no_key(anonymous: TestClient) -> None:
    answer = anonymous.get("/")
    assert answer.json() == {"service": "claude-agent-api", "version": "1.2.3"}
    assert answer.headers["x-correlation-id"]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "first-key, second-key"}, {"X-API-Key": "x"}])
def test_wrong_keys_are_refused(anonymous: TestClient, headers: dict[str, str]) -> None:
    assert anonymous.get("/api/v1/runs/r", headers=headers).status_code == 401


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_every_listed_key_is_accepted(key: str) -> None:
    assert auth.accepted(get_settings(), key)


def test_an_empty_key_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", " , ")
    with pytest.raises(ValidationError, match="at least one key"):
        Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run-1:7", executions.Token("run-1", 7)),
        ("a.b_c:0", executions.Token("a.b_c", 0)),
        ("run", None),
        ("run:", None),
        ("run:x", None),
        ("a:b:1", None),
        ("run:67108864", None),
    ],
)
def test_request_tokens(text: str, expected: executions.Token | None) -> None:
    assert executions.parse(text) == expected


def test_chaos_from_the_environment_overrides_baked_defaults() -> None:
    environment = {"CHAOS_DEFAULTS": "CHAOS_ERROR_RATE=0.5 CHAOS_NEVER_HEALTHY=true", "CHAOS_ERROR_RATE": "0.25"}
    state = chaos.from_environment(environment)
    assert (state.error_rate, state.never_healthy, state.enabled) == (0.25, True, False)


@pytest.mark.parametrize("bad", [{"CHAOS_ERROR_RATE": "2"}, {"CHAOS_FAIL_DEPENDENCY": "mysql"}])
def test_chaos_refuses_nonsense(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        chaos.from_environment(bad)


def test_injected_errors_spare_health_and_chaos(anonymous: TestClient) -> None:
    chaos.STATE.error_rate = 1.0
    assert anonymous.get("/").status_code == 500
    assert "dependencies" in anonymous.get("/health").json()
    assert anonymous.get("/chaos", headers={"X-API-Key": "first-key"}).json()["error_rate"] == 1.0


def test_chaos_at_run_time_has_to_be_allowed(anonymous: TestClient) -> None:
    chaos.STATE.enabled = False
    answer = anonymous.post("/chaos", json={"error_rate": 1}, headers={"X-API-Key": "first-key"})
    assert answer.status_code == 403
    assert chaos.STATE.error_rate == 0


def test_pgoptions() -> None:
    assert db.server_settings("-c role=owner -clock_timeout=5s -c statement_timeout=600s") == {
        "role": "owner",
        "lock_timeout": "5s",
        "statement_timeout": "600s",
    }


@pytest.mark.parametrize(
    ("postgres", "redis", "disk", "never_healthy", "expected"),
    [
        ("ok", "ok", "ok", False, "ok"),
        ("ok", "error", "ok", False, "degraded"),
        ("ok", "ok", "error", False, "degraded"),
        ("error", "ok", "ok", False, "error"),
        ("ok", "ok", "ok", True, "error"),
    ],
)
def test_health_verdict(postgres: str, redis: str, disk: str, never_healthy: bool, expected: str) -> None:
    chaos.STATE.never_healthy = never_healthy
    dependencies: dict[str, dict[str, Any]] = {"postgres": {"status": postgres}, "redis": {"status": redis}}
    assert health.verdict(dependencies, disk) == expected


def test_the_callers_trace_is_continued_and_returned() -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {b"traceparent": f"00-{trace_id}-b7ad6b7169203331-01".encode(), b"x-correlation-id": b"abc-1"}
    context = tracing.enter(headers)
    returned = {name.decode(): value.decode() for name, value in context.response_headers()}
    context.leave()
    assert returned["x-correlation-id"] == "abc-1"
    version, returned_trace, span, flags = returned["traceparent"].split("-")
    assert (version, returned_trace, flags) == ("00", trace_id, "01")
    assert span != "b7ad6b7169203331"


@pytest.mark.parametrize("offered", [b"", b"has space", b"x" * 200, b'"quoted"'])
def test_unfit_correlation_ids_are_replaced(offered: bytes) -> None:
    context = tracing.enter({b"x-correlation-id": offered})
    context.leave()
    assert context.correlation_id != offered.decode()
    assert len(context.correlation_id) == 32


def test_numbers_keep_a_steady_beat() -> None:
    async def collect() -> list[int]:
        return [number async for number in streams.numbers(0.25, 0.1)]

    assert asyncio.run(collect()) == [1, 2, 3]


def dependency(failures: int = 2) -> Dependency:
    return Dependency("redis", lambda error: isinstance(error, OSError), (TimeoutError,), failures, 60)


def test_an_outage_is_retried_until_it_heals() -> None:
    outcomes = iter([ConnectionResetError(), None])

    async def operation() -> str:
        if (outcome := next(outcomes)) is not None:
            raise outcome
        return "answer"

    assert asyncio.run(dependency().call(operation)) == "answer"


def test_what_is_no_outage_passes_through_and_leaves_the_breaker_closed() -> None:
    async def operation() -> None:
        raise KeyError("mine")

    subject = dependency(failures=1)
    with pytest.raises(KeyError):
        asyncio.run(subject.call(operation))
    assert subject.breaker.state == "closed"


def test_the_breaker_opens_and_then_refuses_without_asking() -> None:
    calls = 0

    async def operation() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionRefusedError

    async def scenario() -> None:
        for _ in range(4):
            with pytest.raises(DependencyUnavailable):
                await subject.call(operation, retry=False)

    subject = dependency(failures=2)
    asyncio.run(scenario())
    assert (calls, subject.breaker.state) == (2, "open")


def test_a_timeout_is_not_tried_again() -> None:
    calls = 0

    async def operation() -> None:
        nonlocal calls
        calls += 1
        raise TimeoutError

    with pytest.raises(DependencyUnavailable):
        asyncio.run(dependency().call(operation))
    assert calls == 1


def test_an_unexpected_exception_is_answered_and_logged(anonymous: TestClient) -> None:
    async def broken(_request: object) -> None:
        raise ValueError("surprise")

    anonymous.app.add_route("/broken", broken)  # type: ignore[attr-defined]
    answer = anonymous.get("/broken")
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})
