# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what Vault holds of a layout, and carries out a plan. Values are made here and leave for nowhere but Vault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._secrets_file import generate
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_plan import (
    HOST_PREFIX,
    SETTINGS,
    Keys,
    State,
    Step,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault

Given = Mapping[str, Mapping[str, str]]


def read(vault: Vault, layout: Mapping[str, Any]) -> State:
    """What Vault holds; of secrets the names alone."""
    mounts = {path.rstrip("/"): str(entry["type"]) for path, entry in (vault.get("sys/mounts") or {}).items()}
    approle, pki = f"auth/{paths.APPROLE_MOUNT}/role", f"{paths.PKI_MOUNT}/roles"
    settings = {path: vault.get(path) for path in SETTINGS if path.partition("/")[0] in mounts}
    static = vault.list(f"{paths.DATABASE_MOUNT}/static-roles") if paths.DATABASE_MOUNT in mounts else []
    wanted = [*layout["secrets"], *layout["removed"]["secrets"]] if paths.KV_MOUNT in mounts else []
    found_policies = _entries(vault, "sys/policies/acl", True)
    return State(
        mounts=mounts,
        settings={path: found for path, found in settings.items() if found is not None},
        secrets={path: read_keys(vault, path) for path in wanted},
        policies={name: str(entry["policy"]) for name, entry in found_policies.items()},
        approles=_entries(vault, approle, True),
        certificate_roles=_entries(vault, pki, paths.PKI_MOUNT in mounts),
        static_roles=frozenset(static),
    )


def _entries(vault: Vault, path: str, mounted: bool) -> dict[str, Mapping[str, Any]]:
    """The entries of hosts; others are nobody's business here."""
    names = [name for name in vault.list(path) if name.startswith(HOST_PREFIX)] if mounted else []
    found = {name: vault.get(f"{path}/{name}") for name in names}
    return {name: entry for name, entry in found.items() if entry is not None}


def read_keys(vault: Vault, path: str) -> Keys:
    """Names and version of a path, without its values."""
    answer = vault.get_with_deleted(f"{paths.KV_MOUNT}/subkeys/{path}")
    if answer is None:
        return Keys()
    version = int(answer["metadata"]["version"])
    return Keys(version, frozenset(answer.get("subkeys") or {}), deleted=answer.get("subkeys") is None)


def carry_out(vault: Vault, steps: Iterable[Step], given: Given, done: list[str]) -> None:
    """Run the steps in order; `done` grows with each."""
    for step in steps:
        if step.write is not None:
            write_keys(vault, step.path, _values(step, given), step.keys)
        elif step.method == "DELETE":
            vault.delete(step.path)
        else:
            vault.post(step.path, step.body)
        done.append(step.description)


def _values(step: Step, given: Given) -> dict[str, str]:
    known = given.get(step.path, {})
    return {name: generate(length) if length else known[name] for name, length in (step.write or {}).items()}


def write_keys(vault: Vault, path: str, values: Mapping[str, str], seen: Keys) -> None:
    """Add values to a path, unless another writer was there since it was looked at."""
    body = {"data": dict(values), "options": {"cas": seen.version}}
    try:
        if seen.version and not seen.deleted:
            vault.patch(f"{paths.KV_MOUNT}/data/{path}", body)
        else:
            vault.post(f"{paths.KV_MOUNT}/data/{path}", body)
    except Refusal as error:
        if any("check-and-set" in text for text in error.errors):
            raise VaultError(
                f"{path} was written by somebody else meanwhile; nothing of it was changed. Remedy: run it again."
            ) from None
        raise


def read_values(vault: Vault, path: str) -> dict[str, Any]:
    """The values of a path; empty where there is nothing."""
    return dict((vault.get(f"{paths.KV_MOUNT}/data/{path}") or {}).get("data") or {})


def changed(vault: Vault, state: State, given: Given) -> dict[str, dict[str, str]]:
    """Of the values given, those that are others than what is there."""
    found: dict[str, dict[str, str]] = {}
    for path, values in given.items():
        known = read_values(vault, path) if state.secrets.get(path, Keys()).version else {}
        differing = {name: value for name, value in values.items() if known.get(name) != value}
        if differing:
            found[path] = differing
    return found


def read_scopes(
    vault: Vault, reads: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Scope to name to value, and the names that have none; each path is asked once."""
    places = {place["path"] for names in reads.values() for place in names.values()}
    values = {path: read_values(vault, path) for path in sorted(places)}
    found: dict[str, dict[str, str]] = {scope: {} for scope in reads}
    missing = []
    for scope, names in reads.items():
        for name, place in names.items():
            value = values[place["path"]].get(place["key"])
            if value:
                found[scope][name] = str(value)
            else:
                missing.append(f"{scope}.{name}")
    return found, sorted(missing)
