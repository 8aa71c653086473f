#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_layout
short_description: Mounts, secrets, identities and rights of Vault in one call
version_added: "0.1.0"
description:
  - Brings Vault to the layout that the filter P(signalbox.platform.vault_layout#filter) makes of app specs and hosts.
  - Secrets that have a length are generated here, on the Vault host, where there is none. A value that is there is
    never written over, and of what is there only the names are read.
  - Of what the layout no longer has, only what belongs to hosts that are gone is removed (their AppRole, policy and
    certificate role), and what the layout itself lists as removed.
  - Each host gets an AppRole that only its own addresses can use, and a policy of its own.
options:
  layout:
    description: The layout, as the filter makes it.
    type: dict
    required: true
  given:
    description:
      - Values from an operator, scope to name to value, in the shape of C(signalbox_secrets); written where there is
        none.
      - Database passwords (C(database_*)) are passed over, Vault makes those itself. Any other name must be in the
        layout.
    type: dict
    default: {}
  overwrite:
    description: Write the values of O(given) over those that are there.
    type: bool
    default: false
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Plans, and changes nothing.
  diff_mode:
    support: full
    description: Shows what is done in words, with names and never with a value.
author: Signalbox contributors (@signalbox)
seealso:
  - module: signalbox.platform.vault_secrets
"""

EXAMPLES = r"""
- name: Lay Vault out
  signalbox.platform.vault_layout:
    vault_address: https://10.0.0.9:8200
    layout: "{{ signalbox_app_specs | signalbox.platform.vault_layout(groups, signalbox_addresses) }}"

- name: Bring a secret that another company issued
  signalbox.platform.vault_layout:
    vault_address: https://10.0.0.9:8200
    layout: "{{ signalbox_vault_layout }}"
    given: {agent-api: {ANTHROPIC_API_KEY: "{{ brought }}"}}
    overwrite: true
  no_log: true
  diff: false
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, in order. Names only.
  returned: success, and on a failure half way
  type: list
  elements: str
  sample: [mount kv at signalbox, "generate apps/agent-api/secrets: API_KEY"]
missing:
  description: Values that only an operator can give, and has not.
  returned: success
  type: list
  elements: str
  sample: [apps/agent-api/secrets ANTHROPIC_API_KEY]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_catalogue as catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_plan import (
    State,
    given_paths,
    missing,
    plan,
    refuse,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def lay_out(vault, params, check, done):
    layout = params["layout"]
    given = given_paths(layout, params["given"])
    state = catalogue.read(vault, layout)
    refuse(state)
    if params["overwrite"]:
        given = catalogue.changed(vault, state, given)
    steps = plan(state, layout, given, params["overwrite"])
    if not check:
        catalogue.carry_out(vault, steps, given, done)
    actions = [step.description for step in steps]
    return {"changed": bool(actions), "actions": actions, "missing": missing(state, layout, given)}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "layout": {"type": "dict", "required": True},
            "given": {"type": "dict", "default": {}, "no_log": True},
            "overwrite": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if not_there_yet(module):
        actions = [step.description for step in plan(State(), module.params["layout"])]
        module.exit_json(changed=True, actions=actions, missing=[])
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    done = []
    try:
        result = as_provisioner(module, lambda vault: lay_out(vault, module.params, module.check_mode, done))
    except VaultError as error:
        module.fail_json(msg=str(error), actions=done)
    for name in result["missing"]:
        module.warn(f"Vault has no value for {name}. Remedy: give it with the option given of vault_layout.")
    diff = {"before": "", "after": "".join(f"{line}\n" for line in result["actions"])}
    module.exit_json(diff=diff, **result)


if __name__ == "__main__":
    main()
