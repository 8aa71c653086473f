# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment of an app's container: plain values, secrets, and URLs of its own database and cache users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

# Where the platform's certificate authority is mounted inside every container.
CA_FILE = "/etc/signalbox/ca.crt"

OWNER = "owner"

# Stands for a value that the host itself fetches: ${signalbox:NAME}, and ${signalbox:url:NAME} inside a URL.
# roles/vault_client ships a program that fills in the same, after a boot without a sealed copy.
MARKER = "${signalbox:"
_PLACEHOLDER = re.compile(r"\$\{signalbox:(url:)?([A-Za-z_][A-Za-z0-9_]*)\}")

Sources = Mapping[str, Mapping[str, str]]


class MissingSecret(KeyError):
    """A secret that the spec wants has no value; carries its name, never a value."""


class UnfilledPlaceholder(ValueError):
    """Variables hold placeholders for which there is no value; carries names only."""


@dataclass(frozen=True)
class Endpoint:
    """A data service as the containers reach it."""

    host: str
    port: int


def user_of(spec: Mapping[str, Any], role: str) -> str:
    """Database user of a slot (`blue`, `green`) or of the migrations (`owner`)."""
    return f"{spec['database']['name']}_{role}"


def cache_user_of(spec: Mapping[str, Any], slot: str) -> str:
    """Redis ACL user of a slot."""
    return f"{spec['name']}-{slot}"


def environment_of(
    spec: Mapping[str, Any],
    role: str,
    version: str,
    secrets: Mapping[str, str] | None,
    database: Endpoint | None,
    cache: Endpoint | None,
) -> dict[str, str]:
    """Environment for `role`: a slot, or `owner` for migrations, which has no cache user and borrows blue's.

    Without `secrets` each is a placeholder, which the host fills in from `secret_sources`.
    """
    slot = "" if role == OWNER else role
    values: dict[str, str] = {
        **{name: str(value) for name, value in spec["environment"].items()},
        **{name: _secret(secrets, name) for name in spec["secrets"]},
        "PORT": str(spec["container_port"]),
        "SIGNALBOX_APP": str(spec["name"]),
        "SIGNALBOX_SLOT": slot,
        "SIGNALBOX_RELEASE": version,
        "SIGNALBOX_CA_FILE": CA_FILE,
    }
    if spec["database"] is not None and database is not None:
        values[spec["database"]["env"]] = _url(
            spec["database"]["url"],
            user_of(spec, role),
            _password(secrets, f"database_{role}"),
            database,
            spec["database"]["name"],
        )
        values["PGSSLROOTCERT"] = CA_FILE  # libpq's and asyncpg's name for the authority of verify-full
    if spec["cache"] is not None and cache is not None:
        cache_role = slot or "blue"
        values[spec["cache"]["env"]] = _url(
            spec["cache"]["url"],
            cache_user_of(spec, cache_role),
            _password(secrets, f"cache_{cache_role}"),
            cache,
            "0",
        )
    return values


def secret_sources(spec: Mapping[str, Any], role: str) -> dict[str, dict[str, str]]:
    """Where in Vault a host reads what C(environment_of) wants for `role`: name -> source. Policies allow just this."""
    app, cache_role = str(spec["name"]), "blue" if role == OWNER else role
    sources = {name: {"kind": "kv", "path": paths.app_secrets(app), "key": str(name)} for name in spec["secrets"]}
    if spec["database"] is not None:
        sources[f"database_{role}"] = {"kind": "database", "role": paths.database_role(spec, role)}
    if spec["cache"] is not None:
        path = paths.app_cache(app, cache_role)
        sources[f"cache_{cache_role}"] = {"kind": "kv", "path": path, "key": "password"}
    return sources


def slot_credentials(spec: Mapping[str, Any], slot: str) -> dict[str, Any]:
    """What Vault and the cache call the credentials of one slot: those that a rotation of the slot changes."""
    app, has_database = str(spec["name"]), spec["database"] is not None
    return {
        "database_roles": [paths.database_role(spec, role) for role in (slot, OWNER)] if has_database else [],
        "cache_path": paths.app_cache(app, slot),
        "cache_user": cache_user_of(spec, slot),
        "secrets_path": paths.app_secrets(app),
    }


def slot_logins(spec: Mapping[str, Any], roles: Sequence[str]) -> list[dict[str, str]]:
    """The accounts that C(environment_of) puts into URLs, each with the name of its password."""
    logins: list[dict[str, str]] = []
    for role in roles:
        if spec["database"] is not None:
            account = {"user": user_of(spec, role), "database": str(spec["database"]["name"])}
            logins.append({"service": "postgresql", **account, "secret": f"database_{role}"})
        if spec["cache"] is not None and role != OWNER:
            logins.append(
                {"service": "redis", "user": cache_user_of(spec, role), "database": "", "secret": f"cache_{role}"}
            )
    return logins


def fill(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The environment with its placeholders replaced, once: what a value holds is not looked at again."""

    def value(match: re.Match[str]) -> str:
        return quote(values[match[2]], safe="") if match[1] else values[match[2]]

    unfilled = []
    for name, text in environment.items():
        unknown = [match[2] for match in _PLACEHOLDER.finditer(text) if match[2] not in values]
        if unknown or MARKER in _PLACEHOLDER.sub("", text):
            unfilled.append(f"{name} ({', '.join(unknown) or 'malformed'})")
    if unfilled:
        raise UnfilledPlaceholder(
            f"no secret source for what these variables need: {'; '.join(unfilled)}. "
            "Remedy: give secret_sources together with an environment that holds placeholders"
        )
    return {name: _PLACEHOLDER.sub(value, text) for name, text in environment.items()}


def wanted_secrets(spec: Mapping[str, Any]) -> dict[str, int]:
    """Secrets of one app: name -> length to generate in characters."""
    wanted = {name: int(secret["generate"]) for name, secret in spec["secrets"].items() if secret.get("generate")}
    if spec["database"] is not None:
        wanted.update({f"database_{role}": 40 for role in (OWNER, "blue", "green")})
    if spec["cache"] is not None:
        wanted.update({f"cache_{slot}": 40 for slot in ("blue", "green")})
    return wanted


def _secret(secrets: Mapping[str, str] | None, name: str) -> str:
    if secrets is None:
        return f"{MARKER}{name}}}"
    if name not in secrets:
        raise MissingSecret(name)
    return str(secrets[name])


def _password(secrets: Mapping[str, str] | None, name: str) -> str:
    """A password as it stands in a URL."""
    return f"{MARKER}url:{name}}}" if secrets is None else quote(_secret(secrets, name), safe="")


def _url(template: str, user: str, password: str, endpoint: Endpoint, name: str) -> str:
    return template.format(
        user=quote(user, safe=""), password=password, host=endpoint.host, port=endpoint.port, name=name
    )
