# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Vault node's own identities, its place in the cluster, and its seal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import BootstrapError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_server import Server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_policies import (
    HEALTH_POLICY,
    SNAPSHOT_POLICY,
    WRAP_SECONDS,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Settings, parse_credential

IDENTITIES = {paths.SNAPSHOT: SNAPSHOT_POLICY, paths.CHECK: HEALTH_POLICY}
# They are used by programs of the node itself and from nowhere else.
LOOPBACK = ["127.0.0.1/32"]
_ROLE = f"auth/{paths.APPROLE_MOUNT}/role"
# From this many nodes on, one that is gone for good may be forgotten without losing the majority.
MAJORITY = 3


def login(settings: Settings, host: Host, path: str) -> Server:
    server = Server(settings)
    server.login(*parse_credential(host.unseal(path).decode(), path))
    return server


def missing(settings: Settings, host: Host) -> list[str]:
    """Identities that this node has no working credential of."""
    found = []
    for identity in IDENTITIES:
        path = paths.credential(identity)
        try:
            if not os.path.exists(path):
                raise BootstrapError("it is not there")
            login(settings, host, path).revoke()
        except Refusal as error:
            if error.status not in (400, 403):
                raise
            found.append(identity)
        except BootstrapError:
            found.append(identity)
    return found


def issue(server: Server, node: str, wanted: Sequence[str]) -> tuple[bool, dict[str, dict[str, str]]]:
    """Whether something had to be laid out, and what the node needs to take its identities; an older one ends."""
    changes = [server.lay_out(identity, policy) for identity, policy in IDENTITIES.items()]
    issued = {}
    for identity in wanted:
        _forget(server, identity, node)
        body = {"cidr_list": LOOPBACK, "metadata": json.dumps({"node": node})}
        wrapped = server.wrapped(f"{_ROLE}/{identity}/secret-id", body, WRAP_SECONDS)
        issued[identity] = {"role_id": server.role_id(identity), "token": str(wrapped["token"])}
    return any(changes) or bool(issued), issued


def _forget(server: Server, identity: str, node: str) -> None:
    for accessor, known in server.secret_ids(f"{_ROLE}/{identity}").items():
        if (known.get("metadata") or {}).get("node") == node:
            server.post(f"{_ROLE}/{identity}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})


def take(settings: Settings, host: Host, issued: dict[str, dict[str, str]]) -> None:
    """Unwrap, seal, and prove. An unwrapping that fails means that somebody else did it."""
    for identity, given in issued.items():
        path = paths.credential(identity)
        try:
            secret_id = Server(settings).unwrap(given["token"])["secret_id"]
        except Refusal as error:
            raise BootstrapError(
                f"The secret id of {identity} was opened by somebody else on its way, or took more than "
                f"{WRAP_SECONDS} s ({error}). Look for sys/wrapping/unwrap in the audit log, then run again, which "
                "ends it and issues another."
            ) from None
        host.seal(path, json.dumps({"role_id": given["role_id"], "secret_id": secret_id}).encode())
        login(settings, host, path).revoke()


def autopilot(server: Server, nodes: int) -> bool:
    """Nodes that are gone for a day are forgotten, where a majority stays without them."""
    path = "sys/storage/raft/autopilot/configuration"
    wanted: dict[str, Any] = {"cleanup_dead_servers": nodes >= MAJORITY}
    if nodes >= MAJORITY:
        wanted.update(dead_server_last_contact_threshold="24h0m0s", min_quorum=nodes)
    present = server.get(path) or {}
    if all(present.get(name) == value for name, value in wanted.items()):
        return False
    server.post(path, wanted)
    return True


def await_voter(server: Server, node: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while node not in server.voters():
        if time.monotonic() > deadline:
            raise BootstrapError(
                f"{node} did not become a voter of the cluster within {seconds:.0f} s (voters: "
                f"{', '.join(server.voters())}). Its journal names the reason: a seal key of another cluster, or a "
                "cluster port that is closed."
            )
        time.sleep(1)


def leader_address(settings: Settings) -> str:
    """Where the active node is; empty where none is."""
    try:
        return str(Server(settings).raw("GET", "sys/leader").get("leader_address") or "")
    except VaultError:
        return ""
