# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health gate: when an answer is good, when enough of them are, and when waiting is pointless."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

BODY_SHOWN = 2048


class Expression(Protocol):
    """A compiled JMESPath expression."""

    def search(self, value: Any) -> Any: ...
    def failing_terms(self, value: Any) -> list[str]: ...


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One thing to ask, and what a good answer is."""

    path: str
    method: str = "GET"
    statuses: Sequence[int] = (200,)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    expect: Expression | None = None
    version: Expression | None = None
    latency_limit_milliseconds: float = 0

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"{self.method} {self.path}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; `failure` is one of "", refused, timeout, tls, network."""

    status: int = 0
    body: bytes = b""
    milliseconds: float = 0.0
    failure: str = ""
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether an answer is good; `kind` names the first thing wrong with it."""

    ok: bool
    kind: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long to insist."""

    consecutive: int = 3
    interval_seconds: float = 1.0
    starting_interval_seconds: float = 0.25
    deadline_seconds: float = 60.0
    settle_seconds: float = 0.0
    max_restarts: int = 0

    def impossible(self) -> str:
        """Why this gate could never pass; empty when it can."""
        least = (self.consecutive - 1) * self.interval_seconds + self.settle_seconds
        if least < self.deadline_seconds:
            return ""
        return (
            f"deadline_seconds {self.deadline_seconds:g} leaves no room for "
            f"{self.consecutive} answers {self.interval_seconds:g} s apart "
            f"and settle_seconds {self.settle_seconds:g}: it must be above {least:g}"
        )


@dataclasses.dataclass(frozen=True)
class ContainerState:
    """A container at one moment."""

    status: str
    exit_code: int = 0
    out_of_memory: bool = False
    restart_count: int = 0
    started_at: str = ""
    error: str = ""


def _version_verdict(endpoint: Endpoint, document: Any, wanted_version: str) -> Verdict | None:
    if endpoint.version is None or not wanted_version:
        return None
    found = endpoint.version.search(document)
    if str(found) == wanted_version:
        return None
    return Verdict(False, "version", f"it runs version {json.dumps(found)}, wanted is {json.dumps(wanted_version)}")


def _body_verdict(endpoint: Endpoint, body: bytes, wanted_version: str) -> Verdict | None:
    if endpoint.expect is None and (endpoint.version is None or not wanted_version):
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return Verdict(False, "json", "the body is not JSON")
    wrong = _version_verdict(endpoint, document, wanted_version)
    if wrong is not None:
        return wrong
    if endpoint.expect is not None and endpoint.expect.search(document) is not True:
        return Verdict(False, "expect", "; ".join(endpoint.expect.failing_terms(document)))
    return None


def judge(endpoint: Endpoint, answer: Answer, wanted_version: str = "") -> Verdict:
    """Judge one answer: transport, status, version, body, latency, in this order."""
    if answer.failure:
        return Verdict(False, answer.failure, answer.message)
    if answer.status not in endpoint.statuses:
        wanted = " or ".join(str(status) for status in endpoint.statuses)
        return Verdict(False, "status", f"status {answer.status}, wanted is {wanted}")
    try:
        wrong = _body_verdict(endpoint, answer.body, wanted_version)
    except ValueError as error:
        return Verdict(False, "expect", f"the expression cannot be applied to this body: {error}")
    if wrong is not None:
        return wrong
    limit = endpoint.latency_limit_milliseconds
    if limit and answer.milliseconds > limit:
        return Verdict(False, "latency", f"it took {answer.milliseconds:.0f} ms, the limit is {limit:g} ms")
    return Verdict(True)


@dataclasses.dataclass
class Gate:
    """Counts good rounds; a round is one answer of every endpoint."""

    settings: Settings
    in_a_row: int = 0
    rounds: int = 0
    reached_after: float | None = None
    decision: str = ""
    reason: str = ""
    kind: str = ""
    _first: ContainerState | None = None
    _latest: ContainerState | None = None

    def _decide(self, decision: str, kind: str = "", reason: str = "") -> None:
        self.decision, self.kind, self.reason = decision, kind, reason

    def _reset(self) -> None:
        self.in_a_row, self.reached_after = 0, None

    def observe_container(self, name: str, state: ContainerState | None) -> None:
        """Take note of the container: one that has ended will not become healthy by waiting."""
        if state is None:
            self._decide("failed", "gone", f"there is no container {name}")
            return
        if state.status in ("exited", "dead", "created", "removing"):
            self._decide("failed", "exited", f"{name} has ended with exit code {state.exit_code}{_memory(state)}")
            return
        if self._first is None or self._latest is None:
            self._first = self._latest = state
            return
        if (state.started_at, state.restart_count) == (self._latest.started_at, self._latest.restart_count):
            return
        self._latest = state
        self._reset()
        restarts = max(1, state.restart_count - self._first.restart_count)
        if restarts > self.settings.max_restarts:
            self._decide(
                "failed",
                "restarted",
                f"{name} restarted while the gate was watching{_exit(state)}",
            )

    def observe_round(self, elapsed: float, verdicts: Sequence[Verdict]) -> None:
        """Take note of a round of answers that was complete `elapsed` seconds after the start."""
        self.rounds += 1
        if self.decision:
            return
        if all(verdict.ok for verdict in verdicts):
            self.in_a_row += 1
            if self.in_a_row >= self.settings.consecutive and self.reached_after is None:
                self.reached_after = elapsed
        else:
            self._reset()
        if self.reached_after is not None and elapsed - self.reached_after >= self.settings.settle_seconds:
            self._decide("passed")
        elif elapsed >= self.settings.deadline_seconds:
            self._late(verdicts)

    def _late(self, verdicts: Sequence[Verdict]) -> None:
        wrong = next((verdict for verdict in verdicts if not verdict.ok), None)
        if wrong is not None:
            self._decide("failed", wrong.kind, wrong.reason)
        else:
            missing = f"{self.in_a_row} of {self.settings.consecutive} good answers in a row"
            self._decide("failed", "late", f"answers became good too late: {missing} at the deadline")

    def pause(self, elapsed: float, round_seconds: float) -> float:
        """Seconds to wait before the next round: short while the app is still starting, never past the deadline."""
        interval = (
            self.settings.interval_seconds
            if self.in_a_row
            else min(self.settings.starting_interval_seconds, self.settings.interval_seconds)
        )
        if self.reached_after is not None:
            interval = min(interval, max(0.05, self.reached_after + self.settings.settle_seconds - elapsed))
        return max(0.0, min(interval - round_seconds, self.settings.deadline_seconds - elapsed))


def _exit(state: ContainerState) -> str:
    # The engine forgets the exit code once the container runs again.
    return f", last exit code {state.exit_code}{_memory(state)}" if state.status == "restarting" else ""


def _memory(state: ContainerState) -> str:
    error = f" ({state.error})" if state.error else ""
    return (", killed for want of memory" if state.out_of_memory else "") + error


_ADVICE = {
    "refused": "nothing listens there: the app must listen on 0.0.0.0 and container_port in its container; see its log",
    "timeout": "the app takes the connection but answers too late: see its log for why, or raise timeout_seconds",
    "tls": "give the CA that signed the certificate as ca_file, and the name in it as host",
    "network": "the connection broke: does the app speak HTTP on this port, and does it stay alive? see its log",
    "status": "404 is most likely a wrong health.path, 5xx an app that is not ready or lacks a dependency",
    "version": "another release runs there, or the image carries the wrong version: check both",
    "expect": "the app answers but says it is not well: see the named dependency, or correct health.expect",
    "json": "health.expect and health.version need a JSON body: correct health.path, or leave them out",
    "latency": "the app is slow: give it more resources, or raise latency_limit_milliseconds",
    "late": "raise deadline_seconds, or make the app start faster",
    "exited": "the log says why; 1 is most often a missing setting, 126 or 127 a wrong command, 137 a kill (memory)",
    "restarted": "the app dies after its start: the log says why; 137 is a kill, most often for want of memory",
    "gone": "start the slot first, and check the name",
}


def advice(kind: str) -> str:
    """What to do about a failure."""
    return _ADVICE.get(kind, "see the log")


def shown(body: bytes) -> str:
    """A body as reports show it."""
    text = body[:BODY_SHOWN].decode(errors="replace")
    return text + (f" … ({len(body)} bytes)" if len(body) > BODY_SHOWN else "")


def message(report: Mapping[str, Any]) -> str:
    """The report for a person."""
    rounds = f"{report['in_a_row']} of {report['consecutive']} good answers in a row, {report['rounds']} rounds"
    if report["verdict"] == "passed":
        return f"healthy after {report['seconds']:.1f} s ({rounds})"
    lines = [f"Not healthy after {report['seconds']:.1f} s: {report['reason']}", f"  {rounds}"]
    for last in report["last"]:
        answer = f"{last['status']} in {last['milliseconds']:.0f} ms" if last["status"] else "no answer"
        lines.append(f"  {last['method']} {last['url']}: {answer}{'' if last['ok'] else '; ' + last['reason']}")
        if last["body"] and not last["ok"]:
            lines.append(f"    body: {last['body']}")
    container = report["container"]
    if container is not None:
        state = container["status"] or "does not exist"
        lines.append(
            f"  container {container['name']}: {state}, exit code {container['exit_code']}, "
            f"out of memory: {'yes' if container['oom_killed'] else 'no'}, restarts: {container['restart_count']}"
        )
        lines += ["  its last log lines:", *(f"    {line}" for line in container["log"] or ["(none)"])]
    return "\n".join([*lines, f"  To do: {report['advice']}"])
