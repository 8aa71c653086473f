# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: vault_problems
short_description: List the mistakes in the inputs of the role vault
version_added: "0.1.0"
description:
  - Checks source, addresses, nodes, seal and audit devices together, so that one run names every mistake.
options:
  _input:
    description: The role's inputs without their prefix, and the C(node)'s name.
    type: dict
    required: true
author:
  - Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Refuse mistakes
  ansible.builtin.assert:
    that: inputs | signalbox.platform.vault_problems | length == 0
"""

RETURN = r"""
_value:
  description: One sentence per mistake, without secrets; empty when there is none.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils._vault_input import input_problems


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vault_problems": input_problems}
