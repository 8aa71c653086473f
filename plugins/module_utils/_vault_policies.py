# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may do what in Vault: the policies of the platform's own identities, and of a host from what it reads.

No policy here is ever joined by C(default): each names what its identity may do with its own token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

# How long a wrapped secret id may wait to be unwrapped.
WRAP_SECONDS = 120


@dataclass(frozen=True)
class Grant:
    """One path and what may be done there; with `wrapped`, only in a response-wrapped answer."""

    path: str
    capabilities: tuple[str, ...]
    wrapped: bool = False


def render(grants: Iterable[Grant]) -> str:
    """Policy text, always the same for the same grants, whatever their order."""
    merged: dict[tuple[str, bool], set[str]] = {}
    for grant in grants:
        merged.setdefault((grant.path, grant.wrapped), set()).update(grant.capabilities)
    return "\n".join(_block(path, merged[path, wrapped], wrapped) for path, wrapped in sorted(merged))


def _block(path: str, capabilities: set[str], wrapped: bool) -> str:
    lines = [
        f'path "{path}" {{',
        f"  capabilities = [{', '.join(f'{chr(34)}{c}{chr(34)}' for c in sorted(capabilities))}]",
    ]
    if wrapped:
        lines += ['  min_wrapping_ttl = "1s"', f'  max_wrapping_ttl = "{WRAP_SECONDS}s"']
    return "\n".join([*lines, "}", ""])


# What any identity may do with its own token.
SELF = (
    Grant("auth/token/lookup-self", ("read",)),
    Grant("auth/token/renew-self", ("update",)),
    Grant("auth/token/revoke-self", ("update",)),
)

_ALL = ("create", "read", "update", "delete", "list")
_APPROLE = f"auth/{paths.APPROLE_MOUNT}/role"

# Lays everything out. It writes policies and AppRoles, so it could give itself anything: it is guarded by where its
# credential is (sealed to the Vault host, for root), by its short token and by the audit log, not by this text.
PROVISIONER = (
    *SELF,
    *(
        grant
        for mount in (paths.KV_MOUNT, paths.DATABASE_MOUNT, paths.PKI_MOUNT)
        for grant in (
            Grant(f"sys/mounts/{mount}", ("create", "read", "update")),
            Grant(f"sys/mounts/{mount}/tune", ("read", "update")),
        )
    ),
    Grant("sys/mounts", ("read",)),
    Grant("sys/auth", ("read",)),
    Grant("sys/policies/acl", ("list",)),
    Grant("sys/policies/acl/*", _ALL),
    Grant(_APPROLE, ("list",)),
    Grant(f"{_APPROLE}/+", _ALL),
    # Secret ids of hosts come wrapped or not at all; only the provisioner renews its own in clear, on its own host.
    Grant(f"{_APPROLE}/+/secret-id", ("create", "update"), wrapped=True),
    Grant(f"{_APPROLE}/+/secret-id/", ("list",)),
    Grant(f"{_APPROLE}/{paths.PROVISIONER}/secret-id", ("create", "update", "list")),
    Grant(f"{_APPROLE}/+/role-id", ("read",)),
    Grant(f"{_APPROLE}/+/secret-id-accessor/lookup", ("create", "update")),
    Grant(f"{_APPROLE}/+/secret-id-accessor/destroy", ("create", "update")),
    Grant(f"auth/{paths.APPROLE_MOUNT}/tidy/secret-id", ("create", "update")),
    Grant(f"{paths.KV_MOUNT}/config", ("create", "read", "update")),
    Grant(f"{paths.KV_MOUNT}/data/*", ("create", "read", "update", "patch", "delete")),
    Grant(f"{paths.KV_MOUNT}/subkeys/*", ("read",)),
    Grant(f"{paths.KV_MOUNT}/metadata/*", ("create", "read", "update", "delete", "list")),
    Grant(f"{paths.KV_MOUNT}/destroy/*", ("create", "update")),
    # Never static-creds: the provisioner makes passwords change, and does not read them.
    Grant(f"{paths.DATABASE_MOUNT}/config/{paths.DATABASE_CONNECTION}", ("create", "read", "update")),
    Grant(f"{paths.DATABASE_MOUNT}/rotate-root/{paths.DATABASE_CONNECTION}", ("create", "update")),
    Grant(f"{paths.DATABASE_MOUNT}/reset/{paths.DATABASE_CONNECTION}", ("create", "update")),
    Grant(f"{paths.DATABASE_MOUNT}/static-roles", ("list",)),
    Grant(f"{paths.DATABASE_MOUNT}/static-roles/*", _ALL),
    Grant(f"{paths.DATABASE_MOUNT}/rotate-role/*", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/intermediate/generate/internal", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/intermediate/set-signed", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/keys", ("list",)),
    Grant(f"{paths.PKI_MOUNT}/key/*", ("read", "delete")),
    Grant(f"{paths.PKI_MOUNT}/issuers", ("list",)),
    Grant(f"{paths.PKI_MOUNT}/issuer/*", ("read", "update")),
    Grant(f"{paths.PKI_MOUNT}/config/*", ("create", "read", "update")),
    Grant(f"{paths.PKI_MOUNT}/roles", ("list",)),
    Grant(f"{paths.PKI_MOUNT}/roles/*", _ALL),
    Grant(f"{paths.PKI_MOUNT}/sign/*", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/revoke", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/tidy", ("create", "update")),
    Grant(f"{paths.PKI_MOUNT}/cert/*", ("read",)),
    # The server's own care: raft, the key ring, sealing on purpose, cutting off every host's tokens, audit excerpts.
    Grant("sys/storage/raft/configuration", ("read",)),
    Grant("sys/storage/raft/remove-peer", ("create", "update")),
    Grant("sys/storage/raft/autopilot/configuration", ("create", "read", "update")),
    Grant("sys/storage/raft/autopilot/state", ("read",)),
    Grant("sys/key-status", ("read",)),
    Grant("sys/rotate", ("update", "sudo")),
    Grant("sys/rotate/keyring", ("update", "sudo")),
    Grant("sys/rotate/config", ("read", "update", "sudo")),
    Grant("sys/seal", ("update", "sudo")),
    Grant("sys/audit", ("read", "sudo")),
    Grant("sys/audit-hash/*", ("create", "update")),
    Grant("sys/leases/revoke-prefix/auth/approle/login", ("create", "update", "sudo")),
)
PROVISIONER_POLICY = render(PROVISIONER)

# Takes snapshots of the raft storage and can do nothing else.
SNAPSHOT_POLICY = render((*SELF, Grant("sys/storage/raft/snapshot", ("read",))))

# Proves that an authenticated, audited request is answered: a server whose audit devices are all full looks healthy.
HEALTH = (Grant("sys/storage/raft/autopilot/state", ("read",)), Grant("sys/metrics", ("read",)))
HEALTH_POLICY = render((*SELF, *HEALTH))


def kv_read(path: str) -> Grant:
    return Grant(f"{paths.KV_MOUNT}/data/{path}", ("read",))


def source_grant(source: Mapping[str, str]) -> Grant:
    """The grant that one of a host's secret sources needs."""
    if source["kind"] == "database":
        return Grant(f"{paths.DATABASE_MOUNT}/static-creds/{source['role']}", ("read",))
    return kv_read(source["path"])


def certificate_grant(host: str) -> Grant:
    """A host signs certificates of its own names."""
    return Grant(f"{paths.PKI_MOUNT}/sign/{paths.host_role(host)}", ("create", "update"))


def host_policy(grants: Iterable[Grant]) -> str:
    """Policy of a host: its own token, and exactly what is granted."""
    return render((*SELF, *grants))
