# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vault's way into PostgreSQL and the logins whose passwords it sets."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._secrets_file import generate
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_plan import differs
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault

MOUNT = paths.DATABASE_MOUNT
CONFIG = f"{MOUNT}/config/{paths.DATABASE_CONNECTION}"
PASSWORD_LENGTH = 40
# Rotation is a release of the same image to the idle slot; Vault's own clock must never run out before that.
ROTATION_SECONDS = 8760 * 3600
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server, as the Vault host reaches it."""

    address: str
    port: int
    login: str
    ca_file: str

    @property
    def url(self) -> str:
        """Vault fills in name and password itself."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return (
            f"postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{self.port}/postgres"
            f"?sslmode=verify-full&sslrootcert={self.ca_file}&connect_timeout=10"
        )

    def body(self, password: str = "") -> dict[str, Any]:
        return {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": self.url,
            "username": self.login,
            **({"password": password} if password else {}),
            "password_authentication": "scram-sha-256",
            "max_open_connections": 4,
            "max_idle_connections": 0,
            "max_connection_lifetime": "60s",
            "verify_connection": True,
        }


def stored(vault: Vault) -> dict[str, Any] | None:
    """The connection as Vault keeps it, without its password.

    Until Vault has changed the password that it was given, no role may use it: that tells an unfinished one.
    """
    found = vault.get(CONFIG)
    return found if found and found.get("allowed_roles") else None


def connection_problem(vault: Vault, server: Server, check: bool) -> str:
    """Why the stored connection does not serve; empty when it does. Vault logs in to tell, but not in check mode."""
    found = stored(vault)
    if found is None:
        return "there is none"
    if check:
        same = (found.get("connection_details") or {}).get("connection_url") == server.url
        return "" if same else "the server's address changed"
    try:
        vault.post(CONFIG, {**server.body(), "allowed_roles": ["*"]})
    except Refusal as error:
        if error.status == 403:
            raise
        return explained("; ".join(error.errors))
    return ""


def connect(vault: Vault, server: Server, password: str) -> None:
    """Take the password that was set in PostgreSQL, and change it at once to one that nobody else knows."""
    try:
        vault.post(CONFIG, {**server.body(password), "allowed_roles": []})
        vault.post(f"{MOUNT}/rotate-root/{paths.DATABASE_CONNECTION}", {})
    except Refusal as error:
        if error.status == 403:
            raise
        raise VaultError(
            f"Vault cannot use PostgreSQL at {server.address} as {server.login}: "
            f"{explained('; '.join(error.errors))}. Remedy: run the play again from its beginning; it makes another "
            "password, and sets it on the database host first."
        ) from None
    vault.post(CONFIG, {**server.body(), "allowed_roles": ["*"]})


def explained(said: str) -> str:
    """PostgreSQL's reason out of Vault's text, which repeats it once per address."""
    for part in reversed(said.split("FATAL: ")[1:]):
        return part.split(" (SQLSTATE")[0].strip()
    text = " ".join(said.split())
    return (text.rpartition(" * ")[2] or "no reason")[:300]


def role_body(name: str) -> dict[str, Any]:
    return {
        "db_name": paths.DATABASE_CONNECTION,
        "username": name,
        "rotation_period": ROTATION_SECONDS,
    }


def missing_roles(vault: Vault, roles: Iterable[str]) -> list[str]:
    known = set(vault.list(f"{MOUNT}/static-roles"))
    return sorted(set(roles) - known)


def create_roles(vault: Vault, roles: Iterable[str], check: bool) -> list[str]:
    """Static roles that are not there, or not as wanted. Vault sets a new one's password as it makes it."""
    done = []
    for name in sorted(set(roles)):
        found, body = vault.get(_role(name)), role_body(name)
        if not differs(found, body):
            continue
        if not check:
            try:
                vault.post(_role(name), body)
            except Refusal as error:
                if error.status == 403:
                    raise
                raise VaultError(
                    f"Vault cannot set the password of {name}: {explained('; '.join(error.errors))}. Remedy: run the "
                    "role postgresql on the database host, which makes the login and lets Vault set its password."
                ) from None
        done.append(name)
    return done


def _role(name: str) -> str:
    return f"{MOUNT}/static-roles/{name}"


@dataclass(frozen=True)
class Rotation:
    """What came of a rotation: roles with a new password, and those that keep the valid one they had."""

    rotated: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def rotate(
    vault: Vault,
    roles: Sequence[str],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Rotation:
    """Give each role a new password. After an error look again: Vault repeats a failed rotation by itself."""
    deadline = clock() + seconds
    rotated, failed = [], []
    for name in roles:
        before, problem = last_rotation(vault, name), ""
        while True:
            problem = _try(vault, name)
            if not problem or last_rotation(vault, name) != before:
                rotated.append(name)
                break
            if clock() >= deadline:
                failed.append((name, problem))
                break
            sleep(RETRY_SECONDS)
            if last_rotation(vault, name) != before:
                rotated.append(name)
                break
    return Rotation(tuple(rotated), tuple(failed))


def last_rotation(vault: Vault, name: str) -> str:
    found = vault.get(_role(name))
    if found is None:
        raise VaultError(
            f"Vault sets no password for {name}. Remedy: correct the name, or run the playbook that connects Vault to "
            "PostgreSQL, which makes its role."
        )
    return str(found.get("last_vault_rotation"))


def _try(vault: Vault, name: str) -> str:
    try:
        vault.post(f"{MOUNT}/rotate-role/{name}", {})
    except Refusal as error:
        if error.status == 403:
            raise
        return explained("; ".join(error.errors))
    return ""


def new_password() -> str:
    return generate(PASSWORD_LENGTH)


def checked(address: str) -> str:
    """An address or a host name, and nothing that could end the URL's host."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        if not address or any(not (character.isalnum() or character in ".-") for character in address):
            raise VaultError(f"{address!r} is neither an address nor a host name of PostgreSQL.") from None
        return address
