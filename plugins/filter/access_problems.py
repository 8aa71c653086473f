# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: access_problems
short_description: List what would lock the operator out of a host
version_added: "0.1.0"
description:
  - Compares how Ansible reaches a host now with the access that is wanted, and returns a message for each conflict.
  - Also checks the declared users, ports and networks themselves.
options:
  _input:
    description: The RV(signalbox.platform.access_guard#module:host) of M(signalbox.platform.access_guard).
    type: dict
    required: true
  wanted:
    description:
      - A mapping with C(users), C(ssh_ports), C(ssh_sources), C(ssh_allow_users), C(ssh_permit_root_login),
        C(open_ports) and C(over_ssh).
    type: dict
    required: true
author:
  - Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Refuse what would lock the operator out
  ansible.builtin.assert:
    that: observed.host | signalbox.platform.access_problems(wanted) | length == 0
"""

RETURN = r"""
_value:
  description: Messages that say what is wrong and how to mend it; empty when there is nothing.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._access import access_problems


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"access_problems": access_problems}
