#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_client_keys
short_description: Move the keys of an app's clients through a rotation, in Vault
version_added: "0.1.0"
description:
  - Works on the record that every edge of the app reads, C(apps/NAME/clients). Keys are generated on the Vault host and
    never returned. Bringing them to the edges is the work of M(signalbox.platform.traffic_keys), after each step.
  - A rotation is O(operation=stage), the edges, O(operation=publish), the edges. At every moment each edge accepts what
    any client may hold, and every step may be repeated, also after a run that was killed.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  operation:
    description:
      - V(begin) completes the record of an app whose clients have no keys yet. What they used so far, the app's own key
        (O(secret)), is accepted for the overlap. Changes nothing afterwards.
      - V(stage) makes the coming key, and takes away a former one whose time is over. While a former key is still
        accepted nothing is made and RV(phase) is V(overlap), because a client may not have the current key yet.
      - V(publish) makes the coming key the current one, and gives the former the overlap.
      - V(revoke) refuses the key O(revoked) from now on, without an overlap. Repeated for the current key, it makes
        another one.
    type: str
    choices: [begin, stage, publish, revoke]
    required: true
  secret:
    description: Name of the app's own key among its secrets; for V(begin) of O(operation), and V(own) of O(revoked).
    type: str
    default: ""
  overlap_seconds:
    description: How long a former key is accepted beside the current one.
    type: int
    default: 86400
  revoked:
    description:
      - Which key has leaked; for O(operation=revoke). In place of the current one comes a new one. V(own) is the app's
        own key (O(secret)), where it is still accepted from clients; V(all) leaves none of those that were there.
    type: str
    choices: [current, previous, own, all]
    default: current
extends_documentation_fragment: signalbox.platform.vault_server
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: none
    description: Keys are not shown.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Make the coming key
  signalbox.platform.vault_client_keys:
    vault_address: https://10.0.0.9:8200
    app: agent-api
    operation: stage
"""

RETURN = r"""
phase:
  description:
    - What a rotation has to do next. V(publish) when a key is staged, V(overlap) while a former key is accepted,
      V(retire) when its time is over, V(stage) otherwise.
  returned: success
  type: str
previous_expires:
  description: End of the former key in UTC; empty when there is none.
  returned: success
  type: str
  sample: "2026-11-24T09:00:00Z"
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _client_keys as keys
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._secrets_file import generate
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_catalogue import read_values
from ansible_collections.signalbox.platform.plugins.module_utils._vault_layout import CLIENT_KEY_LENGTH
from ansible_collections.signalbox.platform.plugins.module_utils._vault_module import (
    CONNECTION_OPTIONS,
    as_provisioner,
    not_there_yet,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import LIBRARY_ERROR


def begun(vault, params, record, now):
    """The first record, from the key that the layout generated; a record that names all is not the first."""
    if set(record) >= {"current", "previous", "previous_expires", "next"}:
        return keys.read(record)
    own = own_key(vault, params)
    if own and not keys.KEY.fullmatch(own):
        raise keys.ClientKeyError(
            f"clients have used {params['secret']} so far, whose value no client's key may have: 16 to 512 printable "
            "ASCII characters without spaces. Remedy: give the secret such a value and release it, then add clients"
        )
    return keys.begin(keys.read(record).current, now, params["overlap_seconds"], own)


def own_key(vault, params):
    return read_values(vault, paths.app_secrets(params["app"])).get(params["secret"], "")


def revoked(vault, params, held):
    which, fresh = params["revoked"], generate(CLIENT_KEY_LENGTH)
    if which == "all":
        return keys.ClientKeys(current=fresh)
    leaked = own_key(vault, params) if which == "own" else held.named()[which]
    return keys.revoke(held, keys.digest(leaked), fresh) if leaked else held


def moved(vault, params, record, now):
    """The keys after the operation."""
    operation = params["operation"]
    if operation == "begin":
        return begun(vault, params, record, now)
    held = keys.read(record)
    if operation == "publish":
        return keys.publish(held, now, params["overlap_seconds"])
    if operation == "revoke":
        return revoked(vault, params, held)
    return held if keys.due(held, now) == "overlap" else keys.stage(held, generate(CLIENT_KEY_LENGTH), now)


def carry_out(vault, params, check):
    now = int(time.time())
    where = f"{paths.KV_MOUNT}/data/{paths.app_clients(params['app'])}"
    found = vault.get(where)
    record = dict((found or {}).get("data") or {})
    if not record and check and params["operation"] == "begin":
        return {"changed": True, "phase": "stage", "previous_expires": ""}
    if not record:
        raise keys.ClientKeyError("there is no key yet. Remedy: run playbooks/site.yml, which makes the first one")
    after = moved(vault, params, record, now)
    changed = after.record() != record
    if changed and not check:
        vault.post(where, {"data": after.record(), "options": {"cas": int(found["metadata"]["version"])}})
    return {
        "changed": changed,
        "phase": keys.due(after, now),
        "previous_expires": after.record()["previous_expires"],
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "app": {"type": "str", "required": True},
            "operation": {"type": "str", "choices": ["begin", "stage", "publish", "revoke"], "required": True},
            "secret": {"type": "str", "default": "", "no_log": False},
            "overlap_seconds": {"type": "int", "default": 86400},
            "revoked": {"type": "str", "choices": ["current", "previous", "own", "all"], "default": "current"},
        },
        supports_check_mode=True,
    )
    if not_there_yet(module):
        module.exit_json(changed=True, phase="stage", previous_expires="")
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=LIBRARY_ERROR)
    try:
        result = as_provisioner(module, lambda vault: carry_out(vault, module.params, module.check_mode))
    except (VaultError, keys.ClientKeyError) as error:
        module.fail_json(msg=f"keys of {module.params['app']}'s clients: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
