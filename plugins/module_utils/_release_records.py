# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Records of the release state and their JSON forms: no decisions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

SCHEMA = 1
SLOTS = ("blue", "green")
BEGIN = "begin"
CLOSE = "close"

Json = dict[str, Any]


class CorruptRecord(ValueError):
    """A record does not have the shape this version writes."""


@dataclass(frozen=True)
class Instant:
    """One reading of the state host's clocks. Only uptime and boot decide while the host stays up: wall clocks jump."""

    wall: float
    uptime: float
    boot: str


@dataclass(frozen=True)
class Release:
    version: str | None = None
    image: str | None = None
    digest: str | None = None
    revision: str | None = None

    def same_as(self, other: Release) -> bool:
        """A digest is the identity; a version is one only where a digest is missing."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return (self.version, self.image) == (other.version, other.image)

    @property
    def empty(self) -> bool:
        return not (self.version or self.digest)


@dataclass(frozen=True)
class SlotRecord:
    release: Release
    since: float


@dataclass(frozen=True)
class GoodRelease:
    """A release that was committed. One left by a rollback is `rolled_back`: good, but not returned to unasked."""

    release: Release
    since: float
    slot: str | None = None
    run_id: str = ""
    rolled_back: bool = False


@dataclass(frozen=True)
class State:
    app: str
    live: str | None = None
    slots: Mapping[str, SlotRecord | None] = field(default_factory=lambda: dict.fromkeys(SLOTS))
    releases: tuple[GoodRelease, ...] = ()
    updated: float | None = None

    @property
    def idle(self) -> str:
        return "green" if self.live == "blue" else "blue"


@dataclass(frozen=True)
class Lease:
    app: str
    run_id: str
    owner: str
    kind: str
    controller: Mapping[str, Any]
    acquired: float
    renewed: Instant
    lease_seconds: float
    step: str = BEGIN

    def remaining(self, at: Instant) -> float:
        if at.boot and at.boot == self.renewed.boot:
            elapsed = at.uptime - self.renewed.uptime
        elif at.boot and self.renewed.boot:
            # The host restarted since: its uptime is the least that can have passed, whatever the wall clock says.
            elapsed = max(at.uptime, at.wall - self.renewed.wall)
        else:
            elapsed = at.wall - self.renewed.wall
        return self.lease_seconds - max(0.0, elapsed)

    @property
    def expires(self) -> float:
        return self.renewed.wall + self.lease_seconds


@dataclass(frozen=True)
class JournalEntry:
    run_id: str
    step: str
    status: str
    time: float
    slot: str | None = None
    release: Release | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LedgerEntry:
    """What one run came to. The state after it stands in the entry, so that a lost state file can be rebuilt."""

    app: str
    run_id: str
    time: float
    owner: str
    kind: str
    result: str
    state: State
    started: float | None = None
    slot: str | None = None
    from_slot: str | None = None
    release: Release | None = None
    from_release: Release | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    failing_step: str | None = None
    reason: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment, tz=timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def from_iso(text: Any) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise CorruptRecord(f"not a time: {text!r}") from error


def _time(record: Json, key: str) -> float:
    moment = from_iso(record[key])
    if moment is None:
        raise CorruptRecord(f"{key} has no time")
    return moment


def release_json(release: Release | None) -> Json | None:
    if release is None:
        return None
    return {"version": release.version, "image": release.image, "digest": release.digest, "revision": release.revision}


def release_from(record: Mapping[str, Any] | None) -> Release | None:
    if not record:
        return None
    found = Release(*(record.get(key) or None for key in ("version", "image", "digest", "revision")))
    return None if found.empty else found


def slots_json(slots: Mapping[str, SlotRecord | None]) -> Json:
    return {
        name: None if record is None else {"release": release_json(record.release), "since": iso(record.since)}
        for name, record in sorted(slots.items())
    }


def slots_from(record: Mapping[str, Any]) -> dict[str, SlotRecord | None]:
    slots: dict[str, SlotRecord | None] = dict.fromkeys(SLOTS)
    for name in SLOTS:
        content = record.get(name)
        release = release_from(content.get("release")) if content else None
        if content and release:
            slots[name] = SlotRecord(release, _time(content, "since"))
    return slots


def state_json(state: State) -> Json:
    return {
        "schema": SCHEMA,
        "app": state.app,
        "live": state.live,
        "slots": slots_json(state.slots),
        "releases": [
            {
                "release": release_json(good.release),
                "since": iso(good.since),
                "slot": good.slot,
                "run_id": good.run_id,
                "rolled_back": good.rolled_back,
            }
            for good in state.releases
        ],
        "updated": iso(state.updated),
    }


def state_from(record: Json) -> State:
    live = record["live"]
    if live is not None and live not in SLOTS:
        raise CorruptRecord(f"live is {live!r}, neither blue nor green")
    goods = []
    for item in record["releases"]:
        release = release_from(item["release"])
        if release:
            goods.append(
                GoodRelease(release, _time(item, "since"), item["slot"], item["run_id"], bool(item["rolled_back"]))
            )
    return State(record["app"], live, slots_from(record["slots"]), tuple(goods), from_iso(record["updated"]))


def lease_json(lease: Lease) -> Json:
    return {
        "schema": SCHEMA,
        "app": lease.app,
        "run_id": lease.run_id,
        "owner": lease.owner,
        "kind": lease.kind,
        "step": lease.step,
        "acquired": iso(lease.acquired),
        "renewed": iso(lease.renewed.wall),
        "expires": iso(lease.expires),
        "lease_seconds": lease.lease_seconds,
        "renewed_uptime": lease.renewed.uptime,
        "boot_id": lease.renewed.boot,
        "controller": dict(lease.controller),
    }


def lease_from(record: Json) -> Lease:
    renewed = Instant(_time(record, "renewed"), float(record["renewed_uptime"]), str(record["boot_id"]))
    return Lease(
        record["app"],
        record["run_id"],
        record["owner"],
        record["kind"],
        record["controller"],
        _time(record, "acquired"),
        renewed,
        float(record["lease_seconds"]),
        record["step"],
    )


def journal_json(entry: JournalEntry) -> Json:
    return {
        "schema": SCHEMA,
        "run_id": entry.run_id,
        "step": entry.step,
        "status": entry.status,
        "time": iso(entry.time),
        "slot": entry.slot,
        "release": release_json(entry.release),
        "data": dict(entry.data),
    }


def journal_from(record: Json) -> JournalEntry:
    return JournalEntry(
        record["run_id"],
        record["step"],
        record["status"],
        _time(record, "time"),
        record["slot"],
        release_from(record["release"]),
        record["data"],
    )


def ledger_json(entry: LedgerEntry) -> Json:
    duration = None if entry.started is None else round(max(0.0, entry.time - entry.started), 3)
    return {
        "schema": SCHEMA,
        "app": entry.app,
        "run_id": entry.run_id,
        "time": iso(entry.time),
        "started": iso(entry.started),
        "duration_seconds": duration,
        "owner": entry.owner,
        "kind": entry.kind,
        "result": entry.result,
        "slot": entry.slot,
        "from_slot": entry.from_slot,
        "release": release_json(entry.release),
        "from_release": release_json(entry.from_release),
        "steps": [dict(step) for step in entry.steps],
        "failing_step": entry.failing_step,
        "reason": entry.reason,
        "data": dict(entry.data),
        "live": entry.state.live,
        "slots": slots_json(entry.state.slots),
    }
