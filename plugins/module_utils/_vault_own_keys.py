# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys of Vault's own: the key ring of its storage, and the provisioner's secret id."""

from __future__ import annotations

from typing import Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault

_ROLE = f"auth/{paths.APPROLE_MOUNT}/role/{paths.PROVISIONER}"


def rotate_ring(vault: Vault) -> int:
    """What is written from now on is encrypted with a new key; returns its term. Nothing is unreadable by that."""
    vault.post("sys/rotate", {})
    return int((vault.get("sys/key-status") or {})["term"])


def renew_provisioner(vault: Vault, prove: Callable[[str, str], None], keep: Callable[[dict[str, str]], None]) -> int:
    """A new secret id, proven by a login and kept before every earlier one is destroyed; returns how many were.

    A run that is killed leaves one that works and at most one too many, which the next run destroys.
    """
    earlier = vault.secret_ids(_ROLE)
    # It may be used from where the earlier ones may.
    networks = sorted({network for known in earlier.values() for network in known.get("cidr_list") or ()})
    made = vault.post(f"{_ROLE}/secret-id", {"cidr_list": networks})
    role_id = str((vault.get(f"{_ROLE}/role-id") or {})["role_id"])
    prove(role_id, str(made["secret_id"]))
    keep({"role_id": role_id, "secret_id": str(made["secret_id"])})
    for accessor in earlier:
        vault.post(f"{_ROLE}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
    return len(earlier)
