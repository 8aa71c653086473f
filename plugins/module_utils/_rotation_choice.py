# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which credentials a run of rotate.yml is about: those that were named, or those whose age says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

KINDS = ("clients", "vault", "hosts", "certificates", "redis", "registry", "slots")
# What may be rotated while nobody watches, for nobody outside the platform holds it: these kinds of credentials, and
# the slots' and Redis's, which are told by their names.
DUE = "due"
_DUE_KINDS = ("vault", "hosts", "certificates")


class UnknownKind(ValueError):
    """Names no credentials; says what may be named."""


def choose(
    asked: str,
    spec: Mapping[str, Any],
    ages: Iterable[Mapping[str, Any]] = (),
    groups: Mapping[str, Any] | None = None,
) -> list[str]:
    """The kinds of KINDS in their order. `asked` is a list with commas; C(due) stands for what `ages` calls due."""
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
    if "redis" in words and groups is not None and not groups.get("redis"):
        raise UnknownKind("credentials names redis, and the inventory has no host in the group redis")
    if DUE in words:
        chosen |= set(_due(spec, [entry for entry in ages if entry["due"]]))
    return [kind for kind in KINDS if kind in chosen]


def _due(spec: Mapping[str, Any], ages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    slots = {paths.app_cache(str(spec["name"]), slot) for slot in ("blue", "green")} if spec["cache"] else set()
    if spec["database"] is not None:
        slots |= {f"database {paths.database_role(spec, role)}" for role in paths.DATABASE_ROLES}
    for entry in ages:
        if str(entry["name"]) in slots:
            yield "slots"
        elif entry["name"] == paths.platform("redis"):
            yield "redis"
        elif entry.get("kind") in _DUE_KINDS:
            yield str(entry["kind"])
