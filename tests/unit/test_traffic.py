"""Rules of the module traffic, with an edge in memory."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._traffic import (
    Change,
    TrafficError,
    check_weights,
    desired,
    newest,
)

NOW = "2026-11-23T00:00:00Z"


def state(generation=1, blue=100, green=0, **more):
    base = {
        "app": "api",
        "generation": generation,
        "mode": "open",
        "weights": {"blue": blue, "green": green},
        "releases": {"blue": "1.0.0", "green": None},
        "retry_after_seconds": 30,
        "updated": "before",
    }
    return {**base, **more}


class FakeEdge:
    """Keeps file and memory; refuses old generations as the edge does."""

    def __init__(self, file=None, memory=None, refuse=(), deaf=False):
        self.file, self.memory = copy.deepcopy(file), copy.deepcopy(memory)
        self.refuse, self.deaf, self.calls = list(refuse), deaf, []

    def read_file(self, app):
        return copy.deepcopy(self.file)

    def read_memory(self, app):
        return copy.deepcopy(self.memory)

    def write_file(self, app, value):
        self.calls.append("file")
        self.file = copy.deepcopy(value)

    def write_memory(self, app, value):
        self.calls.append("memory")
        if self.refuse and self.refuse.pop(0):
            raise TrafficError("refused")
        if self.deaf:
            return
        if value and self.memory and value["generation"] <= self.memory["generation"]:
            raise TrafficError("old generation")
        self.memory = copy.deepcopy(value)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def change(edge, wanted, expect=None):
    found = Change(edge, "api", NOW)
    found.expect(expect)
    found.plan(wanted)
    return found


def run(edge, wanted):
    found, clock = change(edge, wanted), Clock()
    if found.changed:
        found.carry_out(clock, clock.sleep, 5)
    return found


@pytest.mark.parametrize(
    ("weights", "part"),
    [
        ({"blue": 60, "green": 60}, "must sum to 100"),
        ({"blue": 101, "green": 0}, "weights.blue"),
        ({"blue": -1, "green": 101}, "weights.blue"),
        ({"blue": True, "green": 99}, "weights.blue"),
        ({"blue": 100}, "weights.green"),
        ({"blue": 50, "green": 50, "red": 0}, "unknown slot red"),
        ({"blue": "100", "green": 0}, "whole number"),
    ],
)
def test_bad_weights_are_refused_with_their_place(weights, part):
    with pytest.raises(TrafficError, match=part):
        check_weights(weights)


@pytest.mark.parametrize(("blue", "green"), [(0, 0), (100, 0), (0, 100), (99, 1)])
def test_good_weights(blue, green):
    assert check_weights({"blue": blue, "green": green}) == {"blue": blue, "green": green}


def test_what_is_not_given_stays_and_null_clears_a_release():
    current = state(releases={"blue": "1.0.0", "green": "2.0.0"}, mode="read_only")
    target = desired("api", current, {"releases": {"green": None}})
    assert target["releases"] == {"blue": "1.0.0", "green": None}
    assert target["mode"] == "read_only"
    assert target["weights"] == {"blue": 100, "green": 0}


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ({"mode": "shut"}, "mode"),
        ({"retry_after_seconds": -1}, "retry_after_seconds"),
        ({"releases": {"blue": 1.0}}, "quote it"),
        ({"releases": {"blue": "1|2"}}, "not a version"),
        ({"releases": {"red": "1"}}, "unknown slot"),
    ],
)
def test_bad_wishes_are_refused(wanted, part):
    with pytest.raises(TrafficError, match=part):
        desired("api", state(), wanted)


def test_a_bad_name_never_becomes_a_path():
    with pytest.raises(TrafficError):
        desired("../etc", None, {})


def test_a_first_state_writes_the_file_before_memory():
    edge = FakeEdge()
    done = run(edge, {"weights": {"blue": 100, "green": 0}})
    assert edge.calls == ["file", "memory"]
    assert edge.file == edge.memory == done.after
    assert done.before is None
    assert done.after["generation"] == 1


def test_the_same_wish_changes_nothing():
    edge = FakeEdge(state(), state())
    done = run(edge, {"weights": {"blue": 100, "green": 0}})
    assert not done.changed
    assert edge.calls == []


@pytest.mark.parametrize(("file", "memory"), [(state(7, 0, 100), state(3)), (None, state(3)), (state(7), None)])
def test_file_and_memory_that_differ_are_brought_together(file, memory):
    edge = FakeEdge(file, memory)
    done = run(edge, {})
    assert done.changed
    assert edge.file == edge.memory
    assert edge.file["generation"] == max(s["generation"] for s in (file, memory) if s) + 1
    assert edge.file["weights"] == newest(file, memory)["weights"]


def test_at_equal_generations_what_is_served_wins():
    assert newest(state(4, 100, 0), state(4, 0, 100))["weights"] == {"blue": 0, "green": 100}


@pytest.mark.parametrize("found", [None, state(4)])
def test_compare_and_set(found):
    edge = FakeEdge(found, found)
    change(edge, {}, expect=4 if found else 0)
    with pytest.raises(TrafficError, match="somebody changed"):
        change(edge, {}, expect=3)


def test_a_refused_state_puts_file_and_memory_back():
    edge = FakeEdge(state(), state(), refuse=[True])
    with pytest.raises(TrafficError, match="refused; the former state was put back"):
        run(edge, {"weights": {"blue": 0, "green": 100}})
    assert edge.file == edge.memory
    assert edge.file["weights"] == {"blue": 100, "green": 0}
    assert edge.file["generation"] == 3


def test_an_edge_that_never_answers_leaves_the_old_file():
    edge = FakeEdge(state(), state(), refuse=[True, True])
    with pytest.raises(TrafficError, match="back in the file, the edge could not be told"):
        run(edge, {"weights": {"blue": 0, "green": 100}})
    assert edge.file["weights"] == {"blue": 100, "green": 0}


def test_an_edge_that_serves_something_else_is_a_failure():
    edge = FakeEdge(state(), state(), deaf=True)
    with pytest.raises(TrafficError, match="does not serve the new state in time"):
        run(edge, {"weights": {"blue": 0, "green": 100}})
    assert edge.file["weights"] == {"blue": 100, "green": 0}


def test_a_failed_first_state_leaves_none():
    edge = FakeEdge(refuse=[True])
    with pytest.raises(TrafficError):
        run(edge, {"weights": {"blue": 100, "green": 0}})
    assert edge.file is None
    assert edge.memory is None


def test_absent_removes_both_and_is_idempotent():
    edge = FakeEdge(state(), state())
    assert run(edge, None).changed
    assert (edge.file, edge.memory) == (None, None)
    assert not run(edge, None).changed
