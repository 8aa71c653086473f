# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Traffic state: what a change means, and how it is carried out and verified. No file, no socket in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable, Protocol

SLOTS = ("blue", "green")
MODES = ("open", "read_only", "closed")
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
# What makes two states the same traffic; generation and time do not.
SUBSTANCE = ("app", "mode", "weights", "releases", "retry_after_seconds")

State = dict[str, Any]


class TrafficError(Exception):
    """A state that is refused, or a change that could not be carried out."""


class Edge(Protocol):
    """Port to the edge's memory (control API) and to its state files."""

    def read_file(self, app: str) -> State | None:
        """Return the stored state, None when there is none."""

    def write_file(self, app: str, state: State | None) -> None:
        """Store the state durably; None removes it."""

    def read_memory(self, app: str) -> State | None:
        """Return the state in force, None when there is none."""

    def write_memory(self, app: str, state: State | None) -> None:
        """Put the state in force; None removes it."""


def check_weights(weights: Mapping[str, Any]) -> dict[str, int]:
    """Return valid weights, or say what is wrong."""
    unknown = sorted(set(weights) - set(SLOTS))
    if unknown:
        raise TrafficError(f"weights: unknown slot {', '.join(unknown)}; the slots are blue and green")
    found = {}
    for slot in SLOTS:
        value = weights.get(slot)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
            raise TrafficError(f"weights.{slot}: {value!r} is not a whole number from 0 to 100")
        found[slot] = value
    if sum(found.values()) not in (0, 100):
        raise TrafficError(
            f"weights: blue {found['blue']} and green {found['green']} must sum to 100,"
            " or both be 0 when no release is live"
        )
    return found


def check_releases(releases: Mapping[str, Any]) -> dict[str, str | None]:
    """Return valid releases of the slots that are named."""
    found: dict[str, str | None] = {}
    for slot, release in releases.items():
        if slot not in SLOTS:
            raise TrafficError(f"releases: unknown slot {slot}; the slots are blue and green")
        if release is not None and not (isinstance(release, str) and RELEASE.fullmatch(release)):
            raise TrafficError(f"releases.{slot}: {release!r} is not a version (quote it when it looks like a number)")
        found[slot] = release
    return found


def desired(app: str, current: State | None, wanted: Mapping[str, Any]) -> State:
    """Return the current state with what is wanted; what is not given stays."""
    if not NAME.fullmatch(app):
        raise TrafficError(f"app: {app!r} is not an app's name")
    base: State = current or {
        "mode": "open",
        "weights": {"blue": 0, "green": 0},
        "releases": {"blue": None, "green": None},
        "retry_after_seconds": 30,
    }
    mode = wanted.get("mode") or base["mode"]
    if mode not in MODES:
        raise TrafficError(f"mode: {mode!r} is not one of {', '.join(MODES)}")
    retry = wanted.get("retry_after_seconds")
    retry = base["retry_after_seconds"] if retry is None else retry
    if not 0 <= retry <= 86400:
        raise TrafficError(f"retry_after_seconds: {retry} is not from 0 to 86400")
    weights = base["weights"] if wanted.get("weights") is None else check_weights(wanted["weights"])
    releases = {**base["releases"], **check_releases(wanted.get("releases") or {})}
    return {"app": app, "mode": mode, "weights": weights, "releases": releases, "retry_after_seconds": retry}


def substance(state: State | None) -> State | None:
    """Return what matters of a state for comparison."""
    return None if state is None else {key: state.get(key) for key in SUBSTANCE}


def newest(file: State | None, memory: State | None) -> State | None:
    """Return the state to build on: the higher generation; at a tie what is being served."""
    if file is None or memory is None:
        return memory or file
    return file if file["generation"] > memory["generation"] else memory


def next_generation(*states: State | None) -> int:
    """Return a generation above all given states'."""
    return max((state["generation"] for state in states if state), default=0) + 1


class Change:
    """One change of an app's traffic: computed first, then carried out."""

    def __init__(self, edge: Edge, app: str, now: str) -> None:
        self.edge = edge
        self.app = app
        self.now = now
        self.file = edge.read_file(app)
        self.memory = edge.read_memory(app)
        self.before = newest(self.file, self.memory)
        self.after: State | None = None
        self.changed = False

    def expect(self, generation: int | None) -> None:
        """Refuse when somebody else changed the state meanwhile (0: there must be none yet)."""
        found = self.before["generation"] if self.before else 0
        if generation is not None and generation != found:
            raise TrafficError(
                f"{self.app}: generation is {found}, expected {generation}; somebody changed the traffic meanwhile"
            )

    def plan(self, wanted: Mapping[str, Any] | None) -> None:
        """Decide what will stand; None wants the state to be absent."""
        if wanted is None:
            self.changed = self.file is not None or self.memory is not None
            return
        target = desired(self.app, self.before, wanted)
        if substance(self.file) == target and substance(self.memory) == target:
            self.after = self.before
            return
        self.changed = True
        self.after = {
            "app": self.app,
            "generation": next_generation(self.file, self.memory),
            **target,
            "updated": self.now,
        }

    def carry_out(self, clock: Callable[[], float], sleep: Callable[[float], None], timeout: float) -> float:
        """File, memory, verification; put back on failure. Returns the milliseconds until the edge confirmed."""
        try:
            self.edge.write_file(self.app, self.after)
            started = clock()
            self.edge.write_memory(self.app, self.after)
            self.confirm(clock, sleep, started + timeout)
            return (clock() - started) * 1000
        except (TrafficError, OSError) as error:
            raise TrafficError(f"{error}; {self.put_back()}") from error

    def confirm(self, clock: Callable[[], float], sleep: Callable[[float], None], deadline: float) -> None:
        """Ask the edge until it serves the new state."""
        while True:
            found = self.edge.read_memory(self.app)
            if substance(found) == substance(self.after):
                return
            if clock() >= deadline:
                raise TrafficError(f"{self.app}: the edge does not serve the new state in time, it has {found}")
            sleep(0.05)

    def put_back(self) -> str:
        """Restore file and memory, as far as the edge answers; returns what was done in words."""
        if self.before is None:
            back = None
        else:
            # A generation above the failed one, or the edge would rightly refuse it.
            back = {**self.before, "generation": next_generation(self.before, self.after), "updated": self.now}
        try:
            self.edge.write_file(self.app, back)
        except OSError as error:
            return f"the former state could NOT be put back into the file: {error}"
        try:
            self.edge.write_memory(self.app, back)
        except (TrafficError, OSError) as error:
            return f"the former state is back in the file, the edge could not be told: {error}"
        return "the former state was put back"
