#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_login
short_description: Prove that users can log in to Redis over verified TLS
description:
  - Logs in over TCP as each user, with the server's certificate verified against a CA and a name, sends C(PING), and
    fails with the list of those that were refused. Needs nothing but Python.
version_added: "0.1.0"
extends_documentation_fragment: [signalbox.platform.login]
options:
  port:
    description: TLS port.
    type: int
    default: 6379
  passwords:
    description: User name to password.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Log in as the application
  signalbox.platform.redis_login:
    address: 10.0.0.5
    server_name: data1.internal
    ca_path: /etc/signalbox/tls/ca.crt
    passwords: {agent_api_blue: "{{ password }}"}
  no_log: true
"""

RETURN = r"""
accepted:
  description: Users that logged in.
  returned: always
  type: list
  elements: str
refused:
  description: Users that did not, with the reason.
  returned: always
  type: list
  elements: str
"""

import ssl

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._service_login import Server, redis_refusal


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "server_name": {"type": "str", "default": ""},
            "ca_path": {"type": "path", "required": True},
            "passwords": {"type": "dict", "required": True, "no_log": True},
            "timeout_seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    server = Server(given["address"], given["port"], given["ca_path"], given["server_name"], given["timeout_seconds"])
    try:
        context = ssl.create_default_context(cafile=given["ca_path"])
    except OSError as error:
        module.fail_json(msg=f"The CA's certificates in {module.params['ca_path']} cannot be read: {error}")
    accepted, refused = [], []
    for user, password in sorted(given["passwords"].items()):
        reason = redis_refusal(context, server, user, password)
        if reason is None:
            accepted.append(user)
        else:
            refused.append(f"{user}: {reason}")
    if refused:
        module.fail_json(msg="Redis refused over TLS: " + "; ".join(refused), accepted=accepted, refused=refused)
    module.exit_json(changed=False, accepted=accepted, refused=[])


if __name__ == "__main__":
    main()
