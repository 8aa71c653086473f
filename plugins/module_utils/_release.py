# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of the release state: who may hold the lease, what a run left behind, what a rollback returns to. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._release_records import (
    BEGIN,
    CLOSE,
    SLOTS,
    GoodRelease,
    Instant,
    JournalEntry,
    Json,
    Lease,
    LedgerEntry,
    Release,
    SlotRecord,
    State,
    from_iso,
    iso,
    release_from,
    release_json,
    slots_from,
)

KEEP_RELEASES = 5


class Refused(Exception):
    """The operation is not allowed; `code` is for machines, the text for people, `details` for both."""

    def __init__(self, code: str, text: str, **details: Any) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


@dataclass(frozen=True)
class Run:
    """One run as its journal tells it."""

    run_id: str
    kind: str
    owner: str
    started: float
    step: str
    status: str
    slot: str | None
    from_slot: str | None
    release: Release | None
    steps: tuple[Mapping[str, Any], ...]
    data: Mapping[str, Any]


# ---- lease ---------------------------------------------------------------------------------------------------------


def claim(lease: Lease | None, run_id: str, at: Instant, takeover: str | None) -> str:
    """How `run_id` stands to the lease: free, own, expired, dead (its owner is proven dead) or held."""
    if lease is None:
        return "free"
    if lease.run_id == run_id:
        return "own"
    if takeover and lease.run_id == takeover:
        return "dead"
    return "expired" if lease.remaining(at) <= 0 else "held"


def require_own(lease: Lease | None, app: str, run_id: str) -> Lease:
    if lease is not None and lease.run_id == run_id:
        return lease
    if lease is None:
        text = "nobody holds it now, so another run has taken it and finished, or it was removed by hand"
    else:
        text = (
            f"{lease.owner} holds it since {iso(lease.acquired)} ({lease.kind}, run {lease.run_id}, step {lease.step})"
        )
    raise Refused(
        "lost_lease",
        f"The lease of {app} is not held by this run ({run_id}): {text}. Nothing was written. "
        "Stop this run: its steps may collide with the other's. Look with the playbook status, then start again.",
    )


def held_text(lease: Lease, at: Instant) -> str:
    left = max(0, round(lease.remaining(at)))
    return (
        f"{lease.app} is locked by {lease.owner}: {lease.kind}, run {lease.run_id}, since {iso(lease.acquired)}, "
        f"at step {lease.step}. The lease runs out in {left} s ({iso(lease.expires)}) unless that run renews it. "
        "Wait for it (wait_seconds) or stop that run; the lease of a dead run is taken over once it has run out."
    )


def stolen_text(lease: Lease, how: str, at: Instant) -> str:
    why = f"its lease ran out {round(-lease.remaining(at))} s ago"
    if how == "dead":
        why = "its process on this controller no longer runs"
    return (
        f"Took {lease.app} over from {lease.owner} ({lease.kind}, run {lease.run_id}, since {iso(lease.acquired)}, "
        f"last step {lease.step}): {why}."
    )


# ---- journal -------------------------------------------------------------------------------------------------------


def step_times(entries: Iterable[JournalEntry]) -> list[Json]:
    """Steps in the order they were first begun; repeats add up; a clock that goes backwards costs nothing."""
    steps: dict[str, Json] = {}
    begun: dict[str, float] = {}
    for entry in entries:
        if entry.step in (BEGIN, CLOSE):
            continue
        step = steps.setdefault(entry.step, {"step": entry.step, "seconds": 0.0, "status": entry.status})
        step["status"] = entry.status
        if entry.status == "started":
            begun[entry.step] = entry.time
        elif entry.step in begun:
            step["seconds"] = round(step["seconds"] + max(0.0, entry.time - begun.pop(entry.step)), 3)
    return list(steps.values())


def run_of(run_id: str, journal: Iterable[JournalEntry]) -> Run | None:
    entries = [entry for entry in journal if entry.run_id == run_id and entry.step != CLOSE]
    if not entries:
        return None
    first, last = entries[0], entries[-1]
    slot: str | None = None
    release: Release | None = None
    data: dict[str, Any] = {}
    for entry in entries:
        slot, release = entry.slot or slot, entry.release or release
        if entry.step != BEGIN and entry.data:
            data[entry.step] = {**data.get(entry.step, {}), **entry.data}
    return Run(
        run_id,
        str(first.data.get("kind", "deploy")),
        str(first.data.get("owner", "unknown")),
        first.time,
        last.step,
        last.status,
        slot,
        first.data.get("from_slot"),
        release,
        tuple(step_times(entries)),
        data,
    )


def unfinished(journal: Sequence[JournalEntry], own_run_id: str) -> list[Run]:
    """Earlier runs that did something and were neither committed nor aborted, oldest first."""
    names = dict.fromkeys(entry.run_id for entry in journal if entry.run_id != own_run_id)
    runs = (run_of(name, journal) for name in names)
    return [run for run in runs if run and run.steps]


def interrupted_json(runs: Sequence[Run]) -> Json | None:
    """The oldest unfinished run is the one whose steps touched a settled platform: later ones died while mending it."""
    if not runs:
        return None
    run = runs[0]
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "owner": run.owner,
        "started": iso(run.started),
        "step": run.step,
        "status": run.status,
        "slot": run.slot,
        "from_slot": run.from_slot,
        "release": release_json(run.release),
        "steps": [dict(step) for step in run.steps],
        "data": dict(run.data),
        "further": [later.run_id for later in runs[1:]],
    }


# ---- state ---------------------------------------------------------------------------------------------------------


def with_slots(state: State, change: Mapping[str, Any] | None, at: Instant) -> State:
    """Apply {slot: null} (emptied) or {slot: {release: …}} (holds this release now)."""
    if not change:
        return state
    slots = dict(state.slots)
    for name, content in change.items():
        if name not in SLOTS:
            raise Refused("bad_slot", f"slots: {name!r} is neither blue nor green.")
        release = release_from((content or {}).get("release"))
        if release is None and name == state.live:
            raise Refused("bad_slot", f"slots: {name} is live, so it cannot be emptied; commit another slot first.")
        slots[name] = SlotRecord(release, at.wall) if release else None
    return replace(state, slots=slots, updated=at.wall)


def committed(state: State, run: Run, slot: str, release: Release, at: Instant) -> State:
    """Make `release` in `slot` live and the newest good one."""
    left = state.slots.get(state.live) if state.live else None
    slots = dict(state.slots)
    slots[slot] = SlotRecord(release, at.wall)
    goods = [GoodRelease(release, at.wall, slot, run.run_id)]
    for good in state.releases:
        if good.release.same_as(release):
            continue
        left_behind = run.kind == "rollback" and left is not None and good.release.same_as(left.release)
        goods.append(replace(good, rolled_back=True) if left_behind else good)
    return replace(state, live=slot, slots=slots, releases=tuple(goods), updated=at.wall)


def retained(state: State, keep: int) -> tuple[State, list[Release]]:
    """Drop good releases beyond `keep`, but never one that stands in a slot nor the one to return to."""
    back, _slot = previous(state)
    standing = [record.release for record in state.slots.values() if record]
    kept: list[GoodRelease] = []
    dropped: list[Release] = []
    for index, good in enumerate(state.releases):
        needed = any(good.release.same_as(release) for release in standing) or (back and good.release.same_as(back))
        if index < keep or needed:
            kept.append(good)
        else:
            dropped.append(good.release)
    return replace(state, releases=tuple(kept)), dropped


def warm_slot(state: State, release: Release) -> str | None:
    """The idle slot, when it holds this release."""
    record = state.slots.get(state.idle)
    return state.idle if record and record.release.same_as(release) else None


def previous(state: State) -> tuple[Release | None, str | None]:
    """The release to return to, and the slot where it is warm."""
    live = state.slots.get(state.live) if state.live else None
    goods = [good for good in state.releases if not good.rolled_back]
    if live:
        goods = [good for good in goods if not good.release.same_as(live.release)]
    for good in goods:
        if warm_slot(state, good.release):
            return good.release, state.idle
    return (goods[0].release, None) if goods else (None, None)


def rollback_target(state: State, wanted: Release | None) -> tuple[Release, str | None]:
    """The good release asked for (by version or digest), or the previous one."""
    if wanted is None:
        release, slot = previous(state)
        if release is None:
            raise Refused(
                "no_previous",
                f"{state.app} has no earlier good release to return to. Good releases: {good_text(state)}. "
                "Deploy a version instead.",
                good=good_json(state),
            )
        return release, slot
    for good in state.releases:
        if wanted.digest and wanted.digest != good.release.digest:
            continue
        if wanted.version and wanted.version != good.release.version:
            continue
        return good.release, warm_slot(state, good.release)
    raise Refused(
        "not_good",
        f"{wanted.version or wanted.digest} is not among the good releases of {state.app}, so a rollback does not go "
        f"there. Good releases: {good_text(state)}. "
        "Choose one of them, or deploy that version, which passes all gates.",
        good=good_json(state),
    )


def good_json(state: State) -> list[Json]:
    live = state.slots.get(state.live) if state.live else None
    return [
        {
            **(release_json(good.release) or {}),
            "since": iso(good.since),
            "live": bool(live and good.release.same_as(live.release)),
            "warm_slot": warm_slot(state, good.release),
            "rolled_back": good.rolled_back,
        }
        for good in state.releases
    ]


def good_text(state: State) -> str:
    names = [str(good.release.version or good.release.digest) for good in state.releases]
    return ", ".join(names) if names else "none"


def closing_entry(run: Run, result: str, state: State, after: State, at: Instant, **more: Any) -> LedgerEntry:
    from_slot = run.from_slot or state.live
    left = state.slots.get(from_slot) if from_slot else None
    data = {**run.data, **(more.pop("data", None) or {})}
    return LedgerEntry(
        app=state.app,
        run_id=run.run_id,
        time=at.wall,
        owner=run.owner,
        kind=run.kind,
        result=result,
        state=after,
        started=run.started,
        slot=more.pop("slot", None) or run.slot,
        from_slot=run.from_slot,
        release=more.pop("release", None) or run.release,
        from_release=left.release if left else None,
        steps=run.steps,
        data=data,
        **more,
    )


def state_from_ledger(app: str, ledger: Sequence[Json]) -> State:
    """Rebuild a state whose file is missing: the last entry knows the slots, the committed ones the good releases."""
    state = State(app)
    for record in ledger:
        at = Instant(from_iso(record.get("time")) or 0.0, 0.0, "")
        release = release_from(record.get("release"))
        if record.get("result") == "committed" and release and record.get("slot") in SLOTS:
            run = Run(record["run_id"], record["kind"], record["owner"], at.wall, "", "", None, None, release, (), {})
            state, _dropped = retained(committed(state, run, record["slot"], release, at), KEEP_RELEASES)
        if "slots" in record:
            state = replace(state, live=record.get("live"), slots=slots_from(record["slots"]), updated=at.wall)
    return state
