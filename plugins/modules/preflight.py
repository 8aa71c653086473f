#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight
short_description: Check app specs, inventory and options before an operation
version_added: "0.1.0"
description:
  - Checks on the control node everything that can be told without asking a host, and reports all mistakes at once.
  - The app specs, with the rules of the filter P(signalbox.platform.app_spec#filter).
  - What the operator asked for, which is O(app), O(version), O(strategy) and the names of all C(-e) variables.
    A near miss of a name is a mistake. Variables that AWX, Semaphore and others add of their own are passed over.
  - The values of the platform's options, such as C(bake_seconds) and C(require_backup), from C(-e) or the inventory,
    as texts or as JSON types. What is neither true nor false, no whole number in range, no moment with its time zone,
    or none of the known words is a mistake. A value that may be a secret is not shown.
  - The inventory's groups. C(app) and C(edge) need hosts; C(registry) where an image names no registry; C(postgresql)
    and C(redis) where an app of the operation has a database or a cache. A misspelt group is a mistake.
  - C(signalbox_address) of every host in a group of the platform. It must be there, be an IP address, and belong to one
    host. A public address is a warning where data services run.
  - C(--limit), which may not leave out a host of C(app) or C(edge) where O(operation) is V(deploy), V(rollback) or
    V(remove).
  - The inventory's variables of the group C(all). One that the files beside the playbook set for this group, too, would
    have no effect, as Ansible prefers those.
  - The certificates that app specs give, before V(site) and V(rebuild). The files must be there, belong together, be
    valid and name the app's domains.
  - The control node's ansible-core and Python library jmespath.
options:
  operation:
    description: What the play is about to do.
    type: str
    choices: [site, deploy, plan_migration, rollback, rotate, revoke, secret, status, remove, backup, drill, restore,
      restore_table, restore_repository, masked_copy, refresh_staging, rebuild, promote]
    required: true
  apps:
    description: The mapping C(signalbox_apps) as the inventory has it, not passed through a filter.
    type: raw
    required: true
  app:
    description:
      - Name of the app of the operation.
      - V(remove) always needs it. V(deploy) and V(rollback) need it when there is more than one app.
      - Left out, V(site) and V(status) are about all apps.
    type: raw
  version:
    description:
      - Tag of the release in OCI's grammar, or its digest as C(sha256:) and 64 hexadecimal digits.
      - V(latest) is refused.
      - V(deploy) and V(plan_migration) need it. V(rollback) may name one.
    type: raw
  strategy:
    description:
      - How traffic moves. V(blue_green) is available.
      - V(canary), V(rolling) and V(maintenance) are refused as not available in this version.
    type: raw
  options:
    description:
      - Names of C(-e) variables that the playbook reads beside the platform's own options, so that their misspellings
        are found too.
    type: list
    elements: str
    default: []
  secrets:
    description:
      - Names of the secrets that have a value, as a list for each app, and for C(registry), C(redis) and C(backup),
        which are the platform's own services. Never values.
      - Left out, secrets are not checked.
    type: dict
  authority:
    description: Host of the certificate authority, where the inventory names one.
    type: str
  registry:
    description:
      - Where images are pulled from, with C(address) and C(username).
      - Where it has a user, V(deploy) and V(rollback) want a value for C(registry.pull) in O(secrets).
    type: dict
notes:
  - Runs once for the play, on the control node alone. No host is asked anything. One mistake fails the whole play.
  - With C(run_once) set to V(true), which changes nothing else, every host gets what C(register) names.
  - The play must have C(hosts) set to V(all), as a play on localhost is skipped when C(--limit) is given.
    It need not gather facts.
attributes:
  check_mode: {support: full, description: Reads only.}
seealso:
  - plugin: signalbox.platform.app_spec
    plugin_type: filter
author: [Signalbox contributors (@signalbox)]
"""

EXAMPLES = r"""
- name: Check before anything is touched
  hosts: all
  gather_facts: false
  tasks:
    - name: Check specs, inventory and options
      signalbox.platform.preflight:
        operation: deploy
        apps: "{{ signalbox_apps | default({}) }}"
        app: "{{ app | default(omit) }}"
        version: "{{ version | default(omit) }}"
        strategy: "{{ strategy | default(omit) }}"
        options: [reason]
      run_once: true
      register: preflight

- name: Check that every wanted secret has a value
  hosts: all
  gather_facts: false
  tasks:
    - name: Check the secrets by name
      signalbox.platform.preflight:
        operation: deploy
        apps: "{{ signalbox_apps }}"
        app: agent-api
        version: 1.4.2
        secrets: "{{ dict(signalbox_secrets.keys() | zip(signalbox_secrets.values() | map('list'))) }}"
"""

RETURN = r"""
app:
  description: The app of the operation, also where only one exists and none was named. Null stands for all apps.
  type: str
  returned: success
  sample: agent-api
apps:
  description: Names of all apps.
  type: list
  elements: str
  returned: success
  sample: [agent-api]
problems:
  description: >-
    The mistakes, each on one line as C(where: what. remedy), with file and line where they are known. Empty on success.
  type: list
  elements: str
  returned: always
  sample: ["group edge: is missing, and requests enter through its hosts. Is group edges meant? Rename it to edge."]
warned:
  description: What is no mistake, and deserves a look. Each is shown as a warning, too.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._preflight import OPERATIONS

ARGUMENTS = {
    "operation": {
        "type": "str",
        "required": True,
        "choices": list(OPERATIONS),
    },
    "apps": {"type": "raw", "required": True},
    "app": {"type": "raw"},
    "version": {"type": "raw"},
    "strategy": {"type": "raw"},
    "options": {"type": "list", "elements": "str", "default": []},
    "secrets": {"type": "dict", "no_log": False},
    "registry": {"type": "dict"},
    "authority": {"type": "str"},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.fail_json(msg="preflight works through its action plugin, on the controller")


if __name__ == "__main__":
    main()
