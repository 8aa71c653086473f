# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An app's keys on an edge: hashes of those its clients present, and the app's own by slot. No I/O in here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import ACCEPTED, ClientKeys
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import NAME, SLOTS, TrafficError

# The app's own key, as a header carries it.
OWN_KEY = re.compile(r"[!-~]{1,1024}")
# What makes two records the same keys; generation, salt and time do not.
SUBSTANCE = ("app", "accepted", "previous_expires", "internal")

Record = dict[str, Any]
View = dict[str, Any]


class KeyHost(Protocol):
    """Port to the edge's memory, which shows fingerprints only, and to the files on tmpfs and sealed to the host."""

    def read_file(self, app: str) -> Record | None:
        """Return what nginx would load, from tmpfs or else from the sealed copy."""

    def stored(self, app: str) -> bool:
        """Whether both files are there."""

    def write_file(self, app: str, record: Record | None) -> None:
        """Seal a copy, then write the file; None removes both."""

    def read_memory(self, app: str) -> View | None:
        """Return what the edge shows of the keys in force."""

    def write_memory(self, app: str, record: Record | None) -> None:
        """Put keys in force; None removes them."""


@dataclass(frozen=True)
class Wanted:
    """What a record shall hold; None stays as it is. With `keep` a slot that has a key keeps it."""

    keys: ClientKeys | None = None
    internal: Mapping[str, str] | None = None
    keep: bool = False


def desired(app: str, before: Record | None, wanted: Wanted) -> Record:
    """The substance of the record that is wanted."""
    if not NAME.fullmatch(app):
        raise TrafficError(f"app: {app!r} is not an app's name")
    if before is None and wanted.keys is None:
        raise TrafficError(f"{app}: this edge has no keys of the app's clients yet; give them with the app's own")
    keys, old = wanted.keys, before or {"internal": {}}
    internal: dict[str, str | None] = {slot: old["internal"].get(slot) for slot in SLOTS}
    for slot, key in (wanted.internal or {}).items():
        if slot not in SLOTS:
            raise TrafficError(f"internal: unknown slot {slot}; the slots are blue and green")
        if not isinstance(key, str) or not OWN_KEY.fullmatch(key):
            raise TrafficError(f"internal.{slot}: a header carries 1 to 1024 printable ASCII characters, no spaces")
        if not (wanted.keep and internal[slot]):
            internal[slot] = key
    return {
        "app": app,
        "accepted": old["accepted"] if keys is None else keys.hashes(),
        "previous_expires": old["previous_expires"] if keys is None else keys.previous_expires,
        "internal": internal,
    }


def substance(record: Record | None) -> Record | None:
    """What matters of a record for comparison."""
    return None if record is None else {key: record.get(key) for key in SUBSTANCE}


def fingerprints(record: Record) -> dict[str, str | None]:
    """A salted fingerprint for each value, as the edge works it out from its memory."""
    values = {**{name: record["accepted"][name] for name in ACCEPTED}, **record["internal"]}

    def take(value: str) -> str:
        return hashlib.sha256(f"{record['salt']}:{value}".encode()).hexdigest()[:16]

    return {name: take(value) if value else None for name, value in values.items()}


def describe(record: Record | None) -> dict[str, Any] | None:
    """What may be shown of a record, in results and with --diff."""
    if record is None:
        return None
    short = {name: mark[:8] if mark else None for name, mark in fingerprints(record).items()}
    return {
        "generation": record["generation"],
        "accepted": {name: short[name] for name in ACCEPTED},
        "previous_expires": record["previous_expires"],
        "internal": {slot: short[slot] for slot in SLOTS},
    }


def in_force(view: View | None, record: Record | None) -> bool:
    """Whether the edge's memory holds the record."""
    if view is None or record is None:
        return view is None and record is None
    return (
        view.get("salt") == record["salt"]
        and view.get("previous_expires") == record["previous_expires"]
        and view.get("fingerprints") == fingerprints(record)
    )


class KeyChange:
    """One change of an app's keys on one edge: computed first, then carried out."""

    def __init__(self, host: KeyHost, app: str, now: str, salt: str, files_only: bool = False) -> None:
        self.host = host
        self.app = app
        self.now = now
        self.salt = salt
        self.files_only = files_only
        self.before = host.read_file(app)
        self.memory = None if files_only else host.read_memory(app)
        self.after: Record | None = None
        self.changed = False

    def plan(self, wanted: Wanted | None) -> None:
        """Decide what will stand; None wants it to be absent."""
        if wanted is None:
            self.changed = self.before is not None or self.memory is not None
            return
        target = desired(self.app, self.before, wanted)
        there = substance(self.before) == target and self.host.stored(self.app)
        if there and (self.files_only or in_force(self.memory, self.before)):
            self.after = self.before
            return
        self.changed = True
        self.after = self._record(target, self.before, self.before, self.memory)

    def _record(self, target: Record, base: Record | None, *others: Mapping[str, Any] | None) -> Record:
        """The substance as a record that is newer than every other."""
        generation = max((int(other["generation"]) for other in others if other), default=0) + 1
        salt = base["salt"] if base else self.salt
        return {**target, "generation": generation, "salt": salt, "updated": self.now}

    def carry_out(self, clock: Callable[[], float], sleep: Callable[[float], None], timeout: float) -> float:
        """Sealed copy, file, memory, verification; put back on failure. Returns the milliseconds until in force."""
        started = clock()
        try:
            self.host.write_file(self.app, self.after)
            started = clock()
            if not self.files_only:
                self.host.write_memory(self.app, self.after)
                self._confirm(clock, sleep, started + timeout)
        except (TrafficError, OSError) as error:
            raise TrafficError(f"{error}; {self._put_back()}") from error
        return (clock() - started) * 1000

    def _confirm(self, clock: Callable[[], float], sleep: Callable[[float], None], deadline: float) -> None:
        while not in_force(self.host.read_memory(self.app), self.after):
            if clock() >= deadline:
                raise TrafficError(f"{self.app}: the edge does not hold the new keys in time")
            sleep(0.05)

    def _put_back(self) -> str:
        back = None
        if self.before is not None:
            back = self._record({key: self.before[key] for key in SUBSTANCE}, self.before, self.before, self.after)
        try:
            self.host.write_file(self.app, back)
        except (TrafficError, OSError) as error:
            return f"the former keys could NOT be put back into the files: {error}"
        if self.files_only:
            return "the former keys were put back"
        try:
            self.host.write_memory(self.app, back)
        except (TrafficError, OSError) as error:
            return f"the former keys are back in the files, the edge could not be told: {error}"
        return "the former keys were put back"
