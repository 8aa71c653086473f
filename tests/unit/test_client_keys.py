"""Rotation of clients' keys: phases, their repetition after a kill at any point, and what an edge is given."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _client_keys as keys
from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import ClientKeyError, ClientKeys
from ansible_collections.signalbox.platform.plugins.module_utils._edge_keys import (
    KeyChange,
    Wanted,
    describe,
    desired,
    fingerprints,
)
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import TrafficError

NOW, DAY = 1_800_000_000, 86400
A, B, C, OWN = ("key-" + letter * 20 for letter in "abcx")


def test_a_record_is_what_was_read_and_names_everything() -> None:
    held = ClientKeys(A, B, NOW, C)
    record = held.record()
    assert set(record) == {"current", "previous", "previous_expires", "next"}
    assert record["previous_expires"] == "2027-01-15T08:00:00Z"
    assert keys.read(record) == held
    assert keys.read({"current": A}).record() == {"current": A, "previous": "", "previous_expires": "", "next": ""}
    assert keys.read({"current": A, "previous": B, "previous_expires": str(NOW)}).previous_expires == NOW


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ({}, "current: there is no key"),
        ({"current": ""}, "current: there is no key"),
        ({"current": "short"}, "16 to 512"),
        ({"current": A + " x"}, "no spaces"),
        ({"current": "ü" * 20}, "ASCII"),
        ({"current": 1234567890123456}, "16 to 512"),
        ({"current": A, "next": A}, "same key"),
        ({"current": A, "previous": B}, "give both or neither"),
        ({"current": A, "previous_expires": NOW}, "give both or neither"),
        ({"current": A, "previous": B, "previous_expires": "tomorrow"}, "in UTC"),
        ({"current": A, "former": B}, "unknown names former"),
    ],
)
def test_bad_records_are_refused_without_their_values(record: dict[str, object], part: str) -> None:
    with pytest.raises(ClientKeyError, match=part) as caught:
        keys.read(record)
    assert not any(str(value) in str(caught.value) for value in record.values() if value and value != NOW)


def test_nothing_shows_a_key() -> None:
    assert A not in repr(ClientKeys(A, B, NOW)) + str(ClientKeys(A, B, NOW))


def test_a_rotation_from_its_start_to_its_end() -> None:
    held = keys.begin(A, NOW, DAY)
    assert keys.due(held, NOW) == "stage"
    held = keys.stage(held, B, NOW)
    assert (held, keys.due(held, NOW)) == (ClientKeys(A, next=B), "publish")
    held = keys.publish(held, NOW, DAY)
    assert (held, keys.due(held, NOW)) == (ClientKeys(B, A, NOW + DAY), "overlap")
    assert keys.retire(held, NOW + DAY - 1) == held
    assert keys.due(held, NOW + DAY) == "retire"
    assert keys.retire(held, NOW + DAY) == ClientKeys(B)


def test_clients_that_used_the_apps_own_key_go_on_for_a_while() -> None:
    assert keys.begin(A, NOW, DAY, former=OWN) == ClientKeys(A, OWN, NOW + DAY)


def test_every_phase_repeated_changes_nothing() -> None:
    staged = keys.stage(ClientKeys(A), B, NOW)
    assert keys.stage(staged, C, NOW + 1) == staged
    published = keys.publish(staged, NOW, DAY)
    assert keys.publish(published, NOW + 50, DAY) == published
    retired = keys.retire(published, NOW + DAY)
    assert keys.retire(retired, NOW + DAY) == retired


def test_a_run_that_is_killed_anywhere_ends_as_one_that_was_not() -> None:
    """Each step is stored before the next; the next run knows nothing but what is stored."""

    def run(record: dict[str, str], generated: str, now: int, steps: int) -> dict[str, str]:
        for _ in range(steps):
            held = keys.read(record)
            phase = keys.due(held, now)
            if phase == "overlap":
                break
            if phase == "retire":
                held = keys.retire(held, now)
            elif phase == "stage":
                held = keys.stage(held, generated, now)
            else:
                held = keys.publish(held, now, DAY)
            record = held.record()
        return record

    start = ClientKeys(A, C, NOW - 1).record()
    whole = run(start, B, NOW, 9)
    assert keys.read(whole) == ClientKeys(B, A, NOW + DAY)
    for killed_after in range(4):
        assert run(run(start, B, NOW, killed_after), B if killed_after < 2 else "another-" * 3, NOW, 9) == whole


def test_a_second_rotation_does_not_break_the_promise_of_the_first() -> None:
    held = ClientKeys(B, A, NOW + DAY)
    with pytest.raises(ClientKeyError, match=r"2027-01-16T08:00:00Z.*retire it first"):
        keys.stage(held, C, NOW)
    assert keys.stage(keys.retire(held, NOW, at_once=True), C, NOW) == ClientKeys(B, next=C)
    assert keys.stage(held, C, NOW + DAY) == ClientKeys(B, next=C)


@pytest.mark.parametrize(
    ("held", "leaked", "after"),
    [
        (ClientKeys(A, B, NOW + DAY), A, ClientKeys(C, B, NOW + DAY)),
        (ClientKeys(A, B, NOW + DAY), B, ClientKeys(A)),
        (ClientKeys(A, next=B), B, ClientKeys(A)),
        (ClientKeys(A, next=B), A, ClientKeys(B)),
        (ClientKeys(A, B, NOW + DAY), OWN, ClientKeys(A, B, NOW + DAY)),
    ],
)
def test_a_leaked_key_goes_at_once_and_the_others_stay(held: ClientKeys, leaked: str, after: ClientKeys) -> None:
    found = keys.revoke(held, keys.digest(leaked), C)
    assert found == after
    assert keys.revoke(found, keys.digest(leaked), "yet-another-key-" * 2) == after


def test_sources_name_every_field_and_only_the_slots_asked_for() -> None:
    spec = {"name": "agent-api", "clients": {"secret": "API_KEY"}}
    found = keys.key_sources(spec, ("green",))
    assert set(found) == {"current", "previous", "previous_expires", "next", "green"}
    assert found["current"] == {"kind": "kv", "path": "apps/agent-api/clients", "key": "current"}
    assert found["next"] == {"kind": "kv", "path": "apps/agent-api/clients", "key": "next", "default": ""}
    assert found["green"] == {"kind": "kv", "path": "apps/agent-api/secrets", "key": "API_KEY"}


class FakeHost:
    """Keeps files and memory; a kill is an exception that nothing catches, after so many writes."""

    def __init__(self, refuse: tuple[bool, ...] = (), deaf: bool = False, kill_after: int = 99) -> None:
        self.file = self.sealed = self.memory = None
        self.refuse, self.deaf, self.left, self.calls = list(refuse), deaf, kill_after, []

    def _live(self, call: str) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.calls.append(call)

    def read_file(self, app):
        return copy.deepcopy(self.file or self.sealed)

    def stored(self, app):
        return bool(self.file and self.sealed)

    def write_file(self, app, record):
        for place in ("sealed", "file"):
            self._live(place)
            setattr(self, place, copy.deepcopy(record))

    def read_memory(self, app):
        if self.memory is None:
            return None
        shown = {name: self.memory[name] for name in ("app", "generation", "salt", "previous_expires", "updated")}
        return {**shown, "fingerprints": fingerprints(self.memory)}

    def write_memory(self, app, record):
        self._live("memory")
        if self.refuse and self.refuse.pop(0):
            raise TrafficError("refused")
        if self.deaf:
            return
        if record and self.memory and record["generation"] <= self.memory["generation"]:
            raise TrafficError("the generation is not newer")
        self.memory = copy.deepcopy(record)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def put(host, wanted, **more):
    change, clock = KeyChange(host, "api", "now", "0" * 32, **more), Clock()
    change.plan(wanted)
    if change.changed:
        change.carry_out(clock, clock.sleep, 1)
    return change


FIRST = Wanted(ClientKeys(A), {"blue": OWN, "green": OWN})
SECOND = Wanted(ClientKeys(B, A, NOW), {"green": OWN + "2"})


def test_the_sealed_copy_comes_first_and_a_repetition_changes_nothing() -> None:
    host = FakeHost()
    assert put(host, FIRST).changed
    assert host.calls == ["sealed", "file", "memory"]
    assert host.file == host.sealed == host.memory
    assert not put(host, FIRST).changed
    assert len(host.calls) == 3


def test_what_is_not_given_stays() -> None:
    host = FakeHost()
    put(host, FIRST)
    put(host, SECOND)
    assert host.memory["accepted"] == {"current": keys.digest(B), "previous": keys.digest(A), "next": None}
    assert host.memory["internal"] == {"blue": OWN, "green": OWN + "2"}
    put(host, Wanted(None, {"blue": OWN + "3"}))
    assert (host.memory["accepted"]["current"], host.memory["internal"]["blue"]) == (keys.digest(B), OWN + "3")
    kept = put(host, Wanted(None, {"blue": "other-own-key", "green": "other-own-key"}, keep=True))
    assert not kept.changed


def test_keep_fills_in_what_is_missing() -> None:
    host = FakeHost()
    put(host, Wanted(ClientKeys(A), {"blue": OWN}))
    put(host, Wanted(None, {"blue": "other-own-key", "green": "other-own-key"}, keep=True))
    assert host.memory["internal"] == {"blue": OWN, "green": "other-own-key"}


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_kill_between_any_two_writes_is_mended_by_the_next_run(writes: int) -> None:
    host = FakeHost()
    put(host, FIRST)
    host.left = writes
    if writes < 3:
        with pytest.raises(KeyboardInterrupt):
            put(host, SECOND)
    else:
        put(host, SECOND)
    host.left = 99
    put(host, SECOND)
    assert host.file == host.sealed == host.memory
    assert host.memory["accepted"]["current"] == keys.digest(B)
    assert not put(host, SECOND).changed


@pytest.mark.parametrize("lost", ["file", "sealed", "memory"])
def test_what_was_lost_is_written_again(lost: str) -> None:
    host = FakeHost()
    put(host, FIRST)
    setattr(host, lost, None)
    assert put(host, FIRST).changed
    assert host.file == host.sealed == host.memory


def test_a_refused_change_is_put_back_everywhere() -> None:
    host = FakeHost()
    put(host, FIRST)
    host.refuse = [True]
    with pytest.raises(TrafficError, match="refused; the former keys were put back"):
        put(host, SECOND)
    assert host.file == host.sealed == host.memory
    assert host.memory["accepted"]["current"] == keys.digest(A)
    host.deaf = True
    with pytest.raises(TrafficError, match="does not hold the new keys in time"):
        put(host, SECOND)


def test_files_only_never_asks_the_edge() -> None:
    host = FakeHost()
    put(host, FIRST, files_only=True)
    assert host.calls == ["sealed", "file"]
    assert not put(host, FIRST, files_only=True).changed
    assert put(host, FIRST).changed, "the edge itself still has to be told"


def test_removal() -> None:
    host = FakeHost()
    put(host, FIRST)
    assert put(host, None).changed
    assert (host.file, host.sealed, host.memory) == (None, None, None)
    assert not put(host, None).changed


@pytest.mark.parametrize(
    ("app", "wanted", "part"),
    [
        ("../etc", FIRST, "not an app's name"),
        ("api", Wanted(None, {"blue": OWN}), "no keys of the app's clients yet"),
        ("api", Wanted(ClientKeys(A), {"red": OWN}), "unknown slot red"),
        ("api", Wanted(ClientKeys(A), {"blue": "two words"}), "no spaces"),
        ("api", Wanted(ClientKeys(A), {"blue": ""}), "printable ASCII"),
    ],
)
def test_bad_wishes_are_refused(app: str, wanted: Wanted, part: str) -> None:
    with pytest.raises(TrafficError, match=part):
        desired(app, None, wanted)


def test_what_is_shown_holds_no_value_and_no_bare_hash() -> None:
    host = FakeHost()
    put(host, FIRST)
    put(host, SECOND)
    shown = json.dumps(describe(host.memory))
    for value in (A, B, OWN):
        assert value not in shown
        assert keys.digest(value)[:8] not in shown
    salted = hashlib.sha256(f"{'0' * 32}:{OWN}".encode()).hexdigest()
    assert describe(host.memory)["internal"]["blue"] == salted[:8]
