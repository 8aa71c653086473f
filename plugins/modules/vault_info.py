#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_info
short_description: Tell how old the credentials in Vault are
version_added: "0.1.0"
description:
  - For every database login, path of secrets and host of the layout, for the provisioner, the key ring and the
    authority in Vault, and for the certificates that hosts told of, since when it is what it is, and whether it is due
    for a rotation. Reads no value.
options:
  layout:
    description: The layout, as the filter P(signalbox.platform.vault_layout#filter) makes it.
    type: dict
    required: true
  rotation_days:
    description:
      - Kind of credential to days after which it is due; kinds are C(database), C(cache), C(secrets), C(clients),
        C(platform), C(hosts) and C(vault). A kind that is left out has 90 days, C(hosts) 20 of the 30 that an
        identity lives.
      - Certificates (C(certificates), C(given_certificates), C(authority)) are due when less than a third of their life
        is left, and a day has passed since.
    type: dict
    default: {}
  certificates:
    description:
      - Certificates of hosts, each with C(name), C(not_before), C(not_after), and C(given) where the operator brought
        it. One without times is of a host that did not answer, and counts as due.
    type: list
    elements: dict
    default: []
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

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import CertificateError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_ages import ages, table
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_credentials import credentials, of_hosts
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import CONNECTION_OPTIONS, as_provisioner
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "layout": {"type": "dict", "required": True},
            "rotation_days": {"type": "dict", "default": {}},
            "certificates": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    for library, error in (("hvac", LIBRARY_ERROR), ("cryptography", files.LIBRARY_ERROR)):
        if error:
            module.fail_json(msg=missing_required_lib(library), exception=error)
    try:
        found = as_provisioner(module, lambda vault: list(credentials(vault, module.params["layout"])))
    except (VaultError, CertificateError) as error:
        module.fail_json(msg=str(error))
    found += of_hosts(module.params["certificates"])
    result = ages(found, module.params["rotation_days"], datetime.datetime.now(datetime.timezone.utc))
    module.exit_json(changed=False, credentials=result, table=table(result))


if __name__ == "__main__":
    main()
