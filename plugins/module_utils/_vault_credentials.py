# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every credential that Vault knows of, and since when it is what it is. No value is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_files import load_certificates
from ansible_collections.signalbox.platform.plugins.module_utils._vault_ages import Credential
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault


def credentials(vault: Vault, layout: Mapping[str, Any]) -> Iterator[Credential]:
    """Logins and paths of the layout, identities, and what Vault itself works with."""
    for role in layout["static_roles"]:
        entry = vault.get(f"{paths.DATABASE_MOUNT}/static-roles/{role}") or {}
        yield Credential(f"database {role}", "database", str(entry.get("last_vault_rotation") or ""))
    for path in sorted(set(layout["secrets"]) - {paths.platform("backup")}):  # for the life of its repository
        entry = vault.get(f"{paths.KV_MOUNT}/metadata/{path}") or {}
        yield Credential(path, _kind_of(path), str(entry.get("updated_time") or ""))
    for host in layout["hosts"]:
        yield Credential(f"identity {host}", "hosts", _secret_id_since(vault, paths.host_role(host)))
    yield Credential("identity of the provisioner", "vault", _secret_id_since(vault, paths.PROVISIONER))
    ring = vault.get("sys/key-status") or {}
    yield Credential("key ring of Vault", "vault", str(ring.get("install_time") or ""))
    yield _authority(vault)


def of_hosts(certificates: Iterable[Mapping[str, Any]]) -> Iterator[Credential]:
    """Certificates as hosts tell of them; a host that said nothing has its name alone."""
    for one in certificates:
        kind = "given_certificates" if one.get("given") else "certificates"
        since, until = str(one.get("not_before") or ""), str(one.get("not_after") or "")
        yield Credential(f"certificate {one['name']}", kind, since, until)


def _kind_of(path: str) -> str:
    """apps/NAME/cache/SLOT, apps/NAME/secrets, apps/NAME/clients or platform/NAME."""
    parts = path.split("/")
    return parts[0] if parts[0] == "platform" else parts[2]


def _secret_id_since(vault: Vault, role: str) -> str:
    """When the newest secret id was made; of several, the others are about to go."""
    known = vault.secret_ids(f"auth/{paths.APPROLE_MOUNT}/role/{role}")
    return max((str(one.get("creation_time") or "") for one in known.values()), default="")


def _authority(vault: Vault) -> Credential:
    name = "certificate of Vault's authority"
    default = (vault.get(f"{paths.PKI_MOUNT}/config/issuers") or {}).get("default")
    issuer = vault.get(f"{paths.PKI_MOUNT}/issuer/{default}") if default else None
    if not issuer:
        return Credential(name, "authority", "")
    certificate = load_certificates(str(issuer["certificate"]).encode(), name)[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Credential(name, "authority", begin.isoformat(), end.isoformat())
