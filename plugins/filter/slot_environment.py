# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that turn an app spec into what its containers and data services need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import (
    Endpoint,
    MissingSecret,
    environment_of,
    secret_sources,
    slot_credentials,
    slot_logins,
    wanted_secrets,
)


def slot_environment(
    spec: Mapping[str, Any],
    role: str,
    version: str,
    secrets: Mapping[str, str] | None = None,
    database_host: str | None = None,
    cache_host: str | None = None,
) -> dict[str, str]:
    """The environment; without secrets it holds placeholders, which modules slot and app_run fill in on the host."""
    try:
        return environment_of(
            spec,
            role,
            version,
            secrets,
            Endpoint(database_host, 5432) if database_host else None,
            Endpoint(cache_host, 6379) if cache_host else None,
        )
    except MissingSecret as missing:
        raise AnsibleFilterError(
            f"signalbox_secrets.{spec['name']}.{missing.args[0]} has no value. "
            "Remedy: run playbooks/secrets.yml, which generates what is missing, or set it in the vault file."
        ) from None


class FilterModule:
    """Filters of the app's environment."""

    def filters(self) -> dict[str, Any]:
        return {
            "secret_sources": secret_sources,
            "slot_credentials": slot_credentials,
            "slot_environment": slot_environment,
            "slot_logins": slot_logins,
            "wanted_secrets": wanted_secrets,
        }
