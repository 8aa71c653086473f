#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_audit_info
short_description: Tell who read a secret, from Vault's audit log
version_added: "0.1.0"
description:
  - Reads the audit files on the Vault host, also those that were rotated and compressed, and adds up the reads of the
    given paths by identity and address. An identity is an AppRole, of a host or of the provisioner.
  - A node of a cluster records what it answered itself. Ask every node.
  - What a host did with a secret after it read it is in no log of Vault's.
options:
  paths:
    description: Paths as Vault's API has them, such as C(signalbox/data/apps/agent-api/secrets).
    type: list
    elements: str
    required: true
  files:
    description:
      - Glob patterns of the audit files. All devices record the same, and what several have counts once; name all, for
        one that was full has gaps.
    type: list
    elements: str
    default: [/var/log/openbao/audit.log*]
  since:
    description: Time of RFC 3339, such as C(2026-11-22T00:00:00Z), before which reads are passed over.
    type: str
    default: ""
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
- name: See who read the app's secrets since yesterday
  signalbox.platform.vault_audit_info:
    paths: [signalbox/data/apps/agent-api/secrets]
    since: "2026-11-22T00:00:00Z"
"""

RETURN = r"""
readers:
  description: One entry per path, identity and address, with times and counts.
  returned: success
  type: list
  elements: dict
  sample:
    - path: database/static-creds/agent_api_blue
      identity: host-app1
      address: 10.0.0.21
      first: "2026-11-23T10:20:23Z"
      last: "2026-11-23T10:20:23Z"
      reads: 1
      refused: 0
table:
  description: The same for people.
  returned: success
  type: str
"""

import glob
import gzip

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._vault_audit import readers, table


def lines_of(names):
    for name in names:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(name, "rt", encoding="utf-8", errors="replace") as stream:
            yield from stream


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "list", "elements": "str", "default": ["/var/log/openbao/audit.log*"]},
            "since": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    names = sorted({name for pattern in module.params["files"] for name in glob.glob(pattern)})
    if not names:
        module.fail_json(
            msg=f"No audit file at {', '.join(module.params['files']) or 'any path'}. Remedy: run this on the Vault "
            "host, and name the files of vault_audit_devices."
        )
    try:
        found = readers(lines_of(names), module.params["paths"], module.params["since"])
    except ValueError as error:
        module.fail_json(msg=f"since: {error}")
    except OSError as error:
        module.fail_json(msg=f"The audit log cannot be read: {error}")
    module.exit_json(changed=False, readers=[reader.report() for reader in found], table=table(found))


if __name__ == "__main__":
    main()
