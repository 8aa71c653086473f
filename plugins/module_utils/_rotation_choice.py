# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which credentials a run of rotate.yml is about: those that were named, or those whose age says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

KINDS = ("clients", "vault", "hosts", "registry", "slots")
# What may be rotated while nobody watches: nobody outside the platform holds the slots' credentials.
DUE = "due"


class UnknownKind(ValueError):
    """Names no credentials; says what may be named."""


def choose(
    asked: str,
    spec: Mapping[str, Any],
    ages: Iterable[Mapping[str, Any]] = (),
    groups: Mapping[str, Any] | None = None,
) -> list[str]:
    """The kinds of KINDS in their order. `asked` is a list with commas; with C(due), slots as far as `ages` says so."""
    words = [word.strip() for word in str(asked).split(",") if word.strip()]
    unknown = [word for word in words if word not in (*KINDS, DUE)]
    if unknown or not words:
        found = ", ".join(unknown) or "nothing"
        raise UnknownKind(f"credentials names {found}; it is one or more of {', '.join(KINDS)}, or {DUE}")
    if "clients" in words and not spec.get("clients"):
        raise UnknownKind(f"credentials names clients, and signalbox_apps.{spec['name']} has no clients")
    if "registry" in words and groups is not None and not groups.get("registry"):
        raise UnknownKind("credentials names registry, and the inventory has no host in the group registry")
    chosen = {word for word in words if word != DUE}
    if DUE in words and _slots_are_due(spec, ages):
        chosen.add("slots")
    return [kind for kind in KINDS if kind in chosen]


def _slots_are_due(spec: Mapping[str, Any], ages: Iterable[Mapping[str, Any]]) -> bool:
    slots = {paths.app_cache(str(spec["name"]), slot) for slot in ("blue", "green")} if spec["cache"] else set()
    if spec["database"] is not None:
        slots |= {f"database {paths.database_role(spec, role)}" for role in paths.DATABASE_ROLES}
    return any(entry["due"] and str(entry["name"]) in slots for entry in ages)
