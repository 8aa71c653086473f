# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bootstrap from beginning to end. Its root token is a local variable, revoked before anything is kept."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_bootstrap as rules
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import (
    BootstrapError,
    Seen,
    Shares,
    Verdict,
    Wanted,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_host import Host, now
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap_server import Quorum, Server
from ansible_collections.signalbox.platform.plugins.module_utils._vault_policies import PROVISIONER_POLICY
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Settings, parse_credential

# A restarted node opens its automatic seal within a second or two.
_UNSEAL_SECONDS = 15.0


@dataclass(frozen=True)
class Site:
    """Where everything is."""

    address: str
    ca_file: str
    credential: str = paths.PROVISIONER_CREDENTIAL
    storage: str = "/var/lib/openbao"
    socket: str = "/run/signalbox-vault/operator.sock"
    seal_key: str = ""
    peers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    wait_seconds: float = 60.0
    audit_devices: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    kind: str = "openbao"


class Bootstrap:
    """One run over one server."""

    def __init__(self, site: Site, host: Host, wanted: Wanted, shares: Sequence[str] = (), snapshot: str = "") -> None:
        self._site, self._host, self._wanted = site, host, wanted
        self._shares, self._snapshot = shares, snapshot
        self._automatic = wanted.seal in rules.AUTOMATIC

    # Looking

    def look(self) -> Seen:
        common: dict[str, Any] = {"record": self._host.record(), "credential": os.path.exists(self._site.credential)}
        common.update(unit=self._host.unit, record_path=self._host.record_path)
        server = self._server()
        try:
            status = server.seal_status()
            peers = () if status["initialized"] or self._wanted.restore else self._initialised_peers()
            if peers:
                status = self._await_join(server)
            if self._automatic and status["initialized"] and status["sealed"]:
                server.wait(min(self._site.wait_seconds, _UNSEAL_SECONDS))
                status = server.seal_status()
        except VaultError as error:
            return Seen(reachable=False, reason=str(error), **common)
        seen: dict[str, Any] = {
            "initialised": status["initialized"],
            "sealed": status["sealed"],
            "threshold": status.get("t", 0),
        }
        seen["seal"] = self._wanted.seal
        if not seen["initialised"]:
            return Seen(peers_initialised=peers, **seen, **common)
        if not seen["sealed"] and common["credential"]:
            try:
                self._login().revoke()
                seen["login"] = True
            except Refusal as error:
                if error.status not in (400, 403):  # it is not well, which says nothing about the credential
                    return Seen(reachable=False, reason=str(error), **common)
                seen["login_problem"] = str(error)
            except (VaultError, BootstrapError) as error:
                seen["login_problem"] = str(error)
        return Seen(**seen, **common)

    def _await_join(self, server: Server) -> dict[str, Any]:
        """A node that was made anew joins the others by itself, if it has their seal key and they have a leader."""
        deadline = time.monotonic() + self._site.wait_seconds
        while True:
            status = server.seal_status()
            if status["initialized"] or time.monotonic() > deadline:
                return status
            time.sleep(0.5)

    def _initialised_peers(self) -> tuple[str, ...]:
        found = []
        for peer in self._site.peers:
            try:
                if Server(Settings(peer, self._site.ca_file, timeout_seconds=5)).seal_status()["initialized"]:
                    found.append(peer)
            except VaultError:
                continue  # not up yet: it has nothing that could be split
        return tuple(found)

    # Working

    def work(self, verdict: Verdict) -> bool:
        """Whether something was changed."""
        if verdict.action == rules.RESET:
            self._host.empty(self._site.storage)
            self._await_answer(self._server())
        if verdict.action in (rules.INITIALISE, rules.RESET):
            self._initialise()
        elif verdict.action == rules.RECOVER:
            self._recover()
        elif verdict.action == rules.RECORD:
            self._host.write_record(state=rules.FINISHED, finished=now())
        return self._refresh() or verdict.action != rules.NOTHING

    def _initialise(self) -> None:
        self._host.write_record(state=rules.STARTED, started=now())
        restoring = bool(self._snapshot)
        keys = [] if restoring else rules.key_list(self._wanted.pgp_keys)
        server = self._server()
        if self._automatic:
            threshold = rules.threshold(self._wanted) if keys else 0
            answer = server.initialise(True, len(keys), threshold, keys)
        else:
            answer = server.initialise(False, 1, 1, [])
            server.unseal(answer["keys"])
        if not server.wait(self._site.wait_seconds, active=True):
            raise BootstrapError("The server was initialised and did not become active; see its journal.")
        root = self._server(str(answer["root_token"]))
        if restoring:
            self._restore(root)
            return
        root.enable_approle()
        if keys:
            self._hand_out(root, answer, keys)
        self._provision(root, str(answer["root_token"]))

    def _hand_out(self, root: Server, answer: Mapping[str, Any], keys: Sequence[str]) -> None:
        """What only the operators can open is kept before anything else is, so that it cannot be lost."""
        threshold = rules.threshold(self._wanted)
        if self._automatic:
            shares = Shares("recovery", threshold, answer["recovery_keys_base64"])
        else:
            shares = root.rotate_shares(answer["keys"][0], keys, threshold, self._site.kind)
        escrow = None
        if self._site.seal_key:
            escrow = self._host.encrypt(self._wanted.pgp_keys, self._host.unseal(self._site.seal_key))
        cluster = str(root.health().get("cluster_id", ""))
        self._host.keep_handouts(rules.handouts(self._wanted.pgp_keys, shares, cluster, escrow))

    def _provision(self, root: Server, token: str) -> None:
        """The provisioner is proven before the root token goes, and kept after it is gone."""
        root.enable_approle()
        if self._site.audit_devices:
            root.enable_audit(self._site.audit_devices)
        root.lay_out(paths.PROVISIONER, PROVISIONER_POLICY)
        role_id = root.role_id(paths.PROVISIONER)
        secret_id = root.secret_id(paths.PROVISIONER, self._site.networks)
        provisioner = self._server()
        self._await_login(provisioner, role_id, secret_id)
        root.post("auth/token/revoke-self", {})
        if not provisioner.is_dead(token):
            raise BootstrapError("The root token was revoked and is still accepted; the bootstrap stops here.")
        provisioner.revoke()
        self._host.seal(self._site.credential, json.dumps({"role_id": role_id, "secret_id": secret_id}).encode())
        self._login().revoke()
        cluster = str(root.health().get("cluster_id", ""))
        self._host.write_record(state=rules.FINISHED, finished=now(), cluster=cluster)

    def _recover(self) -> None:
        token = Quorum(self._site.socket).root_token(self._shares)
        self._provision(self._server(token), token)

    def _restore(self, root: Server) -> None:
        """The snapshot brings its own keys and tokens; the fresh server's root token ends with its storage."""
        with open(self._snapshot, "rb") as snapshot:
            root.restore(snapshot)
        # The keys of the traffic between nodes are the snapshot's too: a start reads them, and others can join.
        self._host.systemctl("restart")
        server = self._server()
        self._await_answer(server)
        if not self._automatic:
            server.unseal(self._shares)
        if not server.wait(self._site.wait_seconds, active=True):
            why = (
                "its seal key is another one than the snapshot's, or an audit device has the snapshot's name and other "
                "options; see its journal"
                if self._automatic
                else "vault_recovery_shares is no quorum of the snapshot's cluster. Run the role's entry point unseal, "
                "and this one again"
            )
            raise BootstrapError(f"The snapshot was restored and the server stays sealed: {why}.")
        self._recover()

    def _refresh(self) -> bool:
        """A newer release of this collection may know a newer policy."""
        server = self._login()
        try:
            return server.lay_out(paths.PROVISIONER, PROVISIONER_POLICY)
        finally:
            server.revoke()

    def _await_login(self, server: Server, role_id: str, secret_id: str) -> None:
        """A node that follows knows what the leader wrote a moment later, and one that just joined needs longer."""
        deadline = time.monotonic() + self._site.wait_seconds
        while True:
            try:
                server.login(role_id, secret_id)
                return
            except Refusal as error:
                if error.status != 400 or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def _await_answer(self, server: Server) -> None:
        deadline = time.monotonic() + self._site.wait_seconds
        while True:
            try:
                server.seal_status()
                return
            except VaultError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def _login(self) -> Server:
        text = self._host.unseal(self._site.credential).decode()
        server = self._server()
        server.login(*parse_credential(text, self._site.credential))
        return server

    def _server(self, token: str = "") -> Server:
        return Server(Settings(self._site.address, self._site.ca_file), token)
