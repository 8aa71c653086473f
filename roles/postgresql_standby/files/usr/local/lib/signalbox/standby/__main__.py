# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Streaming replication of the platform's database, on each of its hosts.

status                   what this cluster is and how far, as JSON
follow [--overwrite]     on a standby: make it follow the primary, in whatever state it is; JSON
ready                    on a standby: how far it is behind the primary, or how old its newest commit is; JSON
leave [--crashed]        on a primary: stop it, so that it can only start read-only; JSON with where its WAL ends
return                   the same host: take it back, while nobody else was promoted
promote [--reach LSN]    on a standby: wait until it has all WAL up to a position, then make it the primary; JSON
guard                    before the server starts: a primary that another one has replaced starts read-only
watch                    every few seconds: the same for a running one; a standby's slot is mended; metrics
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster import Cluster, Peer, Position, Problem, lsn, refuse_unless_root
from following import JOURNAL, STREAMING, Follower

SETTINGS = "/etc/signalbox/standby.json"
LOCK = "/run/signalbox-standby.lock"
_AGE = "select coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), -1)"
_UNREPLAYED = (
    "select pg_wal_lsn_diff(coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), pg_last_wal_replay_lsn())"
)
_REACHED = "select pg_last_wal_replay_lsn()"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(wait: bool) -> Iterator[bool]:
    """One run at a time; `watch` gives way."""
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


class Program:
    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known
        self.cluster = Cluster(Path(known["data_directory"]), Path(known["binaries"]), float(known["seconds"]))
        self.peers = [self._peer(address, 3) for address in known["peers"]]

    def _peer(self, address: str, seconds: int = 10) -> Peer:
        return Peer(address, self.known["user"], self.known["passfile"], self.known["ca"], seconds)

    @property
    def follower(self) -> Follower:
        if not self.known["primary"]:
            raise Problem("this host is the primary by the inventory, and follows nobody", "swap the groups first")
        known = self.known
        return Follower(self.cluster, self._peer(known["primary"]), known["slot"], known["stanza"], known["name"], say)

    # ---- commands --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        recovering, own = self.cluster.recovering(), self.cluster.control()
        kind = {True: "standby", False: "primary", None: "stopped"}[recovering]
        found: dict[str, Any] = {
            "name": self.known["name"],
            "kind": kind,
            "fenced": self.cluster.fenced,
            "copying": JOURNAL.exists(),
        }
        if recovering is not None or own is not None:
            at = self.cluster.position() if recovering is not None else own.position  # type: ignore[union-attr]
            found.update(system=at.system, timeline=at.timeline, end=at.end)
        if recovering:
            found.update(
                streaming=self.cluster.ask(STREAMING) == "t",
                newest_commit_seconds=float(self.cluster.ask(_AGE)),
                unreplayed_bytes=int(self.cluster.ask(_UNREPLAYED)),
            )
        return found

    def follow(self, overwrite: bool) -> dict[str, Any]:
        return {"done": self.follower.run(overwrite)}

    def ready(self) -> dict[str, Any]:
        """Of a standby that is to become the primary, and to ask whoever is that still."""
        found = self.status()
        if found["kind"] == "stopped" or found["copying"]:
            raise Problem(f"{self.known['name']} has no server that could be promoted", "see why it does not run")
        found["behind_bytes"] = -1
        for peer in self.peers:
            with contextlib.suppress(Problem):
                at = peer.position()
                if not peer.recovering() and at.system == found["system"]:
                    found["behind_bytes"] = max(0, at.end - lsn(self.cluster.ask(_REACHED) or "0/0"))
                    found["behind_whom"] = peer.address
        return found

    def leave(self, crashed: bool) -> dict[str, Any]:
        """The server stops cleanly: its last WAL goes to whoever streams from it. One that crashed is only shut."""
        running, own = self.cluster.recovering(), self.cluster.control()
        if running or own is None or not own.was_primary:
            return {"end": 0, "left": False}
        self.cluster.stop()
        own = self.cluster.control()
        if own is None or not (own.clean or crashed):
            what = f"{self.known['name']} is not running and did not stop cleanly, so that its last WAL is not known"
            remedy = f"start it, or give up what the standby does not have: -e lost={self.known['name']}"
            raise Problem(what, remedy)
        self.cluster.fence()
        return {"end": own.position.end if own.clean else 0, "left": True}

    def take_back(self) -> dict[str, Any]:
        newer = self._successor()
        if newer:
            raise Problem(f"{newer} was promoted", "this host can only follow it")
        if self.cluster.recovering() is None:
            self.cluster.release()
            self.cluster.start()
        return {}

    def promote(self, reach: int) -> dict[str, Any]:
        if self.cluster.recovering() is False:
            return {"promoted": False, **self.status()}
        if self.cluster.recovering() is None:
            self.cluster.start()
        self._reach(reach)
        self.cluster.ask("select pg_promote(wait => true, wait_seconds => 600)")
        deadline = time.monotonic() + self.cluster.seconds
        while self.cluster.recovering() is not False:
            if time.monotonic() > deadline:
                raise Problem(f"the promotion did not end: {self.cluster.last_words()}", "see the reason")
            time.sleep(0.2)
        # Until then the control file tells the old timeline, by which others would not know that it was promoted.
        self.cluster.ask("checkpoint")
        self.cluster.forget_targets()
        return {"promoted": True, **self.status()}

    def _reach(self, reach: int) -> None:
        deadline = time.monotonic() + self.known["reach_seconds"]
        while lsn(self.cluster.ask(_REACHED) or "0/0") < reach:
            if time.monotonic() > deadline:
                missing = reach - lsn(self.cluster.ask(_REACHED) or "0/0")
                raise Problem(f"{missing} bytes of the old primary's WAL did not arrive", "nothing was promoted")
            time.sleep(0.1)

    # ---- the fence -------------------------------------------------------------------------------------------------

    def _successor(self) -> str:
        """Whoever of the others is a primary of this cluster on a later timeline; empty where none says so."""
        own = self.cluster.control()
        for peer in self.peers if own else ():
            with contextlib.suppress(Problem):
                at = peer.position()
                if own and _replaces(at, own.position) and not peer.recovering():
                    return peer.address
        return ""

    def guard(self) -> None:
        if JOURNAL.exists():
            raise Problem("the data directory is half a copy", "playbooks/site.yml ends it; until then nothing starts")
        if self.cluster.fenced:
            self.cluster.forget_targets()
            return
        successor = self._successor()
        if successor:
            self.cluster.fence()
            say(f"{successor} was promoted in this cluster's place: starting read-only")

    def watch(self) -> None:
        recovering = self.cluster.recovering()
        if recovering is False and self._successor():
            say("another host was promoted in this one's place: it goes on read-only")
            self.cluster.stop()
            self.cluster.fence()
            self.cluster.start()
        elif recovering and self.known["primary"]:
            follower = self.follower
            follower.free_slots()
            with contextlib.suppress(Problem):
                made = "" if follower.primary.recovering() else follower.ensure_slot()
                say(made) if made else None
        self._metrics()

    def _metrics(self) -> None:
        found = self.status()
        found["standby"] = found.pop("kind") == "standby"
        path = Path(self.known["metrics_directory"], "signalbox_standby.prom")
        numbers = {name: value for name, value in found.items() if isinstance(value, (int, float))}
        lines = [f"signalbox_standby_{name} {float(value):g}" for name, value in sorted(numbers.items())]
        fresh = path.with_suffix(".new")
        fresh.write_text("\n".join([*lines, f"signalbox_standby_timestamp_seconds {time.time():.0f}", ""]))
        os.replace(fresh, path)


def _replaces(other: Position, own: Position) -> bool:
    return other.system == own.system and other.timeline > own.timeline


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="standby", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("status", "ready", "return", "guard", "watch"):
        commands.add_parser(name)
    commands.add_parser("leave").add_argument("--crashed", action="store_true")
    commands.add_parser("follow").add_argument("--overwrite", action="store_true")
    commands.add_parser("promote").add_argument("--reach", type=int, default=0)
    return parser.parse_args(argv)


def act(asked: argparse.Namespace) -> dict[str, Any] | None:
    program = Program(json.loads(Path(SETTINGS).read_text()))
    if asked.command == "guard":
        program.guard()  # whoever starts the server has the lock
        return None
    with alone(wait=asked.command != "watch") as mine:
        if asked.command == "watch":
            if mine and not JOURNAL.exists():
                program.watch()
            return None
        if asked.command == "follow":
            return program.follow(asked.overwrite)
        if asked.command == "promote":
            return program.promote(asked.reach)
        if asked.command == "leave":
            return program.leave(asked.crashed)
        steps = {"status": program.status, "ready": program.ready, "return": program.take_back}
        return steps[asked.command]()


def main(argv: list[str]) -> int:
    try:
        refuse_unless_root()
        answer = act(arguments(argv))
    except Problem as problem:
        say(f"standby: {problem}")
        return 1
    if answer is not None:
        print(json.dumps(answer, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
