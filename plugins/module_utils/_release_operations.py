# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The operations of module release: each one a short transaction over the store. What is allowed, _release decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _release as rules
from ansible_collections.signalbox.platform.plugins.module_utils._release_records import (
    BEGIN,
    SLOTS,
    Instant,
    JournalEntry,
    Json,
    Lease,
    LedgerEntry,
    Release,
    State,
    iso,
    journal_json,
    lease_json,
    ledger_json,
    release_json,
    state_json,
)
from ansible_collections.signalbox.platform.plugins.module_utils._release_store import ReleaseStore, Snapshot, now

# The step by which a restore records how the app was served before it closed it.
HOLD = "hold"


@dataclass
class Request:
    """The module's parameters, typed."""

    app: str
    operation: str
    run_id: str
    owner: str = "unknown"
    kind: str = "deploy"
    controller: Mapping[str, Any] = field(default_factory=dict)
    lease_seconds: float = 120.0
    release: Release | None = None
    slot: str | None = None
    step: str | None = None
    status: str = "done"
    data: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, Any] | None = None
    result: str | None = None
    reason: str | None = None
    interrupted_run_id: str | None = None
    interrupted_kind: str | None = None
    takeover_run_id: str | None = None
    keep_releases: int = rules.KEEP_RELEASES


@dataclass
class Operations:
    store: ReleaseStore
    clock: Callable[[], Instant] = now

    def run(self, request: Request) -> Json:
        action = getattr(self, "_" + request.operation)
        with self.store.guarded():
            done: Json = action(request, self.store.load(), self.clock())
            return done

    def preview(self, request: Request) -> Json:
        """Check mode, on a DryStore: begin took no lease, so what follows is judged as if this run held it."""
        found, at = self.store.load(), self.clock()
        if request.operation != BEGIN:
            found = Snapshot(found.state, self._lease_for(request, None, at), [])
        if request.operation == "commit":
            request = replace(request, slot=request.slot or found.state.idle)
            if request.release is None:
                return {"changed": True, "run_id": request.run_id, "state": state_json(found.state), "diff": {}}
        done: Json = getattr(self, "_" + request.operation)(request, found, at)
        return done

    # ---- begin -----------------------------------------------------------------------------------------------------

    def _begin(self, request: Request, found: Snapshot, at: Instant) -> Json:
        how = rules.claim(found.lease, request.run_id, at, request.takeover_run_id)
        if how == "held" and found.lease:
            holder = {**lease_json(found.lease), "remaining_seconds": round(found.lease.remaining(at), 1)}
            raise rules.Refused("held", rules.held_text(found.lease, at), holder=holder)
        left = rules.unfinished(found.journal, request.run_id)
        target, target_slot = self._target(request, found.state, bool(left))
        stolen = found.lease if how in ("expired", "dead") else None
        if stolen:
            self.store.append_ledger(ledger_json(self._abandoned(stolen, found, at)))
        lease = self._lease_for(request, found.lease if how == "own" else None, at)
        if how != "own":
            self.store.keep_journal_of([run.run_id for run in left])
            data = {"kind": request.kind, "owner": request.owner, "from_slot": found.state.live}
            slot = request.slot or target_slot or found.state.idle
            self.store.append_journal(JournalEntry(request.run_id, BEGIN, "done", at.wall, slot, target, data))
        self.store.write_lease(lease)
        back, back_slot = rules.previous(found.state)
        return {
            "changed": True,
            "run_id": request.run_id,
            "state": state_json(found.state),
            "idle": found.state.idle,
            "target": release_json(target),
            "target_slot": target_slot,
            "previous": release_json(back),
            "previous_slot": back_slot,
            "good": rules.good_json(found.state),
            "interrupted": rules.interrupted_json(left),
            "stolen": stolen is not None,
            "stolen_text": rules.stolen_text(stolen, how, at) if stolen else "",
            "stolen_from": lease_json(stolen) if stolen else None,
            "lease": lease_json(lease),
            "diff": _diff("lock.json", _holder(found.lease), _holder(lease)),
        }

    @staticmethod
    def _target(request: Request, state: State, interrupted: bool) -> tuple[Release | None, str | None]:
        if request.kind != "rollback":
            return request.release, rules.warm_slot(state, request.release) if request.release else None
        try:
            return rules.rollback_target(state, request.release)
        except rules.Refused as refused:
            # Putting an interrupted first release back needs no earlier one.
            if interrupted and refused.code == "no_previous":
                return None, None
            raise

    @staticmethod
    def _lease_for(request: Request, own: Lease | None, at: Instant) -> Lease:
        if own:
            return replace(own, renewed=at, lease_seconds=request.lease_seconds)
        return Lease(
            request.app,
            request.run_id,
            request.owner,
            request.kind,
            request.controller,
            at.wall,
            at,
            request.lease_seconds,
        )

    @staticmethod
    def _abandoned(lease: Lease, found: Snapshot, at: Instant) -> LedgerEntry:
        run = rules.run_of(lease.run_id, found.journal) or rules.Run(
            lease.run_id,
            lease.kind,
            lease.owner,
            lease.acquired,
            lease.step,
            "started",
            None,
            found.state.live,
            None,
            (),
            {},
        )
        return rules.closing_entry(
            run,
            "abandoned",
            found.state,
            found.state,
            at,
            failing_step=run.step,
            reason="the run ended without commit or abort",
        )

    # ---- step ------------------------------------------------------------------------------------------------------

    def _step(self, request: Request, found: Snapshot, at: Instant) -> Json:
        lease = rules.require_own(found.lease, request.app, request.run_id)
        if not request.step:
            raise rules.Refused("missing", "operation=step needs step: the name of the step.")
        state = rules.with_slots(found.state, request.slots, at)
        entry = JournalEntry(
            request.run_id, request.step, request.status, at.wall, request.slot, request.release, request.data
        )
        self.store.append_journal(entry)
        if state != found.state:
            self.store.write_state(state)
        renewed = replace(lease, renewed=at, lease_seconds=request.lease_seconds, step=request.step)
        self.store.write_lease(renewed)
        return {
            "changed": True,
            "run_id": request.run_id,
            "step": request.step,
            "status": request.status,
            "lease": lease_json(renewed),
            "state": state_json(state),
            "diff": _diff("journal.jsonl", {}, journal_json(entry)),
        }

    # ---- closing ---------------------------------------------------------------------------------------------------

    def _own_run(self, request: Request, found: Snapshot) -> rules.Run:
        lease = rules.require_own(found.lease, request.app, request.run_id)
        run = rules.run_of(request.run_id, found.journal)
        return run or rules.Run(
            lease.run_id,
            lease.kind,
            lease.owner,
            lease.acquired,
            lease.step,
            "started",
            None,
            found.state.live,
            None,
            (),
            {},
        )

    def _commit(self, request: Request, found: Snapshot, at: Instant) -> Json:
        run = self._own_run(request, found)
        # Whatever an earlier run left half done is settled by this commit: its journal goes, its ledger entry stays.
        return self._commit_run(run, request, found, at, keep=[], unlock=True)

    def _abort(self, request: Request, found: Snapshot, at: Instant) -> Json:
        if found.lease is None and self._closed_by(request.run_id):
            # Several hosts of one play may each report their failure: the first one closed the run.
            return self._unchanged(request, found)
        run = self._own_run(request, found)
        others = [left.run_id for left in rules.unfinished(found.journal, request.run_id)]
        return self._revert_run(run, request, found, at, keep=others, unlock=True)

    def _finish_interrupted(self, request: Request, found: Snapshot, at: Instant) -> Json:
        rules.require_own(found.lease, request.app, request.run_id)
        left = rules.unfinished(found.journal, request.run_id)
        named = [run for run in left if request.interrupted_run_id in (None, run.run_id)]
        named = [run for run in named if request.interrupted_kind in (None, run.kind)]
        if not named:
            return self._unchanged(request, found)
        closed = {run.run_id for run in named}
        keep = [request.run_id, *(run.run_id for run in left if run.run_id not in closed)]
        close = self._commit_run if request.result == "committed" else self._revert_run
        return close(named[0], request, found, at, keep=keep, unlock=False)

    def _closed_by(self, run_id: str) -> bool:
        return any(entry.get("run_id") == run_id for entry in self.store.ledger(5))

    @staticmethod
    def _unchanged(request: Request, found: Snapshot) -> Json:
        state = state_json(found.state)
        return {"changed": False, "run_id": request.run_id, "state": state, "ledger_entry": None, "diff": {}}

    def _commit_run(
        self, run: rules.Run, request: Request, found: Snapshot, at: Instant, keep: list[str], unlock: bool
    ) -> Json:
        slot, release = request.slot or run.slot, request.release or run.release
        if slot not in SLOTS or release is None or release.empty:
            raise rules.Refused(
                "missing", "A commit needs slot and release (neither was given here nor told by an earlier step)."
            )
        state = rules.committed(found.state, run, slot, release, at)
        state, dropped = rules.retained(rules.with_slots(state, request.slots, at), request.keep_releases)
        entry = rules.closing_entry(
            run,
            "committed",
            found.state,
            state,
            at,
            slot=slot,
            release=release,
            reason=request.reason,
            data=request.data,
        )
        done = self._close(request, found, state, entry, at, keep, unlock)
        return {**done, "dropped": [release_json(item) for item in dropped]}

    def _revert_run(
        self, run: rules.Run, request: Request, found: Snapshot, at: Instant, keep: list[str], unlock: bool
    ) -> Json:
        state = rules.with_slots(found.state, request.slots, at)
        entry = rules.closing_entry(
            run,
            request.result or ("reverted" if request.operation == "finish_interrupted" else "failed"),
            found.state,
            state,
            at,
            slot=request.slot,
            release=request.release,
            failing_step=request.step or run.step,
            reason=request.reason,
            data=request.data,
        )
        return self._close(request, found, state, entry, at, keep, unlock)

    def _close(
        self,
        request: Request,
        found: Snapshot,
        state: State,
        entry: LedgerEntry,
        at: Instant,
        keep: list[str],
        unlock: bool,
    ) -> Json:
        after, record = state_json(state), ledger_json(entry)
        self.store.close(request.run_id, iso(at.wall) or "", after, [record], keep, unlock)
        back, back_slot = rules.previous(state)
        return {
            "changed": True,
            "run_id": request.run_id,
            "state": after,
            "ledger_entry": record,
            "previous": release_json(back),
            "previous_slot": back_slot,
            "diff": _diff("state.json", state_json(found.state), after),
        }

    # ---- remove ----------------------------------------------------------------------------------------------------

    def _remove(self, request: Request, found: Snapshot, at: Instant) -> Json:
        if not self.store.exists():
            return {"changed": False, "run_id": request.run_id, "ledger_file": None, "diff": {}}
        run = self._own_run(request, found)
        entry = rules.closing_entry(
            replace(run, kind="remove"),
            "removed",
            found.state,
            State(request.app),
            at,
            reason=request.reason,
            data=request.data,
        )
        self.store.append_ledger(ledger_json(entry))
        suffix = (iso(at.wall) or "")[:19].replace("-", "").replace(":", "") + "Z"
        aside = self.store.forget(suffix)
        return {
            "changed": True,
            "run_id": request.run_id,
            "ledger_file": aside,
            "ledger_entry": ledger_json(entry),
            "diff": _diff("state.json", state_json(found.state), {}),
        }


def info(store: ReleaseStore, last: int, at: Instant) -> Json:
    """Everything about one app, read without the guard: atomic renames make each file whole by itself."""
    found = store.load()
    lease = found.lease
    held = lease is not None and lease.remaining(at) > 0
    back, back_slot = rules.previous(found.state)
    left = rules.unfinished(found.journal, lease.run_id if lease and held else "")
    holder: dict[str, Any] | None = None
    if lease:
        holder = {
            **lease_json(lease),
            "remaining_seconds": round(max(0.0, lease.remaining(at)), 1),
            "expired": not held,
        }
    return {
        "state": state_json(found.state),
        "idle": found.state.idle,
        "previous": release_json(back),
        "previous_slot": back_slot,
        "good": rules.good_json(found.state),
        "lease": holder,
        "interrupted": rules.interrupted_json(left),
        # Of several restores of which the first were killed, the first one found the app as it was.
        "held": next((dict(entry.data) for entry in found.journal if entry.step == HOLD), None),
        "journal": [journal_json(entry) for entry in found.journal],
        "ledger": store.ledger(last) if last else [],
        "error": None,
    }


def _diff(name: str, before: Json, after: Json) -> Json:
    return {"before": before, "after": after, "before_header": name, "after_header": name}


def _holder(lease: Lease | None) -> Json:
    return {"owner": lease.owner, "kind": lease.kind, "run_id": lease.run_id} if lease else {}
