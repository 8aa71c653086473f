"""What happened: counts, latencies, failures, and which version answered when."""

from __future__ import annotations

import time
from array import array
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

KEPT_FAILURES = 2000
# An old version that was silent this long and then answers what was asked after the change: a change back.
SETTLED_SECONDS = 1.0


class Fault(Exception):
    """A failed request, stream or connection."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass
class Failure:
    time: float
    kind: str
    protocol: str
    target: str
    connection: int
    request: int
    detail: str


@dataclass
class Change:
    old: str
    new: str
    first_new: float
    last_old: float
    # When the last request that the old version answered was sent: slow answers do not count against the switch.
    last_old_sent: float

    @property
    def overlap_ms(self) -> float:
        """How long both versions answered: 0 when no old answer came after the first new one."""
        return max(0.0, (self.last_old - self.first_new) * 1000)

    @property
    def routing_overlap_ms(self) -> float:
        """How long after the first new answer requests were still sent to the old version."""
        return max(0.0, (self.last_old_sent - self.first_new) * 1000)


@dataclass
class VersionSeen:
    answers: int
    first: float
    last: float
    last_sent: float


@dataclass
class StreamCount:
    started: int = 0
    completed: int = 0
    failed: int = 0
    messages: int = 0


class Recorder:
    def __init__(self) -> None:
        self.started = time.time()
        # The streams under way are waited for after the last request.
        self.requests_ended = self.started
        self.answers: Counter[str] = Counter()
        self.accepted: Counter[int] = Counter()
        self.posts_sent = 0
        self.posts_answered = 0
        self.posts_refused = 0
        self.connections_opened = 0
        self.polite_closes = 0
        self.idle_closes = 0
        self.latencies: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.failures: list[Failure] = []
        self.failures_by_kind: Counter[str] = Counter()
        self.versions: dict[str, VersionSeen] = {}
        self.changes: list[Change] = []
        self.per_second: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.streams = {"sse": StreamCount(), "websocket": StreamCount()}
        self.executions: dict[str, object] = {"checked": False}
        self._current: str | None = None

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    @property
    def failed(self) -> int:
        return self.failures_by_kind.total()

    def answer(self, protocol: str, kind: str, seconds: float, version: str) -> None:
        self.answers[kind] += 1
        self.latencies[protocol].append(seconds)
        now = time.time()
        self.version(version, now, now - seconds)

    def version(self, version: str, now: float, sent: float) -> None:
        self.per_second[int(now)][version] += 1
        seen = self.versions.get(version)
        if version != self._current:
            self._other_version(version, now, sent, seen)
        if seen is None:
            self.versions[version] = VersionSeen(1, now, now, sent)
        else:
            seen.answers += 1
            seen.last = now
            seen.last_sent = max(seen.last_sent, sent)

    def _other_version(self, version: str, now: float, sent: float, seen: VersionSeen | None) -> None:
        if self._current is None:
            self._current = version
            return
        last = self.changes[-1] if self.changes else None
        straggler = last and (sent <= last.first_new or (seen and now - seen.last < SETTLED_SECONDS))
        if last and last.old == version and straggler:
            last.last_old = now
            last.last_old_sent = max(last.last_old_sent, sent)
            return
        old = self.versions[self._current]
        self.changes.append(Change(self._current, version, now, old.last, old.last_sent))
        self._current = version

    def failure(self, fault: Fault, protocol: str, target: str, connection: int, request: int) -> None:
        self.failures_by_kind[fault.kind] += 1
        self.per_second[int(time.time())]["failed"] += 1
        if len(self.failures) < KEPT_FAILURES:
            detail = fault.detail[:300]
            self.failures.append(Failure(time.time(), fault.kind, protocol, target, connection, request, detail))

    def failures_as_dicts(self) -> list[dict[str, object]]:
        return [asdict(failure) for failure in self.failures]
