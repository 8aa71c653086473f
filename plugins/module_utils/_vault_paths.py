# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things are in Vault: the one place that names mounts, paths and identities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KV_MOUNT = "signalbox"
DATABASE_MOUNT = "database"
PKI_MOUNT = "pki"
APPROLE_MOUNT = "approle"

DATABASE_CONNECTION = "postgresql"
DATABASE_ROLES = ("owner", "blue", "green")

# The identity that lays everything out; its credential is sealed to the Vault host.
PROVISIONER = "signalbox-provisioner"
PROVISIONER_CREDENTIAL = "/etc/credstore.encrypted/signalbox-vault-provisioner"

# What each Vault node itself uses, with credentials of the same names beside the provisioner's.
SNAPSHOT = "signalbox-vault-snapshot"
CHECK = "signalbox-vault-check"


def credential(identity: str) -> str:
    """Where a Vault node keeps the sealed credential of one of its identities."""
    return f"{PROVISIONER_CREDENTIAL.rpartition('/')[0]}/{identity}"


def app_secrets(app: str) -> str:
    """KV path of the app's own secrets: name -> value."""
    return f"apps/{app}/secrets"


def app_cache(app: str, slot: str) -> str:
    """KV path of the Redis password of one slot, under the key C(password)."""
    return f"apps/{app}/cache/{slot}"


def app_clients(app: str) -> str:
    """KV path of the keys that the app's clients present: current, previous, previous_expires."""
    return f"apps/{app}/clients"


def platform(scope: str) -> str:
    """KV path of a platform service's secrets (C(registry), C(redis)): name -> value."""
    return f"platform/{scope}"


def database_role(spec: Mapping[str, Any], role: str) -> str:
    """Static role of the database engine, named as the login itself."""
    return f"{spec['database']['name']}_{role}"


def host_role(host: str) -> str:
    """AppRole and policy of one host."""
    return f"host-{host}"
