#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Read the release state of apps
version_added: "0.1.0"
description:
  - Reads, on the state host, what M(signalbox.platform.release) keeps. Never changes anything and never waits.
  - An app whose files are corrupt is returned with C(error) and a warning; the others are not affected.
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode: {support: full, description: Reads only.}
  diff_mode: {support: none, description: Reads only.}
options:
  apps:
    description: Names of apps. Empty for all that have a state.
    type: list
    elements: str
    default: []
    aliases: [app]
  ledger_entries:
    description: How many of the last ledger entries to return per app.
    type: int
    default: 10
  directory:
    description: Directory of the release state.
    type: path
    default: /var/lib/signalbox/releases
"""

EXAMPLES = r"""
- name: Read the state of all apps
  signalbox.platform.release_info:
  register: release_found

- name: Show who works on an app
  ansible.builtin.debug:
    msg: "{{ release_found.apps['agent-api'].lease }}"
"""

RETURN = r"""
apps:
  description: Mapping of app to what is known.
  type: dict
  returned: always
  contains:
    state: {description: "C(live), C(slots), C(releases), C(updated).", type: dict}
    idle: {description: The slot that is not live., type: str}
    previous: {description: "The release a rollback returns to, or null.", type: dict}
    previous_slot: {description: "The slot in which it is warm, or null.", type: str}
    good: {description: Releases a rollback may name., type: list}
    lease: {description: "Holder with C(remaining_seconds) and C(expired), or null.", type: dict}
    interrupted: {description: What a killed run left, type: dict}
    held: {description: "How the app was served before a restore closed it, or null.", type: dict}
    journal: {description: Entries of runs that are not closed., type: list}
    ledger: {description: "Last entries, oldest first.", type: list}
    error: {description: "Why the files cannot be read, or null.", type: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._release import Refused
from ansible_collections.signalbox.platform.plugins.module_utils._release_operations import info
from ansible_collections.signalbox.platform.plugins.module_utils._release_store import ReleaseStore, apps_in, now

NOTHING = {
    "state": None,
    "idle": None,
    "previous": None,
    "previous_slot": None,
    "good": [],
    "lease": None,
    "interrupted": None,
    "held": None,
    "journal": [],
    "ledger": [],
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "str", "default": [], "aliases": ["app"]},
            "ledger_entries": {"type": "int", "default": 10},
            "directory": {"type": "path", "default": "/var/lib/signalbox/releases"},
        },
        supports_check_mode=True,
    )
    directory = module.params["directory"]
    found = {}
    for app in module.params["apps"] or apps_in(directory):
        try:
            found[app] = info(ReleaseStore(directory, app), max(0, module.params["ledger_entries"]), now())
        except (Refused, OSError) as error:
            module.warn(str(error))
            found[app] = {**NOTHING, "error": str(error)}
    module.exit_json(changed=False, apps=found)


if __name__ == "__main__":
    main()
