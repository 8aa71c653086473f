# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Render the status of apps as text
version_added: "0.1.0"
description:
  - Renders one row per app, then hosts, last releases, lock and problems of each, aligned and never wider than asked.
  - Every value may be missing or null; it is shown as a dash. Machines use the structure itself.
author: [Signalbox contributors (@signalbox)]
positional: columns
options:
  _input:
    description:
      - List of apps, each a mapping with C(app), C(live) (slot or null), C(version), C(digest), C(since) (ISO 8601),
        C(weights) (slot to percent), C(mode), C(in_flight), C(streams), C(error_rate) (0 to 1).
      - C(hosts) maps a host to its slots, each null, a text, or a mapping with C(state), C(version), C(health).
      - C(last_releases) are ledger entries, newest first; C(lock) and C(interrupted) are C(lease) and C(interrupted) as
        returned by M(signalbox.platform.release_info); C(problems) is a list of texts.
    type: list
    elements: dict
    required: true
  columns:
    description: Greatest width of a line.
    type: int
    default: 100
"""

EXAMPLES = r"""
- name: Show the status
  ansible.builtin.debug:
    msg: "{{ status_apps | signalbox.platform.status_table }}"
"""

RETURN = r"""
_value:
  description: The text, lines separated by newlines.
  type: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._status import COLUMNS, status_table


def checked_status_table(apps: Any, columns: int = COLUMNS) -> str:
    if not isinstance(apps, (list, tuple)) or not all(isinstance(app, Mapping) for app in apps):
        raise AnsibleFilterError("status_table needs a list of mappings, one per app.")
    return status_table(apps, int(columns))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"status_table": checked_status_table}
