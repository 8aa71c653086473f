# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter client_key_sources: where in Vault an edge reads the keys of an app's clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import key_sources
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import SLOTS


def client_key_sources(spec: Mapping[str, Any], slots: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Input O(secret_sources) of the module traffic_keys."""
    if not spec.get("clients"):
        raise AnsibleFilterError(f"{spec.get('name')}: the spec has no clients, so there are no keys of clients")
    return key_sources(spec, tuple(slots))


def edge_client_key_sources(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
    """Input C(edge_client_key_sources) of the role edge: both slots' own keys beside those of the clients."""
    return {name: key_sources(spec, SLOTS) for name, spec in sorted(specs.items()) if spec.get("clients")}


class FilterModule:
    """Filters over the keys of apps' clients."""

    def filters(self) -> dict[str, Any]:
        return {"client_key_sources": client_key_sources, "edge_client_key_sources": edge_client_key_sources}
