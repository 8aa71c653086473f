# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bootstrap's port to the server: initialising, shares, root tokens that live for a moment, AppRoles."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._unix_http import UnixHttp, UnixHttpError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Answer, Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_bootstrap import (
    BootstrapError,
    Shares,
    approle,
    decode_root,
    differs,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault

# Where shares are exchanged.
_SHARES = {"openbao": "sys/rotate/root", "hashicorp": "sys/rekey"}
_HEALTH = "sys/health?standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200&drsecondarycode=200"


class Server(Vault):
    """Vault as the bootstrap needs it."""

    def raw(self, method: str, path: str) -> dict[str, Any]:
        """A whole answer, for paths that give no C(data)."""
        return self._request(method, path)

    def seal_status(self) -> dict[str, Any]:
        """C(initialized), C(sealed), C(type), C(t), C(progress), C(version); answered in every state."""
        return self._request("GET", "sys/seal-status")

    def health(self) -> dict[str, Any]:
        return self._request("GET", _HEALTH)

    def wait(self, seconds: float, active: bool = False) -> bool:
        """Whether it got unsealed in time and, if asked for, leads."""
        deadline = time.monotonic() + seconds
        while True:
            health = self.health()
            if health.get("initialized") and not health.get("sealed") and not (active and health.get("standby")):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)

    def initialise(self, automatic: bool, shares: int, threshold: int, keys: Sequence[str]) -> dict[str, Any]:
        """The answer of sys/init. A share for an automatic seal recovers, one for shamir unseals."""
        kind = "recovery" if automatic else "secret"
        body: dict[str, Any] = {f"{kind}_shares": shares, f"{kind}_threshold": threshold}
        if keys:
            body["recovery_pgp_keys" if automatic else "pgp_keys"] = list(keys)
        return self._request("POST", "sys/init", body)

    def unseal(self, shares: Sequence[str]) -> dict[str, Any]:
        """Shares of an attempt that failed before would spoil this one: they are forgotten first."""
        status = self._request("POST", "sys/unseal", {"reset": True})
        for share in shares:
            status = self._request("POST", "sys/unseal", {"key": share})
            if not status.get("sealed"):
                break
        return status

    def rotate_shares(self, present: str, keys: Sequence[str], threshold: int, kind: str) -> Shares:
        """Unseal shares for their holders' eyes in place of the one share that is known here."""
        start = {"secret_shares": len(keys), "secret_threshold": threshold, "pgp_keys": list(keys)}
        base = _SHARES[kind]
        # HashiCorp's answers at once, OpenBao's below C(data).
        began = self._request("POST", f"{base}/init", start)
        nonce = (began.get("data") or began)["nonce"]
        ended = self._request("POST", f"{base}/update", {"key": present, "nonce": nonce})
        answer = ended.get("data") or ended
        if not answer.get("complete"):
            raise BootstrapError("The unseal shares could not be exchanged for the operators' own.")
        return Shares("unseal", threshold, answer["keys_base64"])

    def enable_approle(self) -> None:
        mounts = self._request("GET", "sys/auth")
        if f"{paths.APPROLE_MOUNT}/" not in (mounts.get("data") or mounts):
            self.post(f"sys/auth/{paths.APPROLE_MOUNT}", {"type": "approle"})

    def enable_audit(self, devices: Sequence[Mapping[str, Any]]) -> None:
        """For HashiCorp Vault; OpenBao takes audit devices from its configuration alone."""
        present = self._request("GET", "sys/audit").get("data") or {}
        for device in devices:
            if f"{device['name']}/" not in present:
                body = {"type": device["type"], "options": device["options"]}
                self.post(f"sys/audit/{device['name']}", body)

    def lay_out(self, identity: str, policy: str) -> bool:
        """An AppRole with a policy of the same name; whether something had to be changed."""
        changed = False
        present = self.get(f"sys/policies/acl/{identity}")
        if present is None or str(present.get("policy", "")).strip() != policy.strip():
            self.post(f"sys/policies/acl/{identity}", {"policy": policy})
            changed = True
        role = f"auth/{paths.APPROLE_MOUNT}/role/{identity}"
        wanted = approle(identity)
        if differs(wanted, self.get(role)):
            self.post(role, wanted)
            changed = True
        return changed

    def role_id(self, identity: str) -> str:
        answer = self.get(f"auth/{paths.APPROLE_MOUNT}/role/{identity}/role-id")
        return str((answer or {})["role_id"])

    def secret_id(self, identity: str, networks: Sequence[str]) -> str:
        body = {"cidr_list": list(networks)} if networks else {}
        return str(self.post(f"auth/{paths.APPROLE_MOUNT}/role/{identity}/secret-id", body)["secret_id"])

    def unwrap(self, token: str) -> dict[str, Any]:
        """What a response-wrapping token holds; it works once."""
        return type(self)(self.settings, token).post("sys/wrapping/unwrap", {})

    def is_dead(self, token: str) -> bool:
        """Whether a token is refused."""
        try:
            type(self)(self.settings, token).post("auth/token/lookup-self", {})
        except Refusal as error:
            return error.status == 403
        return False

    def restore(self, snapshot: BinaryIO) -> None:
        answer = self._client.adapter.request(
            "POST", "/v1/sys/storage/raft/snapshot-force", raise_exception=False, data=snapshot
        )
        said = Answer.of(answer.status_code, answer.text)
        if not said.ok:
            raise BootstrapError(f"The snapshot was refused ({said.status}): {'; '.join(said.errors) or 'no reason'}.")

    def voters(self) -> list[str]:
        servers = (self.get("sys/storage/raft/autopilot/state") or {}).get("servers") or {}
        return sorted(name for name, server in servers.items() if server.get("status") in ("leader", "voter"))


class Quorum:
    """A root token by a quorum of shares, over the socket that only root of the host may open."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def root_token(self, shares: Sequence[str]) -> str:
        self._ask("DELETE", "attempt")
        attempt = self._ask("POST", "attempt", {})
        answer: dict[str, Any] = {}
        for share in shares:
            answer = self._ask("POST", "update", {"key": share.strip(), "nonce": attempt["nonce"]})
            if answer.get("complete"):
                return decode_root(str(answer["encoded_token"]), str(attempt["otp"]))
        self._ask("DELETE", "attempt")
        raise BootstrapError(
            f"vault_recovery_shares: {len(shares)} shares are not enough, {answer.get('required', 'more')} are needed."
        )

    def _ask(self, method: str, verb: str, body: Any | None = None) -> dict[str, Any]:
        try:
            status, answer = UnixHttp(self._socket, 30).request(method, f"/v1/sys/generate-root/{verb}", body)
        except UnixHttpError as error:
            if method == "DELETE":  # its answer has no body
                return {}
            raise VaultError(f"{error}. Remedy: start the server, whose own socket this is.") from None
        if status >= 300:
            errors = "; ".join(str(text) for text in (answer or {}).get("errors") or [])
            raise BootstrapError(f"vault_recovery_shares: the server refused them ({status}): {errors}")
        return dict(answer)
