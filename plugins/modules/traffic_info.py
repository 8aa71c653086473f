#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_info
short_description: Read traffic state and counters of an edge
version_added: 1.0.0
description:
  - Returns the traffic state and the counters of one app or of all apps of the edge that the module runs on.
options:
  app:
    description: Name of the app; without it, all apps of the edge.
    type: str
  timeout_seconds:
    description: How long one answer of the edge may take.
    type: float
    default: 10
  control_socket:
    description: The edge's control socket.
    type: path
    default: /run/signalbox-edge/control.sock
  state_directory:
    description: Directory of the state files.
    type: path
    default: /var/lib/signalbox/edge/state
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
- name: See who is live
  signalbox.platform.traffic_info:
    app: agent-api
  register: traffic
"""

RETURN = r"""
apps:
  description: >-
    By app, C(state) (null when no release was ever live), C(file) (the stored state), C(in_step) (whether both are
    equal), C(counters) and C(client_keys): what the edge holds of the keys of the app's clients, as fingerprints with
    the end of the former key, null when there are none.
  returned: always
  type: dict
state:
  description: State of O(app).
  returned: when O(app) is given
  type: dict
counters:
  description: Counters of O(app) since C(since); C(in_flight) includes streams, C(streams_in_flight) counts them alone.
  returned: when O(app) is given
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._edge_keys_host import EdgeKeysHost
from ansible_collections.signalbox.platform.plugins.module_utils._traffic import TrafficError
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_edge import (
    CONTROL_SOCKET,
    STATE_DIRECTORY,
    EdgeHost,
)

ARGUMENTS = {
    "app": {"type": "str"},
    "timeout_seconds": {"type": "float", "default": 10},
    "control_socket": {"type": "path", "default": CONTROL_SOCKET},
    "state_directory": {"type": "path", "default": STATE_DIRECTORY},
}


def described(edge, app):
    memory, file = edge.read_memory(app), edge.read_file(app)
    return {
        "state": memory,
        "file": file,
        "in_step": memory == file,
        "counters": edge.counters(app),
        "client_keys": client_keys(edge, app),
    }


def client_keys(edge, app):
    """None for an app without keys, and for an edge that knows nothing of keys yet."""
    try:
        return EdgeKeysHost(edge.socket, timeout=edge.http.timeout).read_memory(app)
    except TrafficError:
        return None


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    edge = EdgeHost(params["control_socket"], params["state_directory"], params["timeout_seconds"])
    try:
        names = [params["app"]] if params["app"] else edge.apps()
        apps = {name: described(edge, name) for name in names}
    except (TrafficError, OSError) as error:
        module.fail_json(msg=str(error))
    result = {"apps": apps}
    if params["app"]:
        result.update({key: apps[params["app"]][key] for key in ("state", "counters")})
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
