# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secret ids of a host: one made and handed out wrapped, the earlier ones destroyed by their accessors."""

from __future__ import annotations

from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_policies import WRAP_SECONDS
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault


def _role(host: str) -> str:
    return f"auth/{paths.APPROLE_MOUNT}/role/{paths.host_role(host)}"


def issue(vault: Vault, host: str, check: bool) -> dict[str, Any]:
    role_id = vault.get(f"{_role(host)}/role-id")
    if role_id is None:
        raise VaultError(
            f"Vault has no AppRole {paths.host_role(host)}. Remedy: run the playbook that lays Vault out; it makes "
            "one for "
            "every host of the inventory."
        )
    path = f"{_role(host)}/secret-id"
    wrapped = {"token": "", "wrapped_accessor": ""} if check else vault.wrapped(path, {}, WRAP_SECONDS)
    return {
        "role_id": str(role_id["role_id"]),
        "wrapping_token": str(wrapped["token"]),
        "wrapping_seconds": WRAP_SECONDS,
        "creation_path": path,
        "accessor": str(wrapped["wrapped_accessor"]),
    }


def retire(vault: Vault, host: str, keep: str, check: bool) -> list[str]:
    """Destroy all but one; before anything is destroyed, that one must be there."""
    accessors = sorted(vault.list(f"{_role(host)}/secret-id"))
    if keep and keep not in accessors:
        raise VaultError(
            f"{host} has no secret id with the accessor {keep}, so none was destroyed. "
            "Remedy: enrol the host again, and retire the earlier ones after that."
        )
    gone = [accessor for accessor in accessors if accessor != keep]
    for accessor in () if check else gone:
        vault.post(f"{_role(host)}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
    return gone
