#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_password
short_description: Set which passwords open a Redis user, without a restart
description:
  - Redis accepts several passwords for one user
    (U(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/)), so a password is rotated by adding
    the new one, letting its clients move, and removing the old one.
  - Passwords are given and kept as SHA-256 digests. The change is made in the role's file of users, which is then
    loaded; connections of other users stay.
  - The next run of the role redis writes the one digest of the password it is given.
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: none
    description: Digests are not shown.
options:
  user:
    description: Name of the user, which the role redis has made.
    type: str
    required: true
  digests:
    description: SHA-256 digests in hexadecimal, one or two, of the passwords that open the user from now on.
    type: list
    elements: str
    required: true
  path:
    description: The role's file of users.
    type: path
    default: /etc/redis/users.acl
  unit:
    description: Unit whose reload loads the file.
    type: str
    default: redis-server.service
"""

EXAMPLES = r"""
- name: Accept the new password besides the old one
  signalbox.platform.redis_password:
    user: agent-api-green
    digests: ["{{ staged.current }}", "{{ staged.next }}"]
  no_log: true
"""

RETURN = r"""
accepted:
  description: How many passwords open the user.
  returned: success
  type: int
"""

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._redis_users import (
    UnknownUser,
    digests_of,
    with_digests,
)


def replace(module, path, text):
    """The file with its owner and mode, at once or not at all."""
    found = os.stat(path)
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chown(temporary, found.st_uid, found.st_gid)
    os.chmod(temporary, found.st_mode & 0o7777)
    module.atomic_move(temporary, path)


def load(module):
    code, _out, err = module.run_command(["systemctl", "reload", module.params["unit"]])
    if code != 0:
        module.fail_json(
            msg=f"Redis did not load its users: {err.strip()[-300:]}. The file {module.params['path']} is in place; "
            f"look at `journalctl -u {module.params['unit']}` and run this again."
        )


def main():
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "digests": {"type": "list", "elements": "str", "required": True, "no_log": True},
            "path": {"type": "path", "default": "/etc/redis/users.acl"},
            "unit": {"type": "str", "default": "redis-server.service"},
        },
        supports_check_mode=True,
    )
    path, user, digests = module.params["path"], module.params["user"], list(dict.fromkeys(module.params["digests"]))
    if not 1 <= len(digests) <= 2 or not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
        module.fail_json(msg=f"digests of {user}: one or two SHA-256 digests of 64 hexadecimal characters are needed.")
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
        changed = digests_of(text, user) != digests
    except FileNotFoundError:
        module.fail_json(msg=f"{path} is not there: run playbooks/site.yml, whose role redis makes it.")
    except UnknownUser:
        module.fail_json(msg=f"{path} has no user {user}: run playbooks/site.yml, whose role redis makes the users.")
    if changed and not module.check_mode:
        replace(module, path, with_digests(text, user, digests))
    # Also where the file was right: a run that was killed may have written it and not loaded it.
    if not module.check_mode:
        load(module)
    module.exit_json(changed=changed, accepted=len(digests))


if __name__ == "__main__":
    main()
