"""The health gate: rules over a table, and the probe against real servers."""

from __future__ import annotations

import http.server
import json
import threading
import time

import jmespath
import pytest
from jmespath import visitor

from ansible_collections.signalbox.platform.plugins.module_utils import _health as health
from ansible_collections.signalbox.platform.plugins.module_utils._compose import Container
from ansible_collections.signalbox.platform.plugins.module_utils._expression import CompiledExpression
from ansible_collections.signalbox.platform.plugins.module_utils._health_probe import Probe, Target

GOOD = {"status": "ok", "version": "1.0.0", "dependencies": {"postgres": {"status": "ok"}}}


def expression(text):
    return CompiledExpression(
        jmespath.compile(text).parsed, lambda node, value: visitor.TreeInterpreter().visit(node, value)
    )


EXPECT = expression("status == 'ok' && dependencies.postgres.status == 'ok'")
ENDPOINT = health.Endpoint("/health", expect=EXPECT, version=expression("version"), latency_limit_milliseconds=1000)


def answer(body=GOOD, status=200, milliseconds=5.0):
    return health.Answer(status, json.dumps(body).encode(), milliseconds)


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        (answer(), "", ""),
        (answer(status=503), "status", "status 503, wanted is 200"),
        (answer({**GOOD, "version": "0.9"}), "version", 'version "0.9", wanted is "1.0.0"'),
        (answer({"version": "1.0.0"}), "expect", 'status is null, wanted is == "ok"'),
        (
            answer({**GOOD, "dependencies": {"postgres": {"status": "down"}}}),
            "expect",
            'dependencies.postgres.status is "down", wanted is == "ok"',
        ),
        (answer(milliseconds=1500), "latency", "1500 ms"),
        (health.Answer(200, b"<html>"), "json", "not JSON"),
        (health.Answer(failure="refused", message="connection refused"), "refused", "connection refused"),
    ],
)
def test_judge(given, kind, reason):
    verdict = health.judge(ENDPOINT, given, "1.0.0")
    assert (verdict.ok, verdict.kind) == (not kind, kind)
    assert reason in verdict.reason


def test_only_true_is_true():
    endpoint = health.Endpoint("/", expect=expression("status"))
    assert health.judge(endpoint, answer()).reason == 'status is "ok", wanted is true'


def test_no_wanted_version_compares_none():
    assert health.judge(ENDPOINT, answer({**GOOD, "version": "x"}), "").ok


OK, BAD = health.Verdict(True), health.Verdict(False, "status", "status 500")


@pytest.mark.parametrize(
    ("settings", "rounds", "decision"),
    [
        ({}, [OK, OK, OK], "passed"),
        ({}, [OK, OK, BAD, OK, OK], ""),
        ({}, [OK, OK, BAD, OK, OK, OK], "passed"),
        ({"settle_seconds": 2}, [OK, OK, OK, OK], ""),
        ({"settle_seconds": 2}, [OK, OK, OK, OK, OK], "passed"),
        ({"settle_seconds": 2}, [OK, OK, OK, BAD, OK, OK, OK, OK], ""),
        ({"deadline_seconds": 4}, [BAD] * 5, "failed"),
        ({"deadline_seconds": 4}, [BAD, BAD, BAD, OK, OK], "failed"),
    ],
)
def test_gate(settings, rounds, decision):
    gate = health.Gate(health.Settings(**settings))
    for second, verdict in enumerate(rounds):
        gate.observe_round(float(second), [verdict])
    assert gate.decision == decision


def state(status="running", **fields):
    return health.ContainerState(status, **fields)


def test_an_ended_container_ends_the_gate():
    gate = health.Gate(health.Settings())
    gate.observe_container("api-blue", state("exited", exit_code=137, out_of_memory=True))
    assert (gate.decision, gate.kind) == ("failed", "exited")
    assert "exit code 137, killed for want of memory" in gate.reason
    gate.observe_round(0, [OK])
    assert gate.decision == "failed"


def test_a_restart_fails_or_begins_anew():
    strict, patient = (health.Gate(health.Settings(max_restarts=limit)) for limit in (0, 1))
    for gate in (strict, patient):
        gate.observe_container("c", state(started_at="a"))
        gate.observe_round(0, [OK])
        gate.observe_container("c", state(started_at="b", restart_count=1))
    assert (strict.decision, strict.kind) == ("failed", "restarted")
    assert (patient.decision, patient.in_a_row) == ("", 0)


def test_a_missing_container_ends_the_gate():
    gate = health.Gate(health.Settings())
    gate.observe_container("c", None)
    assert gate.kind == "gone"


def test_a_gate_that_cannot_pass_is_refused():
    assert "must be above 7" in health.Settings(settle_seconds=5, deadline_seconds=7).impossible()
    assert not health.Settings().impossible()


def test_pause_is_short_until_something_answers():
    gate = health.Gate(health.Settings())
    assert gate.pause(0.0, 0.05) == pytest.approx(0.2)
    gate.observe_round(1.0, [OK])
    assert gate.pause(1.0, 0.1) == pytest.approx(0.9)
    assert gate.pause(59.9, 0.0) == pytest.approx(0.1)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its server's `answers` says, the last one for ever."""

    def do_GET(self):
        answers = self.server.answers
        status, body, wait = answers.pop(0) if len(answers) > 1 else answers[0]
        time.sleep(wait)
        self.send_response(status)
        self.end_headers()
        if wait != 9:
            self.wfile.write(body)

    def log_message(self, *_arguments):
        """Silence."""


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def probe(made, answers, endpoints=(ENDPOINT,), **fields):
    made.answers = answers
    settings = health.Settings(3, 0.05, 0.02, fields.pop("deadline", 2.0), fields.pop("settle", 0.0))
    target = Target(f"http://127.0.0.1:{made.server_address[1]}")
    return Probe(target, endpoints, settings, "1.0.0", timeout_seconds=0.5, **fields)


BODY = json.dumps(GOOD).encode()


def test_probe_passes_after_a_slow_start(server):
    report = probe(server, [(503, b"", 0), (503, b"", 0), (200, BODY, 0)]).run()
    assert (report["verdict"], report["rounds"]) == ("passed", 5)
    assert [entry["ok"] for entry in report["timeline"]] == [False, False, True, True, True]
    assert "healthy after" in health.message(report)


def test_probe_reports_the_last_answer(server):
    report = probe(server, [(200, b'{"status": "bad", "version": "1.0.0"}', 0)], deadline=0.3).run()
    text = health.message(report)
    assert report["verdict"] == "failed"
    assert 'status is "bad"' in text
    assert 'body: {"status": "bad"' in text
    assert "To do:" in text


def test_probe_asks_side_by_side(server):
    endpoints = [health.Endpoint(f"/{number}") for number in range(4)]
    since = time.monotonic()
    report = probe(server, [(200, b"{}", 0.2)], endpoints).run()
    assert report["verdict"] == "passed"
    assert time.monotonic() - since < 4 * 3 * 0.2


def test_probe_times_out_a_request(server):
    report = probe(server, [(200, BODY, 1.0)], deadline=0.6).run()
    assert report["kind"] == "timeout"


def test_probe_names_a_refused_connection(server):
    made = probe(server, [(200, BODY, 0)], deadline=0.2)
    made.target = Target("http://127.0.0.1:1")
    assert made.run()["kind"] == "refused"


class Engine:
    """A container that ends after some looks at it."""

    def __init__(self, looks):
        self.looks = looks

    def container(self, _name):
        self.looks -= 1
        status = "running" if self.looks > 0 else "exited"
        return Container("id", "x", status, {}, exit_code=1, started_at="a")

    def log_lines(self, _name, _lines):
        return ["Traceback", "KeyError: 'DATABASE_URL'"]


def test_probe_does_not_wait_for_a_dead_container(server):
    since = time.monotonic()
    made = probe(server, [(500, b"", 0)], deadline=30.0, container="api-blue", engine=Engine(4))
    report = made.run()
    assert time.monotonic() - since < 5
    assert report["kind"] == "exited"
    text = health.message(report)
    assert "KeyError: 'DATABASE_URL'" in text
    assert "exit code 1" in text


def test_settling_catches_an_app_that_dies_after_a_moment(server):
    made = probe(server, [(200, BODY, 0)], settle=5.0, deadline=30.0, container="api-blue", engine=Engine(12))
    assert made.run()["kind"] == "exited"


def test_shown_bodies_are_bounded():
    assert len(health.shown(b"x" * 9000)) < 2100
