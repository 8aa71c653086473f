#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_gate
short_description: Judge a slot by what the edge sees of it
version_added: 1.0.0
description:
  - O(gate=drain) waits until nothing is in flight in a slot, requests and streams alike.
  - O(gate=bake) watches a slot for a window and fails when errors or latency break the limits; a breach beyond doubt
    ends it early.
  - Numbers come from the edge's own counters, exact and per slot; a restart of the edge within the window is noticed
    and reported.
  - A gate that does not pass fails, with its whole report.
options:
  app:
    description: Name of the app.
    type: str
    required: true
  gate:
    description: What to check.
    type: str
    choices: [bake, drain]
    required: true
  slot:
    description: The slot that is judged.
    type: str
    choices: [blue, green]
    required: true
  seconds:
    description: Length of the window of O(gate=bake).
    type: float
    default: 60
  deadline_seconds:
    description: How long O(gate=drain) waits.
    type: float
    default: 330
  fail_on_deadline:
    description: When V(false), O(gate=drain) at its deadline reports what was left and does not fail.
    type: bool
    default: true
  limits:
    description: What a release has to keep in O(gate=bake).
    type: dict
    default: {}
    suboptions:
      max_error_rate:
        description: Highest share of requests that end in 5xx or need a second server, 0 to 1.
        type: float
        default: 0.01
      max_p99_milliseconds:
        description: Highest 99th percentile of the time that the slot takes. Streams are left out.
        type: float
        default: 5000
      min_requests:
        description: With fewer requests the verdict is V(inconclusive), which passes with a warning.
        type: int
        default: 20
  require_traffic:
    description: Makes an inconclusive bake fail.
    type: bool
    default: false
  interval_seconds:
    description: Time between two readings; long windows are read less often.
    type: float
    default: 1
  timeout_seconds:
    description: How long one answer of the edge may take.
    type: float
    default: 5
  control_socket:
    description: The edge's control socket.
    type: path
    default: /run/signalbox-edge/control.sock
attributes:
  check_mode:
    support: full
    description: Reads once, judges nothing.
  diff_mode:
    support: none
    description: Never changes anything.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Watch the new slot for a minute
  signalbox.platform.traffic_gate:
    app: agent-api
    gate: bake
    slot: green
    seconds: 60
    limits: {max_error_rate: 0.01, max_p99_milliseconds: 2000, min_requests: 20}

- name: Wait until the old slot is empty
  signalbox.platform.traffic_gate:
    app: agent-api
    gate: drain
    slot: blue
    deadline_seconds: 330
"""

RETURN = r"""
report:
  description: >-
    C(gate), C(app), C(slot), C(verdict) (V(pass), V(fail), V(inconclusive)), C(reason), C(seconds), C(warnings) and
    C(timeline); for drain C(left) (C(in_flight), C(streams_in_flight)), for bake C(limits), C(totals) and
    C(counter_resets).
  returned: always
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._traffic_analysis import Limits
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_edge import CONTROL_SOCKET, EdgeHost
from ansible_collections.signalbox.platform.plugins.module_utils._traffic_gate import Gate, GateError, bake, drain

ARGUMENTS = {
    "app": {"type": "str", "required": True},
    "gate": {"type": "str", "choices": ["bake", "drain"], "required": True},
    "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
    "seconds": {"type": "float", "default": 60},
    "deadline_seconds": {"type": "float", "default": 330},
    "fail_on_deadline": {"type": "bool", "default": True},
    "limits": {
        "type": "dict",
        "default": {},
        "apply_defaults": True,
        "options": {
            "max_error_rate": {"type": "float", "default": 0.01},
            "max_p99_milliseconds": {"type": "float", "default": 5000},
            "min_requests": {"type": "int", "default": 20},
        },
    },
    "require_traffic": {"type": "bool", "default": False},
    "interval_seconds": {"type": "float", "default": 1},
    "timeout_seconds": {"type": "float", "default": 5},
    "control_socket": {"type": "path", "default": CONTROL_SOCKET},
}


def run(module, gate):
    params = module.params
    if params["gate"] == "drain":
        return drain(gate, params["deadline_seconds"])
    return bake(gate, params["seconds"], Limits(require_traffic=params["require_traffic"], **params["limits"]))


def looked_at(gate):
    """Check mode: one reading, no verdict."""
    try:
        gate.read()
    except GateError as error:
        gate.report["warnings"].append(str(error))
    return gate.finish("inconclusive", "check mode judges nothing")


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    edge = EdgeHost(socket=params["control_socket"], timeout=params["timeout_seconds"])
    gate = Gate(
        lambda: edge.snapshot(params["app"]), params["slot"], time.monotonic, time.sleep, params["interval_seconds"]
    )
    report = looked_at(gate) if module.check_mode else run(module, gate)
    report["app"] = params["app"]
    for warning in report["warnings"]:
        module.warn(f"{params['gate']} of {params['app']} {params['slot']}: {warning}")
    tolerated = params["gate"] == "drain" and not params["fail_on_deadline"] and report["left"] is not None
    if report["verdict"] == "fail" and not tolerated:
        module.fail_json(
            msg=f"{params['gate']} of {params['app']} {params['slot']} failed: {report['reason']}", report=report
        )
    module.exit_json(changed=False, report=report)


if __name__ == "__main__":
    main()
