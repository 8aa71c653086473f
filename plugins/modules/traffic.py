#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic
short_description: Decide which slot of an app gets its requests
version_added: 1.0.0
description:
  - Sets weights, mode and releases of one app on the edge that the module runs on, without a reload and without
    touching a connection.
  - The state is written to its file first (temporary file, fsync, rename), then given to the edge's control socket,
    then read back until the edge serves it. When that fails, file and edge are put back and the module fails.
  - What is not given stays as it is. When file and memory differ, both get the newer state with the changes.
options:
  app:
    description: Name of the app, as the edge's configuration has it.
    type: str
    required: true
  state:
    description: V(absent) forgets the app's traffic state; the edge then answers 503 for it.
    type: str
    choices: [present, absent]
    default: present
  weights:
    description: Share of new requests in percent. The two sum to 100; both 0 means that no release is live.
    type: dict
    suboptions:
      blue:
        description: Share of slot blue, 0 to 100.
        type: int
        required: true
      green:
        description: Share of slot green, 0 to 100.
        type: int
        required: true
  mode:
    description:
      - V(open) serves, V(read_only) answers 503 to everything but GET, HEAD and OPTIONS, V(closed) answers 503 to all.
      - The app's health path is served in every mode.
    type: str
    choices: [open, read_only, closed]
  releases:
    description:
      - Release per slot (C(blue), C(green)) for logs and metrics; a slot not named keeps its own, null clears it.
    type: dict
  retry_after_seconds:
    description: What 503 answers of the modes say in C(Retry-After), 0 to 86400.
    type: int
  expect_generation:
    description:
      - Fail unless the state has this generation (0 for no state), so that two operators cannot overwrite each other.
    type: int
  timeout_seconds:
    description: How long the edge may take to serve the new state.
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
    description: Predicts the change; on a host without a running edge it goes by the file alone.
  diff_mode:
    support: full
    description: State before and after.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Move all traffic to green
  signalbox.platform.traffic:
    app: agent-api
    weights: {blue: 0, green: 100}
    releases: {green: 1.1.0}

- name: Give green a tenth
  signalbox.platform.traffic:
    app: agent-api
    weights: {blue: 90, green: 10}

- name: Allow reads only
  signalbox.platform.traffic:
    app: agent-api
    mode: read_only
    retry_after_seconds: 120
"""

RETURN = r"""
before:
  description: State before, null when there was none.
  returned: always
  type: dict
after:
  description: State after, null when it is absent.
  returned: always
  type: dict
switched_milliseconds:
  description: Time from the request to the edge until it confirmed the new state; 0 without a change and in check mode.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._traffic import Change, TrafficError
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_edge import (
    CONTROL_SOCKET,
    STATE_DIRECTORY,
    EdgeHost,
    UnknownApp,
)

SLOT = {"type": "int", "required": True}
ARGUMENTS = {
    "app": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "weights": {"type": "dict", "options": {"blue": SLOT, "green": SLOT}},
    "mode": {"type": "str", "choices": ["open", "read_only", "closed"]},
    "releases": {"type": "dict"},
    "retry_after_seconds": {"type": "int"},
    "expect_generation": {"type": "int"},
    "timeout_seconds": {"type": "float", "default": 10},
    "control_socket": {"type": "path", "default": CONTROL_SOCKET},
    "state_directory": {"type": "path", "default": STATE_DIRECTORY},
}


class PlannedEdge(EdgeHost):
    """For check mode on a host whose edge is not there yet."""

    def read_memory(self, app):
        try:
            return super().read_memory(app)
        except TrafficError:
            return self.read_file(app)


class LeavingEdge(EdgeHost):
    """For an app that is being removed: an edge that has forgotten it already is as wanted."""

    def read_memory(self, app):
        try:
            return super().read_memory(app)
        except UnknownApp:
            return None

    def write_memory(self, app, state):
        try:
            super().write_memory(app, state)
        except UnknownApp:
            if state is not None:
                raise


def wanted(params):
    if params["state"] == "absent":
        return None
    return {key: params[key] for key in ("weights", "mode", "releases", "retry_after_seconds")}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    kind = LeavingEdge if params["state"] == "absent" else PlannedEdge if module.check_mode else EdgeHost
    edge = kind(params["control_socket"], params["state_directory"], params["timeout_seconds"])
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        change = Change(edge, params["app"], now)
        change.expect(params["expect_generation"])
        change.plan(wanted(params))
        took = 0.0
        if change.changed and not module.check_mode:
            took = change.carry_out(time.monotonic, time.sleep, params["timeout_seconds"])
    except (TrafficError, OSError) as error:
        module.fail_json(msg=f"traffic of {params['app']}: {error}")
    module.exit_json(
        changed=change.changed,
        before=change.before,
        after=change.after,
        switched_milliseconds=round(took, 3),
        diff={"before": change.before or {}, "after": change.after or {}},
    )


if __name__ == "__main__":
    main()
