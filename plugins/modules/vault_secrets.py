#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_secrets
short_description: Read the secrets that Ansible itself must use
version_added: "0.1.0"
description:
  - Reads values of Vault's key-value store, once per path, into the shape of C(signalbox_secrets), scope to name to
    value.
  - An app's own secrets and database passwords are not read this way; app hosts fetch those themselves.
  - The result holds secrets, so the task needs C(no_log).
options:
  reads:
    description:
      - What to read, scope to name to path and key; C(reads) of the filter P(signalbox.platform.vault_layout#filter),
        or a part of it.
    type: dict
    required: true
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode. Before Vault is there, a text stands in for each value.
  diff_mode:
    support: none
    description: Changes nothing.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Read the passwords of the registry
  signalbox.platform.vault_secrets:
    vault_address: https://10.0.0.9:8200
    reads: "{{ {'registry': signalbox_vault_layout.reads.registry} }}"
  delegate_to: vault1
  register: read
  no_log: true
"""

RETURN = r"""
secrets:
  description: Scope to name to value.
  returned: success
  type: dict
missing:
  description: Names without a value.
  returned: when there are any
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_catalogue as catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def main():
    module = AnsibleModule(
        argument_spec={**CONNECTION_OPTIONS, "reads": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    if not_there_yet(module):
        stand_in = {
            scope: dict.fromkeys(names, "(not there in check mode)") for scope, names in module.params["reads"].items()
        }
        module.exit_json(changed=False, secrets=stand_in)
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        secrets, missing = as_provisioner(module, lambda vault: catalogue.read_scopes(vault, module.params["reads"]))
    except VaultError as error:
        module.fail_json(msg=str(error))
    if missing:
        module.fail_json(
            msg=f"Vault has no value for {', '.join(missing)}. Remedy: run the playbook that lays Vault out, which "
            "generates what can be generated and takes the others with the option given of vault_layout.",
            missing=missing,
        )
    module.exit_json(changed=False, secrets=secrets)


if __name__ == "__main__":
    main()
