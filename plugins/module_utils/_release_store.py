# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File port of the release state: one directory per app, every read-modify-write under one flock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable, TypeVar

from ansible_collections.signalbox.platform.plugins.module_utils import _json_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._release import Refused, state_from_ledger
from ansible_collections.signalbox.platform.plugins.module_utils._release_records import (
    CLOSE,
    SCHEMA,
    Instant,
    JournalEntry,
    Json,
    Lease,
    State,
    journal_from,
    journal_json,
    lease_from,
    lease_json,
    state_from,
    state_json,
)

GUARD_SECONDS = 30.0
MEND = {
    "state.json": "Mend it: `mv PATH PATH.bad` and start again: the state is then rebuilt from ledger.jsonl beside it. "
    "Compare it with what the edge serves before the next release.",
    "lock.json": "Mend it: make sure that no release of this app is running, then `rm PATH`.",
    "journal.jsonl": "Mend it: `mv PATH PATH.bad`. The next run cannot know then what an interrupted one left: "
    "look at what the edge serves first.",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    state: State
    lease: Lease | None
    journal: list[JournalEntry]


def now() -> Instant:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
            boot = source.read().strip()
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return Instant(time.time(), 0.0, "")
    return Instant(time.time(), uptime, boot)


class ReleaseStore:
    """The files of one app below `directory`: lock.json, journal.jsonl, ledger.jsonl, state.json and the guard."""

    def __init__(self, directory: str, app: str) -> None:
        self.app = app
        self.path = os.path.join(directory, app)

    # ---- guard -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Hold the guard file. The kernel lets go of it when the process dies, however it dies."""
        self._make_directory()
        handle = os.open(self._file("guard"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            self._take(handle)
            self._remove_leftovers()
            self._finish_close()
            yield
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        deadline = time.monotonic() + GUARD_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    guard = self._file("guard")
                    raise Refused(
                        "guard",
                        f"{guard} was locked by another process for {GUARD_SECONDS:.0f} s; a healthy one needs "
                        f"milliseconds. Look with `fuser -v {guard}` for a process that hangs.",
                    ) from None
                time.sleep(0.02)

    def _make_directory(self) -> None:
        for path in (os.path.dirname(self.path), self.path):
            with contextlib.suppress(FileExistsError):
                os.makedirs(path, mode=0o750)
                files.own(path, 0o750)

    def _remove_leftovers(self) -> None:
        """Temporary files of writers that were killed."""
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(self._file(name))

    # ---- reading ---------------------------------------------------------------------------------------------------

    def load(self) -> Snapshot:
        return Snapshot(self.state(), self.lease(), self.journal())

    def state(self) -> State:
        record = self._read_json("state.json")
        if record is not None:
            return self._parsed("state.json", record, state_from)
        ledger = self.ledger()
        return state_from_ledger(self.app, ledger) if ledger else State(self.app)

    def lease(self) -> Lease | None:
        record = self._read_json("lock.json")
        return None if record is None else self._parsed("lock.json", record, lease_from)

    def journal(self) -> list[JournalEntry]:
        entries = (record for record in self._read_lines("journal.jsonl") if record.get("step") != CLOSE)
        return [self._parsed("journal.jsonl", record, journal_from) for record in entries]

    def ledger(self, last: int = 0) -> list[Json]:
        return self._read_lines("ledger.jsonl")[-last:]

    def exists(self) -> bool:
        return any(
            os.path.exists(self._file(name)) for name in ("state.json", "lock.json", "journal.jsonl", "ledger.jsonl")
        )

    # ---- writing (only inside guarded()) ---------------------------------------------------------------------------

    def write_lease(self, lease: Lease) -> None:
        self._write_json("lock.json", lease_json(lease))

    def write_state(self, state: State) -> None:
        self._write_json("state.json", state_json(state))

    def append_journal(self, entry: JournalEntry) -> None:
        self._append("journal.jsonl", journal_json(entry))

    def append_ledger(self, entry: Json) -> None:
        """Once per run, result and moment (a run is abandoned once): a repeated close must not tell it twice."""
        keys = ("run_id", "result") if entry["result"] == "abandoned" else ("run_id", "result", "time")
        if all(any(old.get(key) != entry[key] for key in keys) for old in self.ledger(20)):
            self._append("ledger.jsonl", entry)

    def keep_journal_of(self, run_ids: Sequence[str]) -> None:
        kept = [journal_json(entry) for entry in self.journal() if entry.run_id in run_ids]
        files.write_atomically(self._file("journal.jsonl"), b"".join(files.line_of(record) for record in kept))

    def close(self, run_id: str, at: str, state: Json, ledger: list[Json], keep: list[str], unlock: bool) -> None:
        """State, ledger, journal and lease as one act, written ahead as one line: a killed close is finished later."""
        plan = {"state": state, "ledger": ledger, "keep": keep, "unlock": unlock}
        self._append(
            "journal.jsonl",
            {
                "schema": SCHEMA,
                "run_id": run_id,
                "step": CLOSE,
                "status": "started",
                "time": at,
                "slot": None,
                "release": None,
                "data": plan,
            },
        )
        self._finish_close()

    def _finish_close(self) -> None:
        plans = [record for record in self._read_lines("journal.jsonl") if record.get("step") == CLOSE]
        if not plans:
            return
        plan = plans[-1]["data"]
        self._write_json("state.json", plan["state"])
        for entry in plan["ledger"]:
            self.append_ledger(entry)
        if plan["unlock"]:
            lease = self._read_json("lock.json")
            if lease and lease.get("run_id") == plans[-1]["run_id"]:
                os.unlink(self._file("lock.json"))
        self.keep_journal_of(plan["keep"])

    def forget(self, suffix: str) -> str | None:
        """Remove all but the ledger, which is put aside under a dated name."""
        aside = None
        if os.path.exists(self._file("ledger.jsonl")):
            aside = self._file(f"ledger-{suffix}.jsonl")
            os.rename(self._file("ledger.jsonl"), aside)
        for name in ("state.json", "journal.jsonl", "lock.json"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file(name))
        files.sync_directory(self.path)
        return aside

    # ---- files -----------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _refused(self, name: str, why: object, mend: str = "") -> Refused:
        path = self._file(name)
        text = f"{path} cannot be used: {why}. Nothing was changed. {mend or MEND[name]}"
        return Refused("corrupt", text.replace("PATH", path), path=path)

    def _read_json(self, name: str) -> Json | None:
        try:
            return files.read_json(self._file(name))
        except files.Damaged as damaged:
            raise self._refused(name, damaged) from damaged

    def _read_lines(self, name: str) -> list[Json]:
        try:
            return files.read_lines(self._file(name))
        except files.Damaged as damaged:
            line = damaged.line
            mend = f"Mend it: look at that line (`sed -n {line}p PATH`), then take it out (`sed -i.bad {line}d PATH`)."
            raise self._refused(name, damaged, mend) from damaged

    def _parsed(self, name: str, record: Json, parse: Callable[[Json], T]) -> T:
        if record.get("schema") != SCHEMA:
            mend = "It was written by another version of the collection: use that one."
            raise self._refused(name, f"its schema is {record.get('schema')!r}, not {SCHEMA}", mend)
        try:
            return parse(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._refused(name, f"{type(error).__name__}: {error}") from error

    def _append(self, name: str, record: Json) -> None:
        files.append_line(self._file(name), record)

    def _write_json(self, name: str, record: Json) -> None:
        files.write_json(self._file(name), record)


class DryStore(ReleaseStore):
    """The same files, read only: for check mode."""

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        yield

    def keep_journal_of(self, run_ids: Sequence[str]) -> None:
        pass

    def close(self, run_id: str, at: str, state: Json, ledger: list[Json], keep: list[str], unlock: bool) -> None:
        pass

    def forget(self, suffix: str) -> str | None:
        return None

    def _append(self, name: str, record: Json) -> None:
        pass

    def _write_json(self, name: str, record: Json) -> None:
        pass


def apps_in(directory: str) -> list[str]:
    try:
        return sorted(
            entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith(".")
        )
    except FileNotFoundError:
        return []
