# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_leak
short_description: What a leaked secret touches
version_added: "0.1.0"
description:
  - From what has leaked to the paths of Vault whose readers are of interest, and the names of the app's own secrets
    that need a new value.
author: [Signalbox contributors (@signalbox)]
positional: app, leaked, hosts, edges
options:
  _input:
    description: App specs as P(signalbox.platform.app_spec#filter) returns them.
    type: dict
    required: true
  app:
    description: The app whose secret leaked; empty where it was the registry's or a host's.
    type: str
    required: true
  leaked:
    description:
      - C(database), C(cache), C(clients/current), C(clients/previous), C(registry), C(secret/NAME) or C(host/NAME).
        Anything else is an error that names these.
    type: str
    required: true
  hosts:
    description: Names of the hosts that have an identity.
    type: list
    elements: str
    required: true
  edges:
    description: Names of the edges, which read the keys of clients.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what the cache's passwords touch
  ansible.builtin.debug:
    msg: "{{ signalbox_app_specs | signalbox.platform.vault_leak('agent-api', 'cache', groups['all']) }}"
"""

RETURN = r"""
_value:
  description:
    - C(paths), a list; C(apps), for each app that the leak touches its C(secrets) that get a new value, and C(clients),
      which of its clients' keys are refused from now on, or empty. A host may read secrets of every app.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._vault_leak import UnknownLeak, leak


def vault_leak(specs: Any, app: str, leaked: str, hosts: Any, edges: Any = ()) -> dict[str, Any]:
    try:
        return leak(specs, str(app), str(leaked), list(hosts), list(edges))
    except UnknownLeak as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Any]:
        return {"vault_leak": vault_leak}
