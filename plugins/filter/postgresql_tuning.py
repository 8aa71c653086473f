# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: postgresql_tuning
short_description: PostgreSQL settings from the memory and processors a server may use
version_added: "0.1.0"
description:
  - Computes memory, checkpoint, planner and parallelism settings, and lays given settings over them.
options:
  _input:
    description: Memory of the host in megabytes, as the fact C(memtotal_mb) has it.
    type: int
    required: true
  memory_bytes:
    description: Memory the server may use; 0 for a share of the host.
    type: int
    default: 0
  memory_fraction:
    description: That share, above 0 and at most 1.
    type: float
    default: 0.25
  processors:
    description: Processors of the host.
    type: int
    default: 1
  max_connections:
    description: Most sessions at once.
    type: int
    default: 100
  storage:
    description: Kind of disk under the data.
    type: str
    choices: [ssd, hdd]
    default: ssd
  overrides:
    description: Settings that go before the computed ones, by parameter name.
    type: dict
    default: {}
author:
  - Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Show the settings
  ansible.builtin.debug:
    msg: "{{ 8192 | signalbox.platform.postgresql_tuning(processors=4, overrides={'work_mem': '32MB'}) }}"
"""

RETURN = r"""
_value:
  description: Parameter name to value, in alphabetical order.
  type: dict
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_tuning import memory_budget, merged, tuning


def postgresql_tuning(
    memory_total_megabytes: int,
    memory_bytes: int = 0,
    memory_fraction: float = 0.25,
    processors: int = 1,
    max_connections: int = 100,
    storage: str = "ssd",
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Settings as a mapping."""
    budget = memory_budget(int(memory_total_megabytes), float(memory_fraction), int(memory_bytes))
    try:
        return merged(tuning(budget, int(processors), int(max_connections), storage), overrides or {})
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_tuning: {error}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"postgresql_tuning": postgresql_tuning}
