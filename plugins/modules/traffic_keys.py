#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_keys
short_description: Set the keys of an app's clients on an edge
version_added: 0.1.0
description:
  - Gives the edge that the module runs on the keys that an app's clients may present, and the key that the app itself
    takes in each slot, which the edge puts in their place. No reload, no connection is touched. The edge holds hashes
    of the clients' keys only.
  - A copy sealed to the host is written first, then the file on tmpfs that nginx loads at its start, then the edge's
    memory, which is read back as fingerprints until it holds the keys. When that fails, all three are put back and the
    module fails.
  - What is not given stays as it is. Values never appear in results, C(--diff) or logs; fingerprints are salted per
    edge and app.
options:
  app:
    description: Name of the app, as the edge's configuration has it.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the app's keys, sealed copy included; an edge that checks keys then answers 503 for the app.
    type: str
    choices: [present, absent]
    default: present
  clients:
    description: All keys that are accepted from now on. Each has 16 to 512 printable ASCII characters without spaces.
    type: dict
    suboptions:
      current:
        description: The key that clients are to use.
        type: str
        required: true
      previous:
        description: The former key, accepted until O(clients.previous_expires); empty when there is none.
        type: str
      previous_expires:
        description:
          - When the former key ends, in UTC as V(2026-11-24T09:00:00Z) or as epoch second. The edge itself refuses it
            then.
        type: str
      next:
        description: A coming key, accepted already while it is being brought to every edge; empty when there is none.
        type: str
  internal:
    description:
      - The app's own key by slot, as the slot was started with it. A slot that is not named keeps its own.
    type: dict
    suboptions:
      blue:
        description: Key that the app takes in slot blue.
        type: str
      green:
        description: Key that the app takes in slot green.
        type: str
  keep_internal:
    description:
      - Leave the own key of a slot that has one, whatever O(internal) or O(secret_sources) says. For runs that start no
        slot.
    type: bool
    default: false
  secret_sources:
    description:
      - Where in Vault this host reads the values itself, in place of O(clients) and O(internal). Names are C(current),
        C(previous), C(previous_expires) and C(next), which come together, and C(blue) and C(green). The filter
        P(signalbox.platform.client_key_sources#filter) makes it from an app spec.
    type: dict
  fetch_program:
    description: Program of the role vault_client that reads O(secret_sources).
    type: path
    default: /usr/local/libexec/signalbox/host-vault
  files_only:
    description:
      - Write the files and do not ask the edge. For a host whose edge does not run, or does not check keys yet; nginx
        reads the file when it needs the app's keys for the first time after its start.
    type: bool
    default: false
  timeout_seconds:
    description: How long the edge may take to hold the new keys.
    type: float
    default: 10
  control_socket:
    description: The edge's control socket.
    type: path
    default: /run/signalbox-edge/control.sock
  keys_directory:
    description: Directory of the files that nginx loads, on tmpfs.
    type: path
    default: /run/signalbox/edge/keys
  sealed_directory:
    description: Directory of the copies that are sealed to the host.
    type: path
    default: /var/lib/signalbox/edge/keys
attributes:
  check_mode:
    support: full
    description: Predicts the change; on a host without a running edge it goes by the files alone.
  diff_mode:
    support: full
    description: Fingerprints before and after.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Accept the coming key besides the current one
  signalbox.platform.traffic_keys:
    app: agent-api
    clients: {current: "{{ keys.current }}", next: "{{ keys.next }}"}
  no_log: true

- name: Tell the edge which key the app takes in the slot that is about to start
  signalbox.platform.traffic_keys:
    app: agent-api
    internal: {green: "{{ app_key }}"}
  no_log: true

- name: Let the edge fetch the keys itself
  signalbox.platform.traffic_keys:
    app: agent-api
    secret_sources: "{{ spec | signalbox.platform.client_key_sources(['green']) }}"
"""

RETURN = r"""
before:
  description: Generation, fingerprints by name and slot, and end of the former key before; null when there was nothing.
  returned: success
  type: dict
after:
  description: The same after; null when the keys are absent.
  returned: success
  type: dict
in_force:
  description: Whether the edge was asked and holds the keys; false in check mode with a change and with O(files_only).
  returned: success
  type: bool
switched_milliseconds:
  description: Time from the request to the edge until it confirmed the keys; 0 without a change and in check mode.
  returned: success
  type: float
"""

import contextlib
import fcntl
import os
import secrets
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import ACCEPTED, ClientKeyError, read
from ansible_collections.signalbox.platform.plugins.module_utils._edge_keys import KeyChange, Wanted, describe
from ansible_collections.signalbox.platform.plugins.module_utils._edge_keys_host import (
    KEYS_DIRECTORY,
    SEALED_DIRECTORY,
    EdgeKeysHost,
)
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import (
    DENIED,
    HOST_VAULT,
    MISSING,
    NOT_ENROLLED,
    NOT_INSTALLED,
    SourceError,
    ask_vault,
)
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import SLOTS, TrafficError
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_edge import CONTROL_SOCKET, UnknownApp

CLIENT_NAMES = (*ACCEPTED, "previous_expires")
ARGUMENTS = {
    "app": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "clients": {
        "type": "dict",
        "options": {
            "current": {"type": "str", "required": True, "no_log": True},
            "previous": {"type": "str", "no_log": True},
            "previous_expires": {"type": "str", "no_log": False},
            "next": {"type": "str", "no_log": True},
        },
    },
    "internal": {
        "type": "dict",
        "options": {slot: {"type": "str", "no_log": True} for slot in SLOTS},
    },
    "keep_internal": {"type": "bool", "default": False},
    "secret_sources": {"type": "dict", "no_log": False},
    "fetch_program": {"type": "path", "default": HOST_VAULT},
    "files_only": {"type": "bool", "default": False},
    "timeout_seconds": {"type": "float", "default": 10},
    "control_socket": {"type": "path", "default": CONTROL_SOCKET},
    "keys_directory": {"type": "path", "default": KEYS_DIRECTORY, "no_log": False},
    "sealed_directory": {"type": "path", "default": SEALED_DIRECTORY},
}


# A run in check mode comes before whatever would have given the host its identity, its rights or the first key.
UNPLANNED = (NOT_INSTALLED, NOT_ENROLLED, DENIED, MISSING)
LOCK_DIRECTORY = "/run"  # root's own


@contextlib.contextmanager
def alone(app):
    """Two runs at once would put each other's keys back."""
    with open(os.path.join(LOCK_DIRECTORY, f"signalbox-keys-{app}"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class PlannedEdge(EdgeKeysHost):
    """For check mode on a host whose edge is not there yet."""

    def read_memory(self, app):
        try:
            return super().read_memory(app)
        except TrafficError:
            return None


class LeavingEdge(EdgeKeysHost):
    """For an app that is being removed: an edge that has forgotten it already is as wanted."""

    def read_memory(self, app):
        try:
            return super().read_memory(app)
        except UnknownApp:
            return None

    def write_memory(self, app, record):
        try:
            super().write_memory(app, record)
        except UnknownApp:
            if record is not None:
                raise


def fetched(module, sources):
    """Values from Vault by the host's own identity; they stand on a pipe only."""
    unknown = sorted(set(sources) - {*CLIENT_NAMES, *SLOTS})
    if unknown:
        module.fail_json(msg=f"secret_sources: unknown names {', '.join(unknown)}")
    values = ask_vault(["fetch"], sources, module.params["fetch_program"])
    module.no_log_values.update(str(value) for name, value in values.items() if value and name != "previous_expires")
    return values


def wanted(module):
    params = module.params
    if params["state"] == "absent":
        return None
    if params["secret_sources"]:
        values = fetched(module, params["secret_sources"])
        clients = {name: values[name] for name in CLIENT_NAMES if name in values} or None
        internal = {slot: values[slot] for slot in SLOTS if slot in values}
    else:
        clients = params["clients"]
        internal = {slot: key for slot, key in (params["internal"] or {}).items() if key}
    return Wanted(None if clients is None else read(clients), internal or None, params["keep_internal"])


def host_of(module):
    params = module.params
    kind = LeavingEdge if params["state"] == "absent" else PlannedEdge if module.check_mode else EdgeKeysHost
    directories = (params["keys_directory"], params["sealed_directory"])
    return kind(params["control_socket"], *directories, params["timeout_seconds"])


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[("secret_sources", "clients"), ("secret_sources", "internal")],
    )
    params = module.params
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with alone(params["app"]):
            change = KeyChange(host_of(module), params["app"], now, secrets.token_hex(16), params["files_only"])
            change.plan(wanted(module))
            took = 0.0
            if change.changed and not module.check_mode:
                took = change.carry_out(time.monotonic, time.sleep, params["timeout_seconds"])
    except (ClientKeyError, SourceError, TrafficError, OSError) as error:
        if module.check_mode and getattr(error, "code", 0) in UNPLANNED:
            module.exit_json(changed=True, before=None, after=None, in_force=False, switched_milliseconds=0.0)
        module.fail_json(msg=f"keys of {params['app']}: {error}")
    before, after = describe(change.before), describe(change.after)
    module.exit_json(
        changed=change.changed,
        before=before,
        after=after,
        in_force=not params["files_only"] and not (module.check_mode and change.changed),
        switched_milliseconds=round(took, 3),
        diff={"before": before or {}, "after": after or {}},
    )


if __name__ == "__main__":
    main()
