"""A test server as the role vault leaves it: the provisioner's identity is there, nothing is laid out yet.

with running(tmp_path) as server, provisioner(server) as vault:
    catalogue.read(vault, layout)
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from vault_server import VaultServer

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_policies import PROVISIONER_POLICY
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Settings, Vault, logged_in


def credential(server: VaultServer) -> str:
    """A credential of the provisioner, which is made when it is not there."""
    root = server.client()
    if f"{paths.APPROLE_MOUNT}/" not in root.sys.list_auth_methods()["data"]:
        root.sys.enable_auth_method("approle", path=paths.APPROLE_MOUNT)
    root.sys.create_or_update_policy(paths.PROVISIONER, PROVISIONER_POLICY)
    root.auth.approle.create_or_update_approle(
        paths.PROVISIONER, token_policies=[paths.PROVISIONER], token_no_default_policy=True, token_ttl="10m"
    )
    role_id = root.auth.approle.read_role_id(paths.PROVISIONER)["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id(paths.PROVISIONER)["data"]["secret_id"]
    return json.dumps({"role_id": role_id, "secret_id": secret_id})


@contextmanager
def provisioner(server: VaultServer) -> Iterator[Vault]:
    sealed = credential(server)
    with logged_in(Settings(server.address, server.ca_file), lambda _path: sealed) as vault:
        yield vault


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._source = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._source, 0), **options)


class Identity:
    """Whoever asks from one loopback address, with or without a token."""

    def __init__(self, server: VaultServer, address: str = "127.0.0.1", token: str = "") -> None:
        assert ipaddress.ip_address(address).is_loopback
        self._server, self.token = server, token
        self._session = requests.Session()
        self._session.mount("https://", _From(address))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["X-Vault-Token"] = self.token
        url = f"{self._server.address}/v1/{path}"
        return self._session.request(method, url, json=body, headers=headers, verify=self._server.ca_file, timeout=30)

    def login(self, role_id: str, secret_id: str) -> requests.Response:
        answer = self.ask("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})
        if answer.ok:
            self.token = answer.json()["auth"]["client_token"]
        return answer
