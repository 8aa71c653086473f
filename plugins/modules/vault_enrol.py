#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_enrol
short_description: Give a host its identity in Vault, or take identities from it
version_added: "0.1.0"
description:
  - O(operation=issue) makes a secret id for the host and returns it wrapped. Only the first who unwraps it gets it,
    within two minutes; the controller never sees it.
  - O(operation=retire) destroys the host's secret ids but the one to keep, once the host has proven that it uses that
    one. A token that one of them brought ends with its own life, half an hour at most; without one to keep, all
    tokens that came by AppRole end at once, and every other identity logs in again.
options:
  operation:
    description: Step to take.
    type: str
    required: true
    choices: [issue, retire]
  host:
    description: The host's inventory name; M(signalbox.platform.vault_layout) made its AppRole.
    type: str
    required: true
  keep:
    description:
      - O(operation=retire); accessor of the secret id that stays, as O(operation=issue) returned it. One that the
        host does not have is refused, before anything is destroyed.
      - Empty destroys every one, which locks the host out.
    type: str
    default: ""
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Makes nothing and destroys nothing; a new identity then has no wrapping token.
  diff_mode:
    support: none
    description: Has nothing to show.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Make a wrapped secret id
  signalbox.platform.vault_enrol:
    vault_address: https://10.0.0.9:8200
    operation: issue
    host: app1
  delegate_to: vault1
  register: enrolled
  no_log: true

- name: Destroy the earlier ones
  signalbox.platform.vault_enrol:
    vault_address: https://10.0.0.9:8200
    operation: retire
    host: app1
    keep: "{{ enrolled.accessor }}"
  delegate_to: vault1
"""

RETURN = r"""
role_id:
  description: The AppRole's id; no secret.
  returned: operation issue
  type: str
wrapping_token:
  description: Opens the secret id, once; a secret for as long as it lives. Empty in check mode.
  returned: operation issue
  type: str
wrapping_seconds:
  description: Life of the wrapping token.
  returned: operation issue
  type: int
creation_path:
  description: Path that a look at the wrapping token must show; another one means that it was exchanged.
  returned: operation issue
  type: str
accessor:
  description: Names the new secret id without giving it away. Empty in check mode.
  returned: operation issue
  type: str
destroyed:
  description: Accessors of the secret ids that were destroyed, or would be.
  returned: operation retire
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_enrol as enrol
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def work(vault, params, check):
    if params["operation"] == "issue":
        return {"changed": True, **enrol.issue(vault, params["host"], check)}
    destroyed = enrol.retire(vault, params["host"], params["keep"], check)
    if not params["keep"] and not check:
        # Tokens know no host: all of AppRole's end, this one too. Every other identity just logs in again.
        vault.post(f"sys/leases/revoke-prefix/auth/{paths.APPROLE_MOUNT}/login", {})
    return {"changed": bool(destroyed), "destroyed": destroyed}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "operation": {"type": "str", "required": True, "choices": ["issue", "retire"]},
            "host": {"type": "str", "required": True},
            "keep": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if not_there_yet(module):
        nothing = {"role_id": "", "wrapping_token": "", "wrapping_seconds": 0, "creation_path": "", "accessor": ""}
        module.exit_json(changed=True, destroyed=[], **nothing)
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        result = as_provisioner(module, lambda vault: work(vault, module.params, module.check_mode))
    except VaultError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
