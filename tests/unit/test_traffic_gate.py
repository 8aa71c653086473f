"""Judgement over counter snapshots, and the two gates over scripted ones."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils._traffic_analysis import (
    Limits,
    Totals,
    clear_breach,
    judge,
    lower_bound,
    quantile_milliseconds,
    totals_of,
    was_reset,
)
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_gate import Gate, GateError, bake, drain

BOUNDS = [0.1, 1, 5]


def counters(good=0, errors=0, in_flight=0, streams=0, slow=0, reset=1):
    """All good requests take below 0.1 s but the slow ones, which take 5 s to infinity."""
    timed = good + errors
    return {
        "requests": {"2xx": good, "5xx": errors},
        "errors": errors,
        "in_flight": in_flight,
        "streams_in_flight": streams,
        "streams": 0,
        "latency": {"le": BOUNDS, "counts": [timed - slow] * 3, "sum": 0.01 * timed, "count": timed},
        "reset": reset,
    }


class Script:
    """Returns the given counters one after the other, the last one for ever; time passes with sleep alone."""

    def __init__(self, *values):
        self.values, self.now, self.reads = list(values), 0.0, 0

    def read(self):
        value = self.values[min(self.reads, len(self.values) - 1)]
        self.reads += 1
        if isinstance(value, Exception):
            raise value
        return {"slots": {"green": value}}

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def gate(self):
        return Gate(self.read, "green", self.clock, self.sleep)


def growing(steps, **per_step):
    return [counters(**{key: value * step for key, value in per_step.items()}) for step in range(steps + 1)]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([100, 100, 100], 0.5, 50),
        ([100, 100, 100], 0.99, 99),
        ([0, 100, 100], 0.5, 550),
        ([90, 100, 100], 0.99, 910),
        ([90, 90, 90], 0.99, math.inf),
        ([0, 0, 0], 0.99, math.inf),
    ],
)
def test_quantiles(counts, share, expected):
    assert quantile_milliseconds(Totals(bounds=BOUNDS, cumulative=counts, timed=100), share) == pytest.approx(expected)


def test_a_quantile_of_nothing_is_none():
    assert quantile_milliseconds(Totals(bounds=BOUNDS, cumulative=[0, 0, 0])) is None


@given(st.integers(0, 10000), st.integers(0, 10000))
def test_the_lower_bound_is_a_share_below_the_observed(hits, misses):
    trials = hits + misses
    bound = lower_bound(hits, trials)
    assert 0 <= bound <= (hits / trials if trials else 0) + 1e-12


@pytest.mark.parametrize(
    ("good", "errors", "verdict"),
    [
        (100, 0, "pass"),
        (1000, 5, "pass"),
        (1000, 30, "fail"),
        (100, 2, "fail"),
        (10, 0, "inconclusive"),
        (18, 1, "inconclusive"),
        (0, 3, "fail"),
        (0, 0, "inconclusive"),
    ],
)
def test_verdicts_on_errors(good, errors, verdict):
    assert judge(totals_of(counters(good, errors)), Limits())[0] == verdict


def test_verdict_on_latency():
    assert judge(totals_of(counters(1000, slow=5)), Limits())[0] == "pass"
    assert judge(totals_of(counters(1000, slow=12)), Limits())[0] == "fail"


@pytest.mark.parametrize(
    ("good", "errors", "clear"), [(0, 5, True), (0, 4, False), (1000, 11, False), (1000, 40, True)]
)
def test_only_breaches_beyond_doubt_end_early(good, errors, clear):
    assert (clear_breach(totals_of(counters(good, errors)), Limits()) is not None) == clear


def test_a_reset_is_a_new_mark_or_a_smaller_count():
    assert was_reset(counters(10, reset=1), counters(20, reset=2))
    assert was_reset(counters(10), counters(9))
    assert not was_reset(counters(10), counters(10))


def test_bake_counts_the_window_only():
    script = Script(*[counters(500 + 10 * step, 400) for step in range(20)])
    report = bake(script.gate(), 10, Limits())
    assert report["verdict"] == "pass"
    assert report["totals"]["requests"] == 100
    assert report["totals"]["errors"] == 0
    assert len(report["timeline"]) == 10
    assert report["seconds"] == 10


def test_bake_ends_early_at_a_clear_breach():
    report = bake(Script(*growing(60, good=10, errors=2)).gate(), 60, Limits())
    assert report["verdict"] == "fail"
    assert report["seconds"] < 10
    assert "requests failed" in report["reason"]


def test_bake_ends_early_when_all_is_slow():
    report = bake(Script(*growing(60, good=10, slow=5)).gate(), 60, Limits())
    assert report["verdict"] == "fail"
    assert report["seconds"] < 10
    assert "took longer" in report["reason"]


def test_too_little_traffic_passes_with_a_warning_unless_required():
    report = bake(Script(*growing(5, good=1)).gate(), 5, Limits())
    assert report["verdict"] == "inconclusive"
    assert "too little traffic" in report["warnings"][0]
    report = bake(Script(*growing(5, good=1)).gate(), 5, Limits(require_traffic=True))
    assert report["verdict"] == "fail"


def test_an_edge_restart_in_the_window_is_counted_through():
    script = Script(counters(1000, 0), counters(1030, 0), counters(25, 0, reset=2), counters(50, 0, reset=2))
    report = bake(script.gate(), 3, Limits())
    assert report["totals"]["requests"] == 30 + 25 + 25
    assert report["counter_resets"] == 1
    assert "restarted" in report["warnings"][0]


def test_one_missed_reading_is_forgiven_three_are_not():
    miss = GateError("away")
    report = bake(Script(counters(0), miss, miss, *growing(9, good=30)).gate(), 8, Limits())
    assert report["verdict"] == "pass"
    report = bake(Script(counters(0), miss).gate(), 60, Limits())
    assert report["verdict"] == "fail"
    assert "did not answer" in report["reason"]
    assert drain(Script(miss).gate(), 60)["verdict"] == "fail"


def test_long_windows_are_read_less_often():
    assert len(bake(Script(*growing(1000, good=1)).gate(), 3600, Limits())["timeline"]) <= 121


def test_drain_wants_zero_twice():
    busy, free = counters(in_flight=3, streams=2), counters()
    report = drain(Script(busy, free, busy, free, free).gate(), 60)
    assert report["verdict"] == "pass"
    assert [sample["in_flight"] for sample in report["timeline"]] == [3, 0, 3, 0]


def test_drain_reports_what_was_left():
    report = drain(Script(counters(in_flight=3, streams=2)).gate(), 5)
    assert report["verdict"] == "fail"
    assert report["left"] == {"in_flight": 3, "streams_in_flight": 2}
    assert report["seconds"] >= 5
    assert "2 of them streams" in report["reason"]
