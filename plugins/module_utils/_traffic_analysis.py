# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judging a slot by the edge's counters: pure functions over snapshots of GET /counters/<app>."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# One-sided 95 %.
CONFIDENCE = 1.645
# Below these numbers of errors no breach is called clear, whatever the share.
CLEAR_ERRORS_EARLY = 5
CLEAR_ERRORS_AT_END = 3
CLEAR_SLOW_EARLY = 5
QUANTILE = 0.99


@dataclass(frozen=True)
class Limits:
    """What a release has to keep."""

    max_error_rate: float = 0.01
    max_p99_milliseconds: float = 5000
    min_requests: int = 20
    require_traffic: bool = False


@dataclass
class Totals:
    """What a slot did since the start of the window."""

    requests: int = 0
    errors: int = 0
    streams: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    bounds: list[float] = field(default_factory=list)
    cumulative: list[int] = field(default_factory=list)
    timed: int = 0
    seconds: float = 0.0

    def error_rate(self) -> float | None:
        """Return errors per request, None without requests."""
        return self.errors / self.requests if self.requests else None

    def above(self, seconds: float) -> int:
        """Return how many timed requests surely took longer: those beyond the first bound not below the limit."""
        for bound, count in zip(self.bounds, self.cumulative):
            if bound >= seconds:
                return self.timed - count
        return 0


def slot_counters(snapshot: Mapping[str, Any], slot: str) -> Mapping[str, Any]:
    """Return one slot's part of a snapshot."""
    counters: Mapping[str, Any] = snapshot["slots"][slot]
    return counters


def totals_of(counters: Mapping[str, Any]) -> Totals:
    """Read one slot's counters as totals."""
    latency = counters["latency"]
    return Totals(
        requests=sum(counters["requests"].values()),
        errors=counters["errors"],
        streams=counters["streams"],
        classes=dict(counters["requests"]),
        bounds=list(latency["le"]),
        cumulative=list(latency["counts"]),
        timed=latency["count"],
        seconds=latency["sum"],
    )


def was_reset(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Tell whether the edge restarted in between and its counters began anew."""
    return bool(
        before["reset"] != after["reset"]
        or sum(after["requests"].values()) < sum(before["requests"].values())
        or after["latency"]["count"] < before["latency"]["count"]
    )


def difference(before: Totals, after: Totals) -> Totals:
    """Return what was added between two snapshots of one counter life."""
    return Totals(
        requests=after.requests - before.requests,
        errors=after.errors - before.errors,
        streams=after.streams - before.streams,
        classes={name: value - before.classes.get(name, 0) for name, value in after.classes.items()},
        bounds=after.bounds,
        cumulative=[a - b for a, b in zip(after.cumulative, before.cumulative)],
        timed=after.timed - before.timed,
        seconds=after.seconds - before.seconds,
    )


def addition(one: Totals, other: Totals) -> Totals:
    """Return the sum of two spans."""
    if not one.bounds:
        return other
    return Totals(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        streams=one.streams + other.streams,
        classes={name: one.classes.get(name, 0) + value for name, value in other.classes.items()},
        bounds=other.bounds,
        cumulative=[a + b for a, b in zip(one.cumulative, other.cumulative)],
        timed=one.timed + other.timed,
        seconds=one.seconds + other.seconds,
    )


def quantile_milliseconds(totals: Totals, share: float = QUANTILE) -> float | None:
    """Return the quantile, linear within its bucket; inf beyond the last bound, None without timed requests."""
    if totals.timed <= 0:
        return None
    rank = share * totals.timed
    low_bound, low_count = 0.0, 0
    for bound, count in zip(totals.bounds, totals.cumulative):
        if count >= rank and count > low_count:
            return (low_bound + (bound - low_bound) * (rank - low_count) / (count - low_count)) * 1000
        low_bound, low_count = bound, count
    return math.inf


def lower_bound(hits: int, trials: int) -> float:
    """Return the lower end of Wilson's interval for a share: what it is at least, with 95 % confidence."""
    if trials <= 0:
        return 0.0
    share, square = hits / trials, CONFIDENCE**2
    centre = share + square / (2 * trials)
    spread = CONFIDENCE * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, (centre - spread) / (1 + square / trials))


def clear_breach(totals: Totals, limits: Limits, errors: int = CLEAR_ERRORS_EARLY) -> str | None:
    """Return why the slot is in breach beyond doubt, so that waiting longer only costs users."""
    bound = lower_bound(totals.errors, totals.requests)
    if totals.errors >= errors and bound > limits.max_error_rate:
        return (
            f"{totals.errors} of {totals.requests} requests failed: at least {bound:.2%} with 95 % confidence,"
            f" limit {limits.max_error_rate:.2%}"
        )
    slow = totals.above(limits.max_p99_milliseconds / 1000)
    enough = slow >= CLEAR_SLOW_EARLY and totals.timed >= limits.min_requests
    if enough and lower_bound(slow, totals.timed) > 1 - QUANTILE:
        return (
            f"{slow} of {totals.timed} requests took longer than {limits.max_p99_milliseconds:g} ms:"
            " p99 is above it with 95 % confidence"
        )
    return None


def judge(totals: Totals, limits: Limits) -> tuple[str, str]:
    """Return verdict and reason at the end of the window."""
    breach = clear_breach(totals, limits, CLEAR_ERRORS_AT_END)
    if breach:
        return "fail", breach
    if totals.requests < limits.min_requests:
        found = (
            f"{totals.requests} requests of {limits.min_requests} needed for a verdict, {totals.errors} of them failed"
        )
        return "inconclusive", found
    rate = totals.error_rate() or 0.0
    if rate > limits.max_error_rate:
        return "fail", f"error rate {rate:.2%} is above {limits.max_error_rate:.2%}"
    p99 = quantile_milliseconds(totals)
    if p99 is not None and p99 > limits.max_p99_milliseconds:
        return "fail", f"p99 {p99:.0f} ms is above {limits.max_p99_milliseconds:g} ms"
    return (
        "pass",
        f"{totals.requests} requests, error rate {rate:.2%}, p99 {'unknown' if p99 is None else f'{p99:.0f} ms'}",
    )


def figures(totals: Totals) -> dict[str, Any]:
    """Return totals as plain data for a report; infinity is not JSON and becomes null."""
    p50, p99 = quantile_milliseconds(totals, 0.5), quantile_milliseconds(totals)
    return {
        "requests": totals.requests,
        "errors": totals.errors,
        "error_rate": totals.error_rate(),
        "streams": totals.streams,
        "classes": totals.classes,
        "timed": totals.timed,
        "mean_milliseconds": round(totals.seconds / totals.timed * 1000, 3) if totals.timed else None,
        "p50_milliseconds": None if p50 is None or math.isinf(p50) else round(p50, 3),
        "p99_milliseconds": None if p99 is None or math.isinf(p99) else round(p99, 3),
        "p99_beyond_histogram": p99 is not None and math.isinf(p99),
    }
