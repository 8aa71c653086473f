#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_info
short_description: Tell how old the credentials in Vault are
version_added: "0.1.0"
description:
  - For every database login and every path of secrets of the layout, when it was last given a new value, and whether it
    is due for a rotation. Reads no value.
options:
  layout:
    description: The layout, as the filter P(signalbox.platform.vault_layout#filter) makes it.
    type: dict
    required: true
  rotation_days:
    description:
      - Kind of credential to days after which it is due; kinds are C(database), C(cache), C(secrets), C(clients) and
        C(platform). A kind that is left out has 90 days.
    type: dict
    default: {}
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Never changes anything.
  diff_mode:
    support: none
    description: Never changes anything.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Ask what is due
  signalbox.platform.vault_info:
    vault_address: https://10.0.0.9:8200
    layout: "{{ signalbox_vault_layout }}"
    rotation_days: {database: 30}
"""

RETURN = r"""
credentials:
  description: One entry each, what is due first. C(age_days) is null where no time is known.
  returned: success
  type: list
  elements: dict
  sample: [{name: database agent_api_blue, kind: database, age_days: 12, due_after_days: 90, due: false}]
table:
  description: The same for people.
  returned: success
  type: str
"""

import datetime

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._vault_ages import Credential, ages, table
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import CONNECTION_OPTIONS, as_provisioner
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def kind_of(path):
    """apps/NAME/cache/SLOT, apps/NAME/secrets, apps/NAME/clients or platform/NAME."""
    parts = path.split("/")
    return parts[0] if parts[0] == "platform" else parts[2]


def credentials(vault, layout):
    found = []
    for role in layout["static_roles"]:
        entry = vault.get(f"{paths.DATABASE_MOUNT}/static-roles/{role}") or {}
        found.append(Credential(f"database {role}", "database", str(entry.get("last_vault_rotation") or "")))
    for path in sorted(set(layout["secrets"]) - {paths.platform("backup")}):  # for the life of its repository
        entry = vault.get(f"{paths.KV_MOUNT}/metadata/{path}") or {}
        found.append(Credential(path, kind_of(path), str(entry.get("updated_time") or "")))
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "layout": {"type": "dict", "required": True},
            "rotation_days": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        found = as_provisioner(module, lambda vault: credentials(vault, module.params["layout"]))
    except VaultError as error:
        module.fail_json(msg=str(error))
    result = ages(found, module.params["rotation_days"], datetime.datetime.now(datetime.timezone.utc))
    module.exit_json(changed=False, credentials=result, table=table(result))


if __name__ == "__main__":
    main()
