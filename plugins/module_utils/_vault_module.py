# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that run on the Vault host have in common."""

from __future__ import annotations

import os
from typing import Any, Callable, Protocol, TypeVar

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._sealed import SealError, unseal
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import (
    LIBRARY_ERROR,
    Decrypt,
    Settings,
    Vault,
    logged_in,
)

T = TypeVar("T")

CONNECTION_OPTIONS: dict[str, Any] = {
    "vault_address": {"type": "list", "elements": "str", "required": True},
    "ca_file": {"type": "path", "default": "/etc/signalbox/tls/ca.crt"},
    "credential": {"type": "path", "default": paths.PROVISIONER_CREDENTIAL},
    "timeout_seconds": {"type": "float", "default": 30.0},
}


class Module(Protocol):
    """The part of AnsibleModule used here."""

    params: dict[str, Any]
    check_mode: bool

    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]: ...


def unsealer(module: Module) -> Decrypt:
    """Reads a credential that systemd-creds sealed to this host; its name is the file's."""

    def decrypt(path: str) -> str:
        try:
            return unseal(module, path).decode()
        except SealError as error:
            raise VaultError(
                f"{error}. Remedy: run the role vault on the Vault host, which makes the credential; it opens on that "
                "host only."
            ) from None

    return decrypt


def settings_of(module: Module) -> Settings:
    params = module.params
    first, *others = params["vault_address"] or [""]
    return Settings(first, params["ca_file"], params["credential"], params["timeout_seconds"], tuple(others))


def as_provisioner(module: Module, work: Callable[[Vault], T]) -> T:
    """One login, the work, and the token's end."""
    with logged_in(settings_of(module), unsealer(module)) as vault:
        return work(vault)


def not_there_yet(module: Module) -> bool:
    """A first run in check mode: there is no Vault to ask, and the role that would make it changed nothing."""
    return module.check_mode and bool(LIBRARY_ERROR or not os.path.exists(module.params["credential"]))
