#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_rotate
short_description: Give generated secrets of Vault a new value, with a time in which both are known
version_added: "0.1.0"
description:
  - Works on names of one key-value path. C(stage) generates a coming value and keeps it as C(<name>_next) beside the
    current one; C(promote) makes it the current one. Between the two, whoever checks the secret is told of both.
  - Values are generated on the Vault host and never returned; SHA-256 digests are, for checkers that store those.
  - Every step may be repeated, also after a run that was killed - a coming value that is there is used, not made anew.
options:
  path:
    description: Path below the mount of the platform's secrets, such as C(apps/agent-api/cache/green).
    type: str
    required: true
  names:
    description: Names of the secrets at that path.
    type: list
    elements: str
    required: true
  operation:
    description: C(stage), C(promote), or C(replace) for both at once where nobody has to know both.
    type: str
    choices: [stage, promote, replace]
    required: true
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Says what would change; digests of values that would be generated are empty.
  diff_mode:
    support: none
    description: Values are not shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Make the coming password of the idle slot's cache user
  signalbox.platform.vault_rotate:
    vault_address: https://10.0.0.9:8200
    path: apps/agent-api/cache/green
    names: [password]
    operation: stage
  register: staged
  no_log: true
"""

RETURN = r"""
digests:
  description: For each name the SHA-256 digests of its values, C(current) and C(next); empty where there is no value.
  returned: success
  type: dict
  sample: {password: {current: 2c26b46b68ffc68ff99b453c1d304134, next: ""}}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._secrets_file import generate
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import CONNECTION_OPTIONS, as_provisioner
from ansible_collections.signalbox.platform.plugins.module_utils._vault_rotation import (
    RotationError,
    digests,
    promote,
    stage,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def rotate(vault, params, check):
    where = f"{paths.KV_MOUNT}/data/{params['path']}"
    found = vault.get(where)
    values = dict((found or {}).get("data") or {})
    wanted = values
    if params["operation"] in ("stage", "replace"):
        # Nothing is generated in check mode: a value that is not kept would be a lie.
        wanted = stage(wanted, params["names"], (lambda length: "?") if check else generate)
    if params["operation"] in ("promote", "replace"):
        wanted = promote(wanted, params["names"])
    changed = wanted != values
    if changed and not check:
        body = {"data": wanted, "options": {"cas": int(found["metadata"]["version"])}}
        vault.post(where, body)
    return {"changed": changed, "digests": digests(values if check else wanted, params["names"])}


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "path": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "operation": {"type": "str", "choices": ["stage", "promote", "replace"], "required": True},
        },
        supports_check_mode=True,
    )
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        result = as_provisioner(module, lambda vault: rotate(vault, module.params, module.check_mode))
    except RotationError as error:
        module.fail_json(msg=f"{module.params['path']}: {error}")
    except VaultError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
