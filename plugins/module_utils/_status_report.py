# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings together what state host, edges and app hosts say of each app, for status tables and machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]
SLOTS = ("blue", "green")
LAST_RELEASES = 5


def answered(result: Any) -> Json | None:
    """A registered result, or null where the host was not reached or refused."""
    if not isinstance(result, Mapping) or result.get("unreachable") or result.get("failed"):
        return None
    return result


def report(names: Iterable[str], releases: Json, edges: Json, hosts: Json) -> list[dict[str, Any]]:
    """One entry per app.

    `releases` is C(apps) of module C(release_info); `edges` and `hosts` map host names to the results of
    C(traffic_info) and C(slot_info), null for a host that did not answer.
    """
    known = {name for name, found in releases.items() if any(found.get(key) for key in ("ledger", "lease", "error"))}
    return [_app(name, releases.get(name) or {}, edges, hosts) for name in sorted({*names, *known})]


def _app(name: str, known: Json, edges: Json, hosts: Json) -> dict[str, Any]:
    state = known.get("state") or {}
    live = state.get("live")
    entry = (state.get("slots") or {}).get(live) or {}
    release = entry.get("release") or {}
    said = {edge: _of_edge(result, name) for edge, result in edges.items()}
    answered = [found for found in said.values() if found]
    traffic = answered[0].get("state") if answered else None
    counters = [slot for found in answered for slot in ((found.get("counters") or {}).get("slots") or {}).values()]
    live_counters = [((found.get("counters") or {}).get("slots") or {}).get(live) or {} for found in answered]
    return {
        "app": name,
        "live": live,
        "idle": known.get("idle"),
        "version": release.get("version"),
        "digest": release.get("digest"),
        "revision": release.get("revision"),
        "since": entry.get("since"),
        "mode": (traffic or {}).get("mode"),
        "weights": (traffic or {}).get("weights"),
        "in_flight": sum(slot.get("in_flight", 0) for slot in counters) if answered else None,
        "streams": sum(slot.get("streams_in_flight", 0) for slot in counters) if answered else None,
        "error_rate": _error_rate(live_counters),
        "hosts": {host: _slots(result, name) for host, result in hosts.items()},
        "last_releases": list(reversed(known.get("ledger") or []))[:LAST_RELEASES],
        "good_releases": [item.get("version") for item in known.get("good") or []],
        "lock": known.get("lease"),
        "interrupted": known.get("interrupted"),
        "problems": _problems(live, known, said, hosts),
    }


def _of_edge(result: Json | None, name: str) -> Json | None:
    found: Json | None = ((result or {}).get("apps") or {}).get(name)
    return found


def _error_rate(counters: list[Json]) -> float | None:
    """Share of failed requests since counting began, over all edges."""
    total = sum(sum((slot.get("requests") or {}).values()) for slot in counters)
    return sum(slot.get("errors", 0) for slot in counters) / total if total else None


def _slots(result: Json | None, name: str) -> dict[str, Any]:
    found = ((result or {}).get("slots") or {}).get(name) or {}
    return {slot: _slot(found.get(slot)) for slot in SLOTS}


def _slot(container: Json | None) -> dict[str, Any] | None:
    if container is None:
        return None
    return {"state": container.get("status"), "version": container.get("version"), "health": None}


def _problems(live: str | None, known: Json, edges: Mapping[str, Json | None], hosts: Json) -> list[str]:
    problems = [str(known["error"])] if known.get("error") else []
    for edge, found in edges.items():
        weights = ((found or {}).get("state") or {}).get("weights") or {}
        if found is None:
            problems.append(f"{edge} does not answer or does not know the app: run site.yml")
        elif live and weights.get(live) != 100:
            problems.append(f"{edge} sends {weights} although {live} is live: the next deploy or rollback mends it")
        elif found.get("in_step") is False:
            problems.append(f"{edge}: its state file differs from what it serves: the next deploy or rollback mends it")
    for host, result in hosts.items():
        if result is None:
            problems.append(f"{host} does not answer")
        elif result.get("error"):
            problems.append(f"{host}: {result['error']}")
    if (known.get("interrupted") or {}).get("kind") == "restore":
        problems.append("a restore was interrupted, and the app may be closed: restore.yml -e undo=true, or once more")
    elif known.get("interrupted"):
        problems.append("a release was interrupted: the next deploy or rollback finishes or reverts it")
    return problems
