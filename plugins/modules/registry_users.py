#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: registry_users
short_description: Accounts of an image registry
version_added: "0.1.0"
author: Signalbox contributors (@signalbox)
description:
  - Makes a file in C(htpasswd) form hold exactly the given users, with bcrypt hashes.
  - A hash that fits its password stays as it is; users that are not given are removed.
options:
  path:
    description: The file.
    type: path
    required: true
  users:
    description: All users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: User.
        type: str
        required: true
      password:
        description: Password, at most 72 bytes (bcrypt looks at no more).
        type: str
        required: true
  group:
    description: Group that may read the file; its owner is root.
    type: str
    default: root
  rounds:
    description: Cost of new hashes, as a power of two.
    type: int
    default: 10
attributes:
  check_mode:
    support: full
    description: Reports whose lines would change.
  diff_mode:
    support: none
    description: Hashes are not shown.
requirements:
  - bcrypt
"""

EXAMPLES = r"""
- name: Write the accounts
  signalbox.platform.registry_users:
    path: /etc/docker/registry/htpasswd
    group: docker-registry
    users:
      - name: deploy
        password: "{{ registry_password }}"
  no_log: true
"""

RETURN = r"""
added:
  description: Users that are new.
  type: list
  elements: str
  returned: success
updated:
  description: Users whose password changed.
  type: list
  elements: str
  returned: success
removed:
  description: Users that are gone.
  type: list
  elements: str
  returned: success
"""

import grp
import os
import tempfile
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._htpasswd import InvalidUser, check, decide

try:
    import bcrypt

    BCRYPT_ERROR = None
except ImportError:
    BCRYPT_ERROR = traceback.format_exc()


def _fits(password: str, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:
        return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def _write(module: AnsibleModule, path: str, text: str, group: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with open(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o640)
        os.fchown(stream.fileno(), 0, group)
        stream.write(text)
    module.atomic_move(temporary, path, keep_dest_attrs=False)


def _attributes_differ(path: str, group: int) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return True
    return (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (0o640, 0, group)


def main() -> None:
    """Run the module."""
    user_options = {
        "name": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {"type": "list", "elements": "dict", "required": True, "options": user_options},
            "group": {"type": "str", "default": "root"},
            "rounds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    if BCRYPT_ERROR:
        module.fail_json(msg=missing_required_lib("bcrypt"), exception=BCRYPT_ERROR)
    path, users = module.params["path"], {user["name"]: user["password"] for user in module.params["users"]}
    try:
        check(users)
        group = grp.getgrnam(module.params["group"]).gr_gid
    except (InvalidUser, KeyError) as error:
        module.fail_json(msg=f"{path}: {error}")

    def hashed(password: str) -> str:
        return bcrypt.hashpw(password.encode(), bcrypt.gensalt(module.params["rounds"])).decode()

    change = decide(_read(path), users, hashed, _fits)
    differs = change.any or _attributes_differ(path, group)
    if differs and not module.check_mode:
        _write(module, path, change.text, group)
    module.exit_json(changed=differs, added=change.added, updated=change.changed, removed=change.removed)


if __name__ == "__main__":
    main()
