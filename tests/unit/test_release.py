"""Lease, journal and ledger of releases: rules as tables, files under kill and damage, the module in a playbook."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _release as rules
from ansible_collections.signalbox.platform.plugins.module_utils._release_operations import Operations, Request, info
from ansible_collections.signalbox.platform.plugins.module_utils._release_records import (
    GoodRelease,
    Instant,
    JournalEntry,
    Lease,
    Release,
    SlotRecord,
    State,
    state_from,
    state_json,
)
from ansible_collections.signalbox.platform.plugins.module_utils._release_store import DryStore, ReleaseStore

CHECKOUT = Path(__file__).resolve().parents[2]
T0 = 1_790_000_000.0
BOOT = "boot-a"


def release(version: str) -> Release:
    return Release(version, "registry.example.com/demo", f"sha256:{version}", None)


class Clock:
    """A clock the test moves; the wall clock can be set apart from the uptime."""

    def __init__(self) -> None:
        self.uptime, self.wall, self.boot = 1000.0, T0, BOOT

    def __call__(self) -> Instant:
        return Instant(self.wall, self.uptime, self.boot)

    def sleep(self, seconds: float) -> None:
        self.uptime += seconds
        self.wall += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(str(tmp_path), "demo")


class Platform:
    """Shortcuts for the operations of one app."""

    def __init__(self, store: ReleaseStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.operations = Operations(store, clock)

    def __call__(self, operation: str, run_id: str = "run-1", **more: Any) -> dict[str, Any]:
        self.clock.sleep(1)
        more.setdefault("owner", f"{run_id}@laptop")
        return self.operations.run(Request("demo", operation, run_id, **more))

    def deploy(self, version: str, run_id: str = "run-1", **more: Any) -> dict[str, Any]:
        begun = self("begin", run_id, release=release(version), **more)
        self("step", run_id, step="start", status="started")
        self("step", run_id, step="start")
        return self("commit", run_id, slot=begun["idle"])

    def refused(self, *args: Any, **more: Any) -> rules.Refused:
        with pytest.raises(rules.Refused) as caught:
            self(*args, **more)
        return caught.value


@pytest.fixture
def platform(store: ReleaseStore, clock: Clock) -> Platform:
    return Platform(store, clock)


def lease(seconds: float = 60.0, boot: str = BOOT) -> Lease:
    return Lease("demo", "run-1", "alice@laptop", "deploy", {}, T0, Instant(T0, 1000.0, boot), seconds)


@pytest.mark.parametrize(
    ("wall", "uptime", "boot", "remaining"),
    [
        pytest.param(T0 + 10, 1010, BOOT, 50, id="same boot, clocks agree"),
        pytest.param(T0 - 7200, 1010, BOOT, 50, id="wall clock went back: uptime decides"),
        pytest.param(T0 + 7200, 1010, BOOT, 50, id="wall clock jumped ahead: nobody is robbed"),
        pytest.param(T0 - 7200, 1100, BOOT, -40, id="expired although the wall clock went back"),
        pytest.param(T0 + 20, 5, "boot-b", 40, id="restarted: wall clock decides"),
        pytest.param(T0 - 7200, 90, "boot-b", -30, id="restarted and wall clock back: uptime is the least that passed"),
        pytest.param(T0 + 90, 0, "", -30, id="no boot id: wall clock"),
        pytest.param(T0 - 90, 0, "", 60, id="no boot id, wall clock back: never more than the lease"),
    ],
)
def test_remaining(wall: float, uptime: float, boot: str, remaining: float) -> None:
    assert lease().remaining(Instant(wall, uptime, boot)) == pytest.approx(remaining)


@pytest.mark.parametrize(
    ("held", "run_id", "after", "takeover", "expected"),
    [
        (False, "run-2", 0, None, "free"),
        (True, "run-1", 999, None, "own"),
        (True, "run-2", 10, None, "held"),
        (True, "run-2", 10, "run-0", "held"),
        (True, "run-2", 10, "run-1", "dead"),
        (True, "run-2", 60, None, "expired"),
    ],
)
def test_claim(held: bool, run_id: str, after: float, takeover: str | None, expected: str) -> None:
    at = Instant(T0 + after, 1000 + after, BOOT)
    assert rules.claim(lease() if held else None, run_id, at, takeover) == expected


def state_of(live: str | None, blue: str | None, green: str | None, goods: list[str], rolled_back: str = "") -> State:
    slots = {
        "blue": SlotRecord(release(blue), T0) if blue else None,
        "green": SlotRecord(release(green), T0) if green else None,
    }
    records = tuple(GoodRelease(release(good), T0, None, "", good == rolled_back) for good in goods)
    return State("demo", live, slots, records, T0)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(state_of(None, None, None, []), (None, None), id="nothing released"),
        pytest.param(state_of("blue", "1", None, ["1"]), (None, None), id="only one"),
        pytest.param(state_of("green", "1", "2", ["2", "1"]), ("1", "blue"), id="warm"),
        pytest.param(state_of("green", None, "2", ["2", "1"]), ("1", None), id="slot emptied: last good"),
        pytest.param(state_of("green", "9", "2", ["2", "1"]), ("1", None), id="other slot holds a failed release"),
        pytest.param(state_of("green", "1", "3", ["3", "2", "1"]), ("1", "blue"), id="warm wins over newer"),
        pytest.param(state_of("green", "2", "2", ["2", "1"]), ("1", None), id="same release in both (rotation)"),
        pytest.param(state_of("blue", "1", "2", ["1", "2"], "2"), (None, None), id="left by rollback: not unasked"),
    ],
)
def test_previous(state: State, expected: tuple[str | None, str | None]) -> None:
    found, slot = rules.previous(state)
    assert (found.version if found else None, slot) == expected


@pytest.mark.parametrize("wanted", [Release("1"), Release(digest="sha256:1")])
def test_rollback_to_a_named_release(wanted: Release) -> None:
    assert rules.rollback_target(state_of("green", None, "3", ["3", "2", "1"]), wanted) == (release("1"), None)


def test_rollback_refuses_what_was_never_good() -> None:
    with pytest.raises(rules.Refused, match=r"9 is not among the good releases of demo.*3, 2") as caught:
        rules.rollback_target(state_of("green", "9", "3", ["3", "2"]), Release("9"))
    assert [good["version"] for good in caught.value.details["good"]] == ["3", "2"]


def test_state_survives_its_json() -> None:
    state = state_of("green", "1", "2", ["2", "1"], "1")
    assert state_from(json.loads(json.dumps(state_json(state)))) == state


def test_step_times_add_up_and_never_run_backwards() -> None:
    entries = [
        JournalEntry("r", step, status, T0 + at)
        for step, status, at in [
            ("start", "started", 0),
            ("start", "done", 4),
            ("health", "started", 5),
            ("start", "started", 6),
            ("start", "done", 7.5),
            ("health", "done", -100),
            ("smoke", "started", 9),
        ]
    ]
    assert rules.step_times(entries) == [
        {"step": "start", "seconds": 5.5, "status": "done"},
        {"step": "health", "seconds": 0.0, "status": "done"},
        {"step": "smoke", "seconds": 0.0, "status": "started"},
    ]


def test_a_life(platform: Platform) -> None:
    first = platform.deploy("1.0", "run-1")
    assert first["state"]["live"] == "blue"
    assert first["previous"] is None
    second = platform.deploy("1.1", "run-2")
    assert (second["state"]["live"], second["previous"]["version"], second["previous_slot"]) == ("green", "1.0", "blue")
    entry = second["ledger_entry"]
    assert (entry["result"], entry["from_slot"], entry["slot"]) == ("committed", "blue", "green")
    assert (entry["from_release"]["version"], entry["release"]["digest"]) == ("1.0", "sha256:1.1")
    assert entry["steps"] == [{"step": "start", "seconds": 1.0, "status": "done"}]
    begun = platform("begin", "run-3", kind="rollback")
    assert (begun["target"]["version"], begun["target_slot"]) == ("1.0", "blue")
    back = platform("commit", "run-3")
    assert (back["state"]["live"], back["ledger_entry"]["kind"], back["previous"]) == ("blue", "rollback", None)
    again = platform("begin", "run-4", kind="rollback", release=Release("1.1"))
    assert again["target_slot"] == "green", "a release left by a rollback can still be named"


def test_failed_releases_never_count(platform: Platform) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", release=release("2.0"))
    platform("step", "run-2", step="health", status="started", slots={"green": {"release": {"version": "2.0"}}})
    done = platform("abort", "run-2", step="health", reason="500 from /health", slots={"green": None})
    assert done["state"]["live"] == "blue"
    assert done["state"]["slots"]["green"] is None
    assert done["ledger_entry"]["result"] == "failed"
    assert (done["ledger_entry"]["failing_step"], done["ledger_entry"]["reason"]) == ("health", "500 from /health")
    refused = platform.refused("begin", "run-3", kind="rollback")
    assert refused.code == "no_previous"
    assert platform.store.lease() is None, "a refused rollback takes no lease"
    assert platform.refused("begin", "run-3", kind="rollback", release=Release("2.0")).code == "not_good"


def test_retention_keeps_what_is_needed(platform: Platform) -> None:
    for number in range(1, 9):
        done = platform.deploy(f"1.{number}")
    assert [item["release"]["version"] for item in done["state"]["releases"]] == ["1.8", "1.7", "1.6", "1.5", "1.4"]
    assert [item["version"] for item in done["dropped"]] == ["1.3"]
    state = state_of("green", "1", "9", ["9", "8", "7", "6", "5", "4", "1"])
    kept, dropped = rules.retained(state, 2)
    assert [good.release.version for good in kept.releases] == ["9", "8", "1"]
    assert [item.version for item in dropped] == ["7", "6", "5", "4"]


def test_the_live_slot_cannot_be_emptied(platform: Platform) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2")
    assert platform.refused("step", "run-2", step="x", slots={"blue": None}).code == "bad_slot"
    assert platform.refused("step", "run-2", step="x", slots={"red": None}).code == "bad_slot"


def test_a_slot_that_was_left_to_its_streams_is_warm_again(platform: Platform) -> None:
    platform.deploy("1.0")
    platform.deploy("1.1")
    begun = platform("begin", "run-3", release=release("1.2"))
    slot = begun["idle"]
    assert platform("step", "run-3", step="start", slots={slot: None})["state"]["slots"][slot] is None
    done = platform("abort", "run-3", slots={slot: begun["state"]["slots"][slot]})
    assert done["state"]["slots"][slot]["release"]["version"] == "1.0"
    assert done["previous"]["version"] == "1.0"


def test_a_held_lease_tells_who(platform: Platform) -> None:
    platform("begin", "run-1", owner="alice@laptop", lease_seconds=90)
    refused = platform.refused("begin", "run-2")
    assert refused.code == "held"
    assert "locked by alice@laptop: deploy, run run-1" in str(refused)
    assert "runs out in 89 s" in str(refused)
    assert refused.details["holder"]["remaining_seconds"] == pytest.approx(89)


def test_an_expired_lease_is_stolen_and_says_so(platform: Platform, clock: Clock) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", release=release("1.1"), lease_seconds=30)
    platform("step", "run-2", step="cutover", status="started", slot="green", lease_seconds=40)
    clock.sleep(41)
    begun = platform("begin", "run-3")
    assert begun["stolen"]
    assert "Took demo over from run-2@laptop" in begun["stolen_text"]
    assert "last step cutover): its lease ran out 2 s ago" in begun["stolen_text"]
    left = begun["interrupted"]
    assert (left["run_id"], left["step"], left["status"], left["slot"]) == ("run-2", "cutover", "started", "green")
    assert (left["from_slot"], left["release"]["version"], left["kind"]) == ("blue", "1.1", "deploy")
    assert [entry["result"] for entry in platform.store.ledger()] == ["committed", "abandoned"]
    lost = platform.refused("step", "run-2", step="bake")
    assert lost.code == "lost_lease"
    assert "run-3@laptop holds it since" in str(lost)
    assert platform.refused("commit", "run-2", slot="green").code == "lost_lease"
    assert platform.store.state().live == "blue"


def test_a_dead_owner_is_replaced_at_once(platform: Platform) -> None:
    platform("begin", "run-1")
    begun = platform("begin", "run-2", takeover_run_id="run-1")
    assert begun["stolen"]
    assert "its process on this controller no longer runs" in begun["stolen_text"]
    assert begun["interrupted"] is None, "it did nothing yet"


def test_an_expired_lease_that_nobody_took_is_still_ours(platform: Platform, clock: Clock) -> None:
    platform("begin", "run-1", lease_seconds=5)
    clock.sleep(500)
    assert platform("step", "run-1", step="late")["changed"]


@pytest.mark.parametrize(("result", "live"), [("reverted", "blue"), ("committed", "green")])
def test_finish_interrupted(platform: Platform, clock: Clock, result: str, live: str) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", release=release("1.1"), lease_seconds=5)
    platform("step", "run-2", step="cutover", lease_seconds=5)
    clock.sleep(10)
    platform("begin", "run-3")
    platform("step", "run-3", step="mend", status="started")
    done = platform("finish_interrupted", "run-3", result=result)
    assert done["state"]["live"] == live
    assert (done["ledger_entry"]["run_id"], done["ledger_entry"]["result"]) == ("run-2", result)
    assert [entry.run_id for entry in platform.store.journal()] == ["run-3", "run-3"]
    assert not platform("finish_interrupted", "run-3")["changed"], "nothing is left"
    platform("abort", "run-3")
    assert platform("begin", "run-4")["interrupted"] is None


def test_an_interrupted_repair_still_tells_the_first_run(platform: Platform, clock: Clock) -> None:
    platform.deploy("1.0")
    for run_id in ("run-2", "run-3"):
        platform("begin", run_id, lease_seconds=5, release=release("1.1"))
        platform("step", run_id, step="cutover", lease_seconds=5)
        clock.sleep(10)
    left = platform("begin", "run-4")["interrupted"]
    assert (left["run_id"], left["further"]) == ("run-2", ["run-3"])


def test_killed_restores_remember_how_the_app_was_served(platform: Platform, clock: Clock) -> None:
    """And a killed deploy before them is left for the next release to mend."""
    platform.deploy("1.0")
    platform("begin", "run-2", release=release("1.1"), lease_seconds=5)
    platform("step", "run-2", step="cutover", lease_seconds=5)
    for run_id, mode in (("run-3", "read_only"), ("run-4", "closed"), ("run-5", "closed")):
        clock.sleep(10)
        platform("begin", run_id, kind="restore", lease_seconds=5)
        platform("step", run_id, step="hold", status="started", data={"mode": mode}, lease_seconds=5)
    known = info(platform.store, 5, clock())
    assert known["held"] == {"mode": "read_only"}
    platform("finish_interrupted", "run-5", interrupted_kind="restore", result="reverted")
    assert {entry.run_id for entry in platform.store.journal()} == {"run-2", "run-5"}
    assert platform("abort", "run-5", result="restored")["ledger_entry"]["result"] == "restored"
    left = platform("begin", "run-6")["interrupted"]
    assert (left["run_id"], left["kind"], left["further"]) == ("run-2", "deploy", [])
    assert info(platform.store, 5, clock())["held"] is None


def test_remove_keeps_the_ledger_under_a_dated_name(platform: Platform) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", kind="remove")
    done = platform("remove", "run-2", reason="retired")
    entries = [json.loads(line) for line in Path(done["ledger_file"]).read_text().splitlines()]
    assert [entry["result"] for entry in entries] == ["committed", "removed"]
    assert sorted(os.listdir(platform.store.path)) == ["guard", os.path.basename(done["ledger_file"])]
    assert platform("begin", "run-3")["state"]["live"] is None
    platform("abort", "run-3")


def test_check_mode_writes_nothing(tmp_path: Path, clock: Clock) -> None:
    dry = Operations(DryStore(str(tmp_path / "none"), "demo"), clock)
    assert dry.preview(Request("demo", "begin", "run-1"))["idle"] == "blue"
    done = dry.preview(Request("demo", "commit", "run-1", slot="blue", release=release("1")))
    assert done["state"]["live"] == "blue"
    assert dry.preview(Request("demo", "commit", "run-1"))["changed"]
    assert dry.preview(Request("demo", "step", "run-1", step="x"))["changed"]
    assert not (tmp_path / "none").exists()


def test_modes(platform: Platform) -> None:
    before = os.umask(0)
    try:
        platform.deploy("1.0")
    finally:
        os.umask(before)
    path = Path(platform.store.path)
    assert oct(path.stat().st_mode & 0o777) == "0o750"
    assert {oct(file.stat().st_mode & 0o777) for file in path.iterdir()} == {"0o640"}


@pytest.mark.parametrize(
    "tail",
    [b'{"schema":1,"run_id":"run-1","st', b"\0" * 64, b'{"schema":1\0\0\0\0', b'{"half": \n', b"\0\0\0\n"],
)
def test_a_torn_last_line_is_left_out_and_mended(platform: Platform, tail: bytes) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2")
    for name in ("journal.jsonl", "ledger.jsonl"):
        with open(os.path.join(platform.store.path, name), "ab") as target:
            target.write(tail)
    assert len(platform.store.ledger()) == 1
    platform("step", "run-2", step="cutover")
    platform("abort", "run-2")
    assert [entry["result"] for entry in platform.store.ledger()] == ["committed", "failed"]
    assert b"\0" not in Path(platform.store.path, "ledger.jsonl").read_bytes()


def test_a_last_line_that_lacks_only_its_newline_counts(platform: Platform) -> None:
    platform.deploy("1.0")
    path = Path(platform.store.path, "ledger.jsonl")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    platform.deploy("1.1")
    assert [entry["release"]["version"] for entry in platform.store.ledger()] == ["1.0", "1.1"]


@pytest.mark.parametrize(
    ("name", "content", "mend"),
    [
        ("state.json", "{", "rebuilt from ledger.jsonl"),
        ("state.json", "[]", "rebuilt from ledger.jsonl"),
        ("state.json", '{"schema": 1, "app": "demo"}', "rebuilt from ledger.jsonl"),
        ("state.json", '{"schema": 2, "app": "demo"}', "another version of the collection"),
        ("lock.json", "x", "then `rm "),
        ("lock.json", '{"schema": 1}', "then `rm "),
        ("journal.jsonl", 'x\n{"schema": 1}\n', "sed -i.bad 1d"),
        ("journal.jsonl", '{"schema": 1}\n', "mv "),
    ],
)
def test_corruption_is_refused_with_the_cure(platform: Platform, name: str, content: str, mend: str) -> None:
    platform.deploy("1.0")
    path = Path(platform.store.path, name)
    path.write_text(content)
    refused = platform.refused("begin", "run-2")
    assert refused.code == "corrupt"
    assert str(path) in str(refused)
    assert mend in str(refused)
    assert path.read_text() == content


def test_a_lost_state_is_rebuilt_from_the_ledger(platform: Platform) -> None:
    for version in ("1.0", "1.1", "1.2"):
        platform.deploy(version)
    platform("begin", "run-2", kind="rollback")
    platform("commit", "run-2")
    platform("begin", "run-3", release=release("2.0"))
    platform("abort", "run-3", slots={"blue": None})
    before = state_json(platform.store.state())
    os.unlink(os.path.join(platform.store.path, "state.json"))
    after = state_json(platform.store.state())
    for key in ("live", "slots"):
        assert after[key] == before[key]
    seen = [[(item["release"], item["rolled_back"]) for item in state["releases"]] for state in (before, after)]
    assert seen[0] == seen[1]


def test_a_close_killed_midway_is_finished_by_the_next_call(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", release=release("1.1"))
    platform("step", "run-2", step="cutover")
    with monkeypatch.context() as patch:
        patch.setattr(ReleaseStore, "append_ledger", lambda self, entry: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            platform("commit", "run-2", slot="green")
    assert len(platform.store.ledger()) == 1, "the kill fell between state and ledger"
    begun = platform("begin", "run-3")
    assert not begun["stolen"]
    assert begun["interrupted"] is None
    assert begun["state"]["live"] == "green"
    assert [entry["release"]["version"] for entry in platform.store.ledger()] == ["1.0", "1.1"]


def test_info_never_changes_anything(platform: Platform, clock: Clock) -> None:
    platform.deploy("1.0")
    platform("begin", "run-2", lease_seconds=50)
    platform("step", "run-2", step="health", status="started", lease_seconds=50)
    before = {path: path.read_bytes() for path in Path(platform.store.path).iterdir()}
    clock.sleep(10)
    found = info(platform.store, 5, clock())
    assert found["lease"]["remaining_seconds"] == pytest.approx(40)
    assert (found["lease"]["owner"], found["lease"]["step"]) == ("run-2@laptop", "health")
    assert found["interrupted"] is None
    clock.sleep(100)
    late = info(platform.store, 0, clock())
    assert late["lease"]["expired"]
    assert late["interrupted"]["run_id"] == "run-2"
    assert late["ledger"] == []
    assert before == {path: path.read_bytes() for path in Path(platform.store.path).iterdir()}


# ---- real processes ------------------------------------------------------------------------------------------------

PROLOGUE = f"""
import sys
sys.path.insert(0, {str(CHECKOUT / ".collections")!r})
from ansible_collections.signalbox.platform.plugins.module_utils._release import Refused
from ansible_collections.signalbox.platform.plugins.module_utils._release_operations import Operations, Request
from ansible_collections.signalbox.platform.plugins.module_utils._release_records import Release
from ansible_collections.signalbox.platform.plugins.module_utils._release_store import ReleaseStore
operations = Operations(ReleaseStore(sys.argv[1], "demo"))
"""

CLAIM = """
import time
time.sleep(max(0, float(sys.argv[3]) - time.time()))
try:
    operations.run(Request("demo", "begin", sys.argv[2]))
    print("won")
except Refused as refused:
    print(refused.code)
"""

WRITE = """
number = 0
while True:
    number += 1
    run_id = sys.argv[2] + str(number)
    wanted = Release("1.%d" % number, "r", "sha256:%d" % number)
    begun = operations.run(Request("demo", "begin", run_id, takeover_run_id=sys.argv[3], release=wanted))
    sys.argv[3] = ""
    operations.run(Request("demo", "step", run_id, step="cutover", slot=begun["idle"]))
    operations.run(Request("demo", "commit", run_id, slot=begun["idle"]))
    print(wanted.version, begun["idle"], flush=True)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROLOGUE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_many_begins_exactly_one_wins(tmp_path: Path) -> None:
    at = time.time() + 1.5
    processes = [start(CLAIM, tmp_path, f"run-{number}", at) for number in range(8)]
    answers = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert sorted(answers) == ["held"] * 7 + ["won"]


def test_kill_at_any_moment_leaves_a_usable_state(tmp_path: Path) -> None:
    holder = ""
    for number in range(12):
        process = start(WRITE, tmp_path, f"life-{number}-", holder)
        assert process.stdout
        told = process.stdout.readline().split()
        time.sleep(0.011 * number)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
        told = (rest.splitlines() or [" ".join(told)])[-1].split() or told
        store = ReleaseStore(str(tmp_path), "demo")
        found = info(store, 50, Instant(time.time(), 0.0, ""))
        assert found["state"]["live"] in ("blue", "green")
        committed = [entry for entry in found["ledger"] if entry["result"] == "committed"]
        assert len({(entry["run_id"], entry["result"]) for entry in found["ledger"]}) == len(found["ledger"])
        acknowledged = [entry for entry in committed if entry["run_id"].startswith(f"life-{number}-")]
        assert told[0] in [entry["release"]["version"] for entry in acknowledged], "what was acknowledged is there"
        holder = found["lease"]["run_id"] if found["lease"] else ""


# ---- the action plugin under ansible-playbook -----------------------------------------------------------------------


def playbook(tmp_path: Path, name: str, tasks: str) -> Path:
    path = tmp_path / f"{name}.yml"
    head = "- hosts: localhost\n  gather_facts: false\n  module_defaults:\n    signalbox.platform.release:\n"
    head += f"      directory: {tmp_path}/state\n      app: demo\n  tasks:\n"
    path.write_text(head + textwrap.indent(textwrap.dedent(tasks), "    "))
    return path


def ansible(path: Path, *arguments: str) -> subprocess.Popen[str]:
    binary = Path(sys.executable).with_name("ansible-playbook")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_HOME": str(path.parent / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }
    common = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    return subprocess.Popen(
        [str(binary), *common, str(path), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


BEGIN = """
- signalbox.platform.release: {operation: begin, release: {version: "1.1", digest: "sha256:1.1"}, wait_seconds: WAIT}
  register: begun
- ansible.builtin.copy: {dest: "{{ playbook_dir }}/NAME.json", content: "{{ begun }}", mode: "0644"}
"""
HANG = """
- signalbox.platform.release: {operation: step, step: cutover, status: started, slot: green, lease_seconds: 600}
- ansible.builtin.command: touch {{ playbook_dir }}/reached
- ansible.builtin.command: sleep 12
"""


def begin_tasks(name: str, wait: int = 0) -> str:
    return BEGIN.replace("NAME", name).replace("WAIT", str(wait))


def wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def test_a_killed_playbook_is_taken_over_at_once(tmp_path: Path) -> None:
    first = ansible(playbook(tmp_path, "first", begin_tasks("first") + HANG))
    wait_for(tmp_path / "reached")
    busy, _ = ansible(playbook(tmp_path, "busy", begin_tasks("busy"))).communicate(timeout=60)
    assert "demo is locked by" in busy
    assert "at step cutover" in busy
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = ansible(playbook(tmp_path, "second", begin_tasks("second")))
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert "no longer runs" in output
    begun = json.loads((tmp_path / "second.json").read_text())
    assert begun["stolen"]
    left = begun["interrupted"]
    assert left["run_id"] == json.loads((tmp_path / "first.json").read_text())["run_id"]
    assert (left["step"], left["status"], left["slot"]) == ("cutover", "started", "green")
    assert left["release"]["version"] == "1.1"


def test_begin_waits_and_says_for_whom(tmp_path: Path) -> None:
    hold = "- ansible.builtin.command: touch {{ playbook_dir }}/reached\n- ansible.builtin.command: sleep 8\n"
    hold += "- signalbox.platform.release: {operation: abort}\n"
    first = ansible(playbook(tmp_path, "first", begin_tasks("first") + hold))
    wait_for(tmp_path / "reached")
    second = ansible(playbook(tmp_path, "second", begin_tasks("second", wait=60)))
    output, _ = second.communicate(timeout=60)
    first.wait()
    assert second.returncode == 0, output
    assert "Waiting for demo: " in output
    assert re.search(r"Waited \d s of 60 s\.", output)
    assert not json.loads((tmp_path / "second.json").read_text())["stolen"]
