# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The port to Vault for modules that run on its host: one login of the provisioner, plain requests, clear refusals."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import (
    Answer,
    Refusal,
    Unreachable,
    VaultError,
    refusal,
    unreachable,
)

# The module tells of a missing library before it uses anything here.
LIBRARY_ERROR = ""
try:
    import hvac  # type: ignore[import-untyped]
    import requests
    from hvac.adapters import RawAdapter  # type: ignore[import-untyped]
except ImportError:
    LIBRARY_ERROR = traceback.format_exc()

# A key-value mount that was made a moment ago refuses for about a second; a collision is over at once; an
# election takes seconds.
SETTLE_SECONDS = 15.0
# A node that is gone is given up earlier than one that works.
CONNECT_SECONDS = 5.0
_READS = ("GET", "LIST")
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Settings:
    """Where Vault is and who asks."""

    address: str
    ca_file: str
    credential: str = paths.PROVISIONER_CREDENTIAL
    timeout_seconds: float = 30.0
    others: tuple[str, ...] = ()  # further nodes of the same cluster, asked where the one before does not serve


class Vault:
    """Requests to Vault; every refusal is a VaultError that says what to do.

    Of several nodes the next one is asked where one does not serve, and from then on.
    """

    def __init__(self, settings: Settings, token: str = "") -> None:
        self.settings = settings
        self._nodes = [settings.address, *settings.others]
        session = requests.Session()
        session.trust_env = False  # no proxy of the host's environment between a module and Vault
        session.verify = settings.ca_file  # hvac takes the session's word before its own argument
        # An empty token, not none: hvac would look for one in the environment and in the home directory.
        self._client: Any = hvac.Client(
            url=settings.address,
            token=token,
            verify=settings.ca_file,
            timeout=(min(CONNECT_SECONDS, settings.timeout_seconds), settings.timeout_seconds),
            allow_redirects=False,  # to a leader that may be gone, with the token
            session=session,
            adapter=RawAdapter,
        )

    def login(self, role_id: str, secret_id: str) -> None:
        body = {"role_id": role_id, "secret_id": secret_id}
        answer = self._request("POST", f"auth/{paths.APPROLE_MOUNT}/login", body)
        self._client.token = answer["auth"]["client_token"]

    def revoke(self) -> None:
        """End the token; when that fails it ends by its own short life."""
        with contextlib.suppress(VaultError):
            self._request("POST", "auth/token/revoke-self", {})
        self._client.token = ""

    def get(self, path: str) -> dict[str, Any] | None:
        """The data at a path, or None where nothing is."""
        try:
            return dict(self._request("GET", path).get("data") or {})
        except Refusal as error:
            if error.status == 404:
                return None
            raise

    def get_with_deleted(self, path: str) -> dict[str, Any] | None:
        """The data at a key-value path; what was deleted answers 404, and still with its version."""
        try:
            return dict(self._request("GET", path)["data"])
        except Refusal as error:
            if error.status == 404:
                return dict(error.data) if error.data else None
            raise

    def list(self, path: str) -> list[str]:
        try:
            return list(self._request("LIST", path)["data"]["keys"])
        except Refusal as error:
            if error.status == 404:
                return []
            raise

    def secret_ids(self, role: str) -> dict[str, dict[str, Any]]:
        """What is known of each secret id of the AppRole at a path, by accessor; of one that ends meanwhile nothing."""
        found = {}
        for accessor in self.list(f"{role}/secret-id/"):
            try:
                found[accessor] = self.post(f"{role}/secret-id-accessor/lookup", {"secret_id_accessor": accessor})
            except Refusal as error:
                if error.status != 404:
                    raise
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._request("POST", path, body).get("data") or {})

    def wrapped(self, path: str, body: Mapping[str, Any], seconds: int) -> dict[str, Any]:
        """A write whose answer is response-wrapped: gives C(token), C(creation_path), C(wrapped_accessor)."""
        answer = self._request("POST", path, body, {"X-Vault-Wrap-TTL": str(seconds)})
        return dict(answer["wrap_info"])

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._request("PATCH", path, body, {"Content-Type": _MERGE}).get("data") or {})

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            answer, address = self._ask_nodes(method, path, body, headers)
            if answer.ok:
                return dict(answer.body)
            if (answer.upgrading or answer.collided or answer.leaderless) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise refusal(answer, method, path, address)

    def _ask_nodes(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> tuple[Answer, str]:
        """The answer of the first node that serves, and which it is; where none does, what one of them said.

        A write that a node may have got is not given to another.
        """
        said: tuple[Answer, str] | None = None
        silence: Unreachable | None = None
        for _turn in range(len(self._nodes)):
            try:
                answer, address = self._ask(method, path, body, headers), self._nodes[0]
                if not answer.out_of_service:
                    return answer, address
                said = said if said and said[0].leaderless else (answer, address)
            except Unreachable as error:
                if error.sent and method not in _READS:
                    raise
                silence = silence or error
            self._nodes = [*self._nodes[1:], self._nodes[0]]
            self._client.url = self._nodes[0]
        if said is None:
            raise silence or VaultError("Vault has no address.")
        return said

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        data = None if body is None else json.dumps(body)
        try:
            answer = self._client.adapter.request(
                method, f"/v1/{path}", raise_exception=False, data=data, headers=dict(headers or {})
            )
        except requests.exceptions.RequestException as error:
            raise unreachable(str(error), self._nodes[0], self.settings.ca_file) from None
        except OSError as error:  # the file of the authority is not there
            raise unreachable(str(error), self._nodes[0], self.settings.ca_file) from None
        return Answer.of(answer.status_code, answer.text)


def parse_credential(text: str, path: str) -> tuple[str, str]:
    """Role id and secret id of an unsealed credential."""
    try:
        content = json.loads(text)
        return str(content["role_id"]), str(content["secret_id"])
    except (ValueError, KeyError, TypeError):
        raise VaultError(
            f"{path} is no credential of Vault: it must hold role_id and secret_id. "
            "Remedy: run the role vault, which makes it anew."
        ) from None


Decrypt = Callable[[str], str]


@contextlib.contextmanager
def logged_in(settings: Settings, decrypt: Decrypt) -> Iterator[Vault]:
    """Vault as the identity whose credential is sealed at C(settings.credential); its token ends with the block."""
    role_id, secret_id = parse_credential(decrypt(settings.credential), settings.credential)
    vault = Vault(settings)
    vault.login(role_id, secret_id)
    try:
        yield vault
    finally:
        vault.revoke()
