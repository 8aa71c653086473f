# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cluster that follows its primary: copied, attached, or brought back after it went its own way."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from cluster import CONFIGURATION, Cluster, Control, Peer, Position, Problem, as_postgres, has_left

# Root's own: while it is there, the data directory is half a copy, and no server may start on it.
JOURNAL = Path("/var/lib/signalbox/standby-copy.json")
STREAMING = "select coalesce((select status from pg_stat_wal_receiver), '') = 'streaming'"
_PROGRESS = "select pg_last_wal_replay_lsn()"
# A slot that lost its WAL says "unreserved" again while it is streamed over, and keeps nothing all the same.
_STATUS = """select case when invalidation_reason is null then coalesce(wal_status, '') else 'lost' end
from pg_replication_slots where slot_name = '{slot}'"""
_LET_GO = "select pg_terminate_backend(pid, 5000) from pg_stat_wal_receiver"
# A standby keeps no WAL for others; slots of the time when it was the primary would fill its disk.
_FREE_SLOTS = """
select pg_drop_replication_slot(slot_name) from pg_replication_slots
where slot_name like 'signalbox\\_%' and slot_type = 'physical' and not active
"""


@dataclass
class Follower:
    cluster: Cluster
    primary: Peer
    slot: str
    stanza: str  # empty without a repository
    name: str
    say: Callable[[str], None] = print
    journal: Path = JOURNAL
    done: list[str] = field(default_factory=list)

    # ---- the run ---------------------------------------------------------------------------------------------------

    def run(self, overwrite: bool) -> list[str]:
        """What was done; nothing where it follows already."""
        if self.primary.recovering():
            what = f"{self.primary.address} is to be followed and is itself a standby"
            raise Problem(what, "playbooks/promote.yml makes it the primary, or put the inventory's groups back")
        if self.journal.exists():
            self._copy("a copy that was interrupted is made anew")
            return self.done
        primary, own = self.primary.position(), self.cluster.control()
        if own is None:
            self._copy("there was no cluster")
        elif own.position.system != primary.system:
            if not overwrite and not self.cluster.is_empty():
                what = f"{self.name} has a cluster of its own with databases, not a copy of the primary's"
                raise Problem(what, f"save what you need, then -e overwrite={self.name} puts a copy in its place")
            self._copy("its cluster was not the primary's")
        else:
            self._attach(own, overwrite)
        return self.done

    def _attach(self, own: Control, overwrite: bool) -> None:
        # This order: a standby that streams may be further by now than its primary was a moment ago.
        position = self._position(own)
        primary = self.primary.position()
        history = self.primary.history(primary.timeline)
        if position is not None and not has_left(position, primary, history):
            self._catch_up(overwrite)
        elif overwrite:
            self._rewind()
        else:
            self._tell(position, primary, history)

    def _position(self, own: Control) -> Position | None:
        """How far this cluster is; None where it crashed as a primary, and nobody can tell without starting it."""
        running = self.cluster.recovering()
        if running is None and self.cluster.fenced:
            self.cluster.start()
            running = True
        if running:
            return self.cluster.position()
        if running is False:
            self.say("stopping a server that runs as a primary")
            self.cluster.stop()
            own = self.cluster.control() or own
        self.cluster.fence()
        self.done.append("fenced it: it starts read-only now")
        return own.position if own.clean else None

    def _tell(self, position: Position | None, primary: Position, history: dict[int, int]) -> None:
        if position is None:
            own = "it crashed as a primary, and may hold commits that the primary does not have"
        else:
            fork = primary.end if position.timeline == primary.timeline else history.get(position.timeline, 0)
            extra = f"{position.end - fork} bytes of WAL of timeline {position.timeline}"
            own = f"it holds {extra} that the primary never had"
        what = f"{self.name} left the primary's timeline {primary.timeline}: {own}"
        raise Problem(what, f"-e overwrite={self.name} gives that up and brings it back; until then it is read-only")

    # ---- ways ------------------------------------------------------------------------------------------------------

    def _catch_up(self, overwrite: bool) -> None:
        """One that was away for so long that nobody has its WAL any more is of no use as it is."""
        try:
            self._follow()
        except Problem as problem:
            if not overwrite:
                raise
            self._copy(f"it could not catch up ({problem})")

    def _follow(self) -> None:
        if not self.cluster.fenced:
            self.cluster.fence()
        made = self.ensure_slot()
        if self.cluster.recovering() is None:
            self.cluster.start()
            self.done.append("started it as a standby")
        if made:
            self.done.append(made)
        self._wait()

    def _rewind(self) -> None:
        """Only what changed since it left is copied; where that does not work, everything is."""
        self.say("rewinding")
        self.cluster.stop()
        self.journal.write_text(json.dumps({"rewinding": self.name}) + "\n")
        own = self.cluster.control()
        if own is None or not own.clean:
            # It recovers by itself first, which it refuses as a standby; the journal keeps it shut meanwhile.
            self.cluster.release()
        command = [
            str(self.cluster.binaries / "pg_rewind"),
            f"--target-pgdata={self.cluster.data}",
            f"--source-server={self.primary.conninfo}",
            f"--config-file={CONFIGURATION}/postgresql.conf",
            *(["--restore-target-wal"] if self.stanza else []),
        ]
        said = as_postgres(command, self.cluster.seconds)
        if said.code != 0:
            self._copy(f"pg_rewind could not bring it back ({said.reason})")
            return
        self.done.append("rewound it to where it left the primary")
        self._begin()

    def _copy(self, why: str) -> None:
        """From the repository where there is one, which spares the primary; else from the primary."""
        self.say(f"copying, for {why}")
        self.journal.write_text(json.dumps({"copying": self.name}) + "\n")
        self.cluster.stop()
        if not (self.stanza and self._from_repository()):
            self._from_primary()
        self.done.append(f"copied it from the {self._source}, for {why}")
        self._begin()

    _source = "repository"

    def _from_repository(self) -> bool:
        command = ["pgbackrest", f"--stanza={self.stanza}", "--delta", "--type=standby", "--log-level-console=warn"]
        said = as_postgres([*command, "restore"], self.cluster.seconds)
        if said.code != 0:
            self.say(f"no copy from the repository: {said.reason}")
        return said.code == 0

    def _from_primary(self) -> None:
        self._source = "primary"
        self.cluster.file("find", str(self.cluster.data), "-mindepth", "1", "-delete")
        command = [
            str(self.cluster.binaries / "pg_basebackup"),
            f"--pgdata={self.cluster.data}",
            f"--dbname={self.primary.conninfo}",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-password",
        ]
        said = as_postgres(command, self.cluster.seconds)
        if said.code != 0:
            raise Problem(f"pg_basebackup: {said.reason}", "see the reason, and run this again")

    def _begin(self) -> None:
        self.cluster.fence()
        self.cluster.raise_limits()
        made = self.ensure_slot()
        self.done += [made] if made else []
        self.journal.unlink()
        self.cluster.start()
        self._wait()

    # ---- slot ------------------------------------------------------------------------------------------------------

    def ensure_slot(self) -> str:
        """Its slot at the primary. One that lost its WAL keeps none any more, though it can still be streamed over."""
        status = self.primary.ask(_STATUS.format(slot=self.slot))
        if status in ("reserved", "extended", "unreserved"):
            return ""
        if status == "lost":
            self._drop_slot()
        self.primary.ask(f"CREATE_REPLICATION_SLOT {self.slot} PHYSICAL RESERVE_WAL")
        return f"made its slot at {self.primary.address}" + (" anew, for it had lost its WAL" if status else "")

    def _drop_slot(self) -> None:
        """What streams over it lets go first, and comes back after some seconds."""
        for attempt in range(1, 6):
            try:
                if self.cluster.recovering():
                    self.cluster.ask(_LET_GO)
                self.primary.ask(f"DROP_REPLICATION_SLOT {self.slot}")
                return
            except Problem:
                if attempt == 5:
                    raise
                time.sleep(0.5)

    def free_slots(self) -> None:
        self.cluster.ask(_FREE_SLOTS)

    def _wait(self) -> None:
        """Until it streams. One that is behind reads the archive first, however long that takes while it comes on."""
        self.free_slots()
        last, deadline = "", time.monotonic() + 60
        while self.cluster.ask(STREAMING) != "t":
            now = self.cluster.ask(_PROGRESS)
            if now != last:
                last, deadline = now, time.monotonic() + 60
            if time.monotonic() > deadline:
                what = f"{self.name} does not stream and is at {last}: {self.cluster.last_words()}"
                raise Problem(what, f"see the reason; -e overwrite={self.name} copies it anew")
            time.sleep(0.3)
