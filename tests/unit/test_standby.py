"""Which cluster can follow a primary, and what is done to one that cannot: without a server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cluster as cluster_module
import pytest
from cluster import Control, Position, Problem, Said, control, forks, has_left, lsn, without_targets
from following import Follower

CONTROL = """
Database system identifier:           7575757575757575757
Database cluster state:               shut down
Latest checkpoint location:           0/3000028
Latest checkpoint's TimeLineID:       1
Minimum recovery ending location:     0/0
Min recovery ending loc's timeline:   0
max_connections setting:              100
"""
HISTORY = {1: lsn("0/3000100")}
PRIMARY = Position("7", 2, lsn("0/5000000"))


@pytest.mark.parametrize(
    ("own", "left"),
    [
        (Position("7", 2, lsn("0/4000000")), False),
        (Position("7", 2, lsn("0/5000001")), True),
        (Position("7", 1, lsn("0/3000100")), False),
        (Position("7", 1, lsn("0/3000101")), True),
        (Position("7", 3, lsn("0/1000000")), True),
    ],
)
def test_who_holds_wal_that_the_primary_never_had_has_left_it(own: Position, left: bool) -> None:
    assert has_left(own, PRIMARY, HISTORY) is left


def test_a_stopped_primary_ends_after_its_last_checkpoint_began() -> None:
    found = control(CONTROL)
    assert found is not None
    assert (found.clean, found.position) == (True, Position("7575757575757575757", 1, lsn("0/3000028") + 1))
    # A standby that did not get that checkpoint was promoted where it begins.
    assert has_left(found.position, PRIMARY, {1: lsn("0/3000028")})
    assert not has_left(found.position, PRIMARY, {1: lsn("0/30000A0")})


def test_a_stopped_standby_ends_where_it_recovered_to() -> None:
    text = CONTROL.replace("shut down", "shut down in recovery").replace("location:     0/0", "location:     0/4000000")
    found = control(text.replace("timeline:   0", "timeline:   2"))
    assert found is not None
    assert found.position == Position("7575757575757575757", 2, lsn("0/4000000"))


def test_no_cluster_has_no_control_file() -> None:
    assert control("pg_controldata: error: could not open file") is None


def test_a_history_file_names_each_fork() -> None:
    assert forks("1\t0/3000100\tno recovery target specified\n\n2\t0/5000000\tbefore x\n") == {
        1: lsn("0/3000100"),
        2: lsn("0/5000000"),
    }


def test_targets_of_an_earlier_restore_are_forgotten() -> None:
    """With standby.signal they would open a fenced primary for writing at its first commit."""
    text = (
        "work_mem = '8MB'\nrestore_command = 'x'\nrecovery_target_time = '2026-11-23 14:05:00+00'\n"
        "recovery_target_action = 'promote'\n#recovery_target = 'kept'\nprimary_conninfo = 'host=a'\n"
    )
    assert without_targets(text) == "work_mem = '8MB'\n#recovery_target = 'kept'\n"


class Peer:
    address, conninfo = "10.0.0.32", "host=10.0.0.32"

    def __init__(self, at: Position = PRIMARY, recovering: bool = False, slot: str = "reserved") -> None:
        self.at, self.is_recovering, self.slot, self.asked = at, recovering, slot, [""]

    def position(self) -> Position:
        return self.at

    def recovering(self) -> bool:
        return self.is_recovering

    def history(self, timeline: int) -> dict[int, int]:
        return HISTORY

    def ask(self, statement: str, seconds: float = 20) -> str:
        self.asked.append(statement)
        return self.slot if statement.startswith("select") else ""


class Cluster:
    """A cluster that records what is done to it."""

    data, binaries, seconds = Path("/data"), Path("/bin"), 10.0

    def __init__(
        self, at: Position, state: str, running: bool | None, fenced: bool = False, empty: bool = False
    ) -> None:
        values = {
            "Database system identifier": at.system,
            "Database cluster state": state,
            "Latest checkpoint location": f"0/{at.end - 1:X}",
            "Latest checkpoint's TimeLineID": str(at.timeline),
            "Minimum recovery ending location": "0/0",
        }
        self.at, self.values, self.running, self.fenced, self.empty = at, values, running, fenced, empty
        self.done: list[str] = []

    def control(self) -> Control:
        return Control(self.values)

    def position(self) -> Position:
        return self.at

    def recovering(self) -> bool | None:
        return self.running

    def is_empty(self) -> bool:
        return self.empty

    def ask(self, statement: str) -> str:
        return "t"

    def stop(self) -> None:
        self.done.append("stop")
        if self.running is not None:
            self.values["Database cluster state"] = "shut down"
        self.running = None

    def start(self) -> None:
        assert self.fenced, "started for writing"
        self.done.append("start")
        self.running = True

    def fence(self) -> None:
        self.done.append("fence")
        self.fenced = True

    def release(self) -> None:
        self.fenced = False

    def raise_limits(self) -> None:
        self.done.append("limits")


def follower(cluster: Cluster, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> Any:
    commands: list[str] = []

    def run(command: Any, seconds: float, stdin: str = "") -> Said:
        commands.append(Path(command[0]).name)
        assert (tmp_path / "journal").exists(), "half a copy has to be known as one"
        return Said(code if command[0].endswith("pg_rewind") else 0, "", "error: broken")

    monkeypatch.setattr("following.as_postgres", run)
    made = Follower(cluster, peer, "signalbox_a", "main", "a", lambda text: None, tmp_path / "journal")  # type: ignore[arg-type]
    return made, commands


def test_a_standby_that_follows_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(Position("7", 2, 100), "in archive recovery", True, fenced=True)
    run, commands = follower(cluster, Peer(), tmp_path, monkeypatch)
    assert (run.run(False), commands, cluster.done) == ([], [], [])


def test_a_primary_that_goes_on_meanwhile_is_not_taken_for_one_that_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(Position("7", 2, 1000))

    def asked() -> Position:
        peer.at = Position("7", 2, peer.at.end + 100)
        return peer.at

    monkeypatch.setattr(peer, "position", asked)
    cluster = Cluster(peer.at, "in archive recovery", True, fenced=True)
    monkeypatch.setattr(cluster, "position", asked)
    run, _commands = follower(cluster, peer, tmp_path, monkeypatch)
    assert run.run(False) == []


def test_a_former_primary_with_nothing_of_its_own_is_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(Position("7", 1, 100), "in production", False)
    run, commands = follower(cluster, Peer(), tmp_path, monkeypatch)
    assert run.run(False) == ["fenced it: it starts read-only now", "started it as a standby"]
    assert (cluster.done, commands) == (["stop", "fence", "start"], [])


@pytest.mark.parametrize("running", [False, True, None])
def test_one_that_left_is_read_only_and_keeps_what_it_has_until_told(
    running: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(Position("7", 1, HISTORY[1] + 50), "in production", running, fenced=running is True)
    run, commands = follower(cluster, Peer(), tmp_path, monkeypatch)
    with pytest.raises(Problem, match=r"a left the primary's timeline 2.*-e overwrite=a"):
        run.run(False)
    assert (cluster.fenced, commands) == (True, [])


def test_with_that_it_is_rewound_and_copied_where_rewinding_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, wanted in ((0, ["pg_rewind"]), (1, ["pg_rewind", "pgbackrest"])):
        cluster = Cluster(Position("7", 1, HISTORY[1] + 50), "in archive recovery", True, fenced=True)
        run, commands = follower(cluster, Peer(), tmp_path, monkeypatch, code)
        assert run.run(True)
        assert (commands, cluster.fenced, (tmp_path / "journal").exists()) == (wanted, True, False)


def test_a_cluster_with_databases_of_its_own_is_not_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(Position("8", 1, 100), "in production", False)
    run, commands = follower(cluster, Peer(), tmp_path, monkeypatch)
    with pytest.raises(Problem, match=r"a cluster of its own with databases"):
        run.run(False)
    assert cluster.done == commands == []
    run, commands = follower(Cluster(Position("8", 1, 100), "", False, empty=True), Peer(), tmp_path, monkeypatch)
    assert run.run(False) == ["copied it from the repository, for its cluster was not the primary's"]


def test_a_copy_that_was_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "journal").write_text("{}")
    run, commands = follower(Cluster(Position("7", 2, 100), "", None), Peer(), tmp_path, monkeypatch)
    assert (run.run(False)[0][:6], commands) == ("copied", ["pgbackrest"])


def test_nobody_follows_a_standby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _commands = follower(Cluster(PRIMARY, "", True), Peer(recovering=True), tmp_path, monkeypatch)
    with pytest.raises(Problem, match="is itself a standby"):
        run.run(True)


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        ("reserved", []),
        ("unreserved", []),
        ("", ["CREATE_REPLICATION_SLOT signalbox_a PHYSICAL RESERVE_WAL"]),
        (
            "lost",
            ["DROP_REPLICATION_SLOT signalbox_a", "CREATE_REPLICATION_SLOT signalbox_a PHYSICAL RESERVE_WAL"],
        ),
    ],
)
def test_a_slot_that_lost_its_wal_is_made_anew(
    status: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(slot=status)
    run, _commands = follower(Cluster(PRIMARY, "", True, fenced=True), peer, tmp_path, monkeypatch)
    run.ensure_slot()
    assert [statement for statement in peer.asked if statement.isupper() or "SLOT" in statement] == asked


# ---- the fence -----------------------------------------------------------------------------------------------------


def main_module() -> ModuleType:
    """The program's own file, under a name that is free."""
    path = Path(cluster_module.__file__).with_name("__main__.py")
    spec = importlib.util.spec_from_file_location("standby_main", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(cluster: Cluster, *peers: Peer) -> Any:
    module = main_module()
    made = module.Program.__new__(module.Program)
    vars(made).update(known={"name": "a", "primary": ""}, cluster=cluster, peers=list(peers))
    vars(cluster).setdefault("forget_targets", lambda: None)
    return made


class Silent(Peer):
    def position(self) -> Position:
        raise Problem("no answer", "wait")


def stopped_primary(timeline: int = 1, fenced: bool = False) -> Cluster:
    return Cluster(Position("7", timeline, 100), "in production", None, fenced=fenced)


@pytest.mark.parametrize(
    ("peers", "fenced"),
    [
        ([Peer()], True),
        ([Silent(), Peer()], True),
        ([Peer(recovering=True)], False),
        ([Peer(at=Position("8", 2, 100))], False),
        ([Peer(at=Position("7", 1, 100))], False),
        ([Silent()], False),
    ],
)
def test_before_its_start_a_primary_asks_whether_another_one_replaced_it(peers: list[Peer], fenced: bool) -> None:
    cluster = stopped_primary()
    program(cluster, *peers).guard()
    assert cluster.fenced is fenced


def test_half_a_copy_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = program(stopped_primary())
    (tmp_path / "journal").write_text("{}")
    monkeypatch.setitem(type(run).guard.__globals__, "JOURNAL", tmp_path / "journal")
    with pytest.raises(Problem, match="half a copy"):
        run.guard()


def test_a_primary_tells_where_its_wal_ends_also_when_it_is_asked_again() -> None:
    cluster = Cluster(Position("7", 1, 100), "in production", False)
    first, again = program(cluster).leave(False), program(cluster).leave(False)
    assert first == again == {"end": 100, "left": True}
    assert cluster.fenced
    standby = Cluster(Position("7", 1, 100), "shut down in recovery", None, fenced=True)
    assert program(standby).leave(False) == {"end": 0, "left": False}


def test_a_primary_that_crashed_is_fenced_only_where_it_is_given_up() -> None:
    cluster = stopped_primary()
    with pytest.raises(Problem, match="-e lost=a"):
        program(cluster).leave(False)
    assert not cluster.fenced
    assert program(cluster).leave(True) == {"end": 0, "left": True}
    assert cluster.fenced


def test_the_former_primary_is_taken_back_while_nobody_replaced_it() -> None:
    cluster = Cluster(Position("7", 1, 100), "shut down", None, fenced=True)
    with pytest.raises(Problem, match="was promoted"):
        program(cluster, Peer()).take_back()
    assert cluster.fenced
    started = SimpleNamespace(count=0)
    vars(cluster)["start"] = lambda: setattr(started, "count", 1)
    program(cluster, Silent()).take_back()
    assert (cluster.fenced, started.count) == (False, 1)
