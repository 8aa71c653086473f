# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The two gates at the edge as loops over a source of snapshots; clock and sleep are given, so tests need no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._traffic_analysis import (
    Limits,
    Totals,
    addition,
    clear_breach,
    difference,
    figures,
    judge,
    slot_counters,
    totals_of,
    was_reset,
)

Report = dict[str, Any]
Snapshot = Mapping[str, Any]
# A timeline longer than this is of no use to a reader.
SAMPLES = 120
FAILED_READS = 3
# Zero is believed when it is read twice: a worker may be between its choice of a slot and its count.
ZEROS = 2


class GateError(Exception):
    """The source of snapshots did not answer."""


class Gate:
    """What both gates share: reading with some patience, time, and the report."""

    def __init__(
        self,
        read: Callable[[], Snapshot],
        slot: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        interval: float = 1.0,
    ) -> None:
        self.read_source = read
        self.slot = slot
        self.clock = clock
        self.sleep = sleep
        self.interval = interval
        self.started = clock()
        self.failed_reads = 0
        self.report: Report = {"slot": slot, "verdict": "fail", "reason": "", "warnings": [], "timeline": []}

    def elapsed(self) -> float:
        """Return seconds since the gate began."""
        return self.clock() - self.started

    def read(self) -> Mapping[str, Any] | None:
        """Return the slot's counters, None for one missed read; GateError after several in a row."""
        try:
            counters = slot_counters(self.read_source(), self.slot)
        except GateError:
            self.failed_reads += 1
            if self.failed_reads >= FAILED_READS:
                raise
            return None
        self.failed_reads = 0
        return counters

    def finish(self, verdict: str, reason: str) -> Report:
        """Close the report."""
        self.report.update(verdict=verdict, reason=reason, seconds=round(self.elapsed(), 3))
        return self.report

    def note(self, **sample: Any) -> None:
        """Add a sample to the timeline."""
        self.report["timeline"].append({"second": round(self.elapsed(), 1), **sample})


def drain(gate: Gate, deadline: float) -> Report:
    """Wait until nothing is in flight in the slot; the report says what was left."""
    gate.report.update(gate="drain", deadline_seconds=deadline, left=None)
    zeros = 0
    last: tuple[int, int] | None = None
    while True:
        try:
            counters = gate.read()
        except GateError as error:
            return gate.finish("fail", f"the edge did not answer: {error}")
        if counters is not None:
            now = (counters["in_flight"], counters["streams_in_flight"])
            gate.report["left"] = {"in_flight": now[0], "streams_in_flight": now[1]}
            if now != last and len(gate.report["timeline"]) < SAMPLES:
                gate.note(in_flight=now[0], streams_in_flight=now[1])
            last = now
            zeros = zeros + 1 if now == (0, 0) else 0
            if zeros >= ZEROS:
                return gate.finish("pass", "nothing is in flight")
        if gate.elapsed() >= deadline:
            left = gate.report["left"] or {"in_flight": "?", "streams_in_flight": "?"}
            return gate.finish(
                "fail",
                f"{left['in_flight']} requests ({left['streams_in_flight']} of them streams) are still in flight",
            )
        gate.sleep(min(gate.interval, 0.2) if zeros else gate.interval)


def bake(gate: Gate, seconds: float, limits: Limits) -> Report:
    """Watch the slot for the window; ends early at a clear breach."""
    gate.report.update(gate="bake", window_seconds=seconds, limits=asdict(limits), totals={}, counter_resets=0)
    gate.interval = max(gate.interval, seconds / SAMPLES)
    totals = Totals()
    before: Mapping[str, Any] | None = None
    while True:
        try:
            after = gate.read()
        except GateError as error:
            return gate.finish("fail", f"the edge did not answer: {error}")
        if after is not None:
            totals = grown(gate, totals, before, after)
            before = after
            gate.report["totals"] = figures(totals)
            breach = clear_breach(totals, limits)
            if breach:
                return gate.finish("fail", f"after {gate.elapsed():.0f} s: {breach}")
        left = seconds - gate.elapsed()
        if left <= 0:
            return concluded(gate, totals, limits)
        gate.sleep(min(gate.interval, left))


def grown(gate: Gate, totals: Totals, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Totals:
    """Return the totals with what the last interval added; the first snapshot only sets the mark."""
    if before is None:
        return totals
    span = totals_of(after)
    if was_reset(before, after):
        gate.report["counter_resets"] += 1
        gate.report["warnings"].append("the edge restarted within the window: its counters began anew")
    else:
        span = difference(totals_of(before), span)
    gate.note(requests=span.requests, errors=span.errors, in_flight=after["in_flight"])
    return addition(totals, span)


def concluded(gate: Gate, totals: Totals, limits: Limits) -> Report:
    """Close a window that ran to its end."""
    verdict, reason = judge(totals, limits)
    if verdict == "inconclusive":
        gate.report["warnings"].append(f"too little traffic: {reason}")
        if limits.require_traffic:
            return gate.finish("fail", f"traffic is required, but {reason}")
    return gate.finish(verdict, reason)
