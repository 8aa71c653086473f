# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_layout
short_description: Make the layout of Vault from app specs and hosts
version_added: "0.1.0"
description:
  - Gives all that M(signalbox.platform.vault_layout) brings about, as data without any secret value.
  - Keys of use to a playbook are C(static_roles), the logins whose passwords Vault sets; C(reads), what Ansible itself
    must use, for M(signalbox.platform.vault_secrets); and C(hosts).
options:
  _input:
    description: Checked app specs, by name.
    type: dict
    required: true
  groups:
    description: Inventory groups with their hosts.
    type: dict
    required: true
  addresses:
    description: Host name to address, for every host of the platform.
    type: dict
    required: true
  registry:
    description: Name by which images spell the registry, as far as its certificate needs it.
    type: str
    default: ""
  removed:
    description: An app that is being taken off the platform.
    type: str
    default: ""
  purge:
    description: Whether the secrets of O(removed) go too, with all their versions.
    type: bool
    default: false
author:
  - Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Show who may do what
  ansible.builtin.debug:
    msg: "{{ (signalbox_app_specs | signalbox.platform.vault_layout(groups, signalbox_addresses)).hosts }}"
"""

RETURN = r"""
_value:
  description: The layout.
  type: dict
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._vault_layout import layout


def vault_layout(specs: Any, groups: Any, addresses: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    without = sorted(host for host, address in addresses.items() if not address)
    if without:
        raise AnsibleFilterError(f"signalbox_address is empty for {', '.join(without)}; Vault binds hosts to theirs")
    try:
        return layout(specs, groups, addresses, *arguments, **options)
    except ValueError as error:
        raise AnsibleFilterError(f"signalbox_address: {error}") from None


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vault_layout": vault_layout}
