#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: health_verify
short_description: Gate on the health of an HTTP service
version_added: "0.1.0"
author: Signalbox contributors (@signalbox)
description:
  - Asks all O(endpoints) side by side until each gave O(consecutive) good answers in a row and stayed well for
    O(settle_seconds), or until O(deadline_seconds).
  - An answer is good when its status, its version, its body and its latency are. A bad one begins the count anew.
  - Ends at once when O(container) has ended, and fails when it restarted more than O(max_restarts) times since the
    gate began.
  - Fails with a report of every answer, the last body, the container's state and last log lines, and what to do.
  - Redirects are not followed; they are answers with a status of 3xx.
options:
  base_url:
    description: Where the service is, C(http://host:port) or C(https://host:port), with a prefix if need be.
    type: str
  unix_socket:
    description: Unix socket the service answers on, in place of O(base_url).
    type: path
  host:
    description: Value of the C(Host) header, and with HTTPS the name in the certificate.
    type: str
    default: ""
  ca_file:
    description: Certificates to trust in place of the system's, PEM.
    type: path
  endpoints:
    description: What to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path and query.
        type: str
        required: true
      method:
        description: HTTP method.
        type: str
        default: GET
      status:
        description: Statuses that are good.
        type: list
        elements: int
        default: [200]
      expect:
        description: JMESPath expression over the JSON body that must give V(true).
        type: str
        default: ""
      version:
        description: JMESPath expression that gives the running version, to be equal to O(version).
        type: str
        default: ""
      headers:
        description: Request headers.
        type: dict
        default: {}
      body:
        description: Request body.
        type: str
        default: ""
      latency_limit_milliseconds:
        description: Slower answers are not good; 0 is no limit, not given is O(latency_limit_milliseconds).
        type: float
  version:
    description: The version that has to run. Empty compares no version.
    type: str
    default: ""
  consecutive:
    description: Good answers in a row that are needed.
    type: int
    default: 3
  interval_seconds:
    description: Time from one round of requests to the next.
    type: float
    default: 1.0
  starting_interval_seconds:
    description: The same as long as no answer was good, so that a fast start is seen at once.
    type: float
    default: 0.25
  timeout_seconds:
    description: Time limit of one request, from connecting to the end of the body.
    type: float
    default: 5.0
  deadline_seconds:
    description: Time limit of the whole gate.
    type: float
    default: 60.0
  settle_seconds:
    description: How long answers have to stay good after O(consecutive) was reached, for apps that die a few
      seconds after their start.
    type: float
    default: 0.0
  latency_limit_milliseconds:
    description: Slower answers are not good; 0 is no limit.
    type: float
    default: 0.0
  container:
    description: Container on this host to watch.
    type: str
    default: ""
  max_restarts:
    description: Restarts of O(container) that are put up with; each begins the count anew.
    type: int
    default: 0
  log_lines:
    description: Log lines of O(container) in the report of a failure.
    type: int
    default: 30
  engine_socket:
    description: Socket of the container engine.
    type: path
    default: /run/docker.sock
attributes:
  check_mode:
    support: full
    description: Changes nothing. In check mode the endpoints are not asked, since what they should answer may not
      run yet.
  diff_mode:
    support: none
    description: Changes nothing.
requirements:
  - jmespath, for O(endpoints[].expect) and O(endpoints[].version)
seealso:
  - module: signalbox.platform.slot
"""

EXAMPLES = r"""
- name: Gate the health of the idle slot
  signalbox.platform.health_verify:
    base_url: http://10.0.0.11:54001
    endpoints:
      - path: /health
        expect: "status == 'ok' && dependencies.postgres.status == 'ok'"
        version: version
    version: 1.4.0
    consecutive: 3
    settle_seconds: 5
    container: agent-api-green

- name: Smoke-test through the edge
  signalbox.platform.health_verify:
    unix_socket: /run/signalbox-edge/preview.sock
    host: api.example.com
    endpoints:
      - path: /
        expect: "service == 'claude-agent-api'"
        headers: {X-Signalbox-Slot: green}
    consecutive: 1
"""

RETURN = r"""
report:
  description: What the gate saw.
  type: dict
  returned: always, except in check mode
  contains:
    verdict: {description: V(passed) or V(failed)., type: str}
    kind:
      description: >-
        What was wrong, one of V(refused), V(timeout), V(tls), V(network), V(status), V(version), V(expect), V(json),
        V(latency), V(late), V(exited), V(restarted) and V(gone).
      type: str
    reason: {description: The same in words., type: str}
    advice: {description: What to do., type: str}
    seconds: {description: How long the gate took., type: float}
    rounds: {description: Rounds of requests., type: int}
    in_a_row: {description: Good rounds in a row at the end., type: int}
    consecutive: {description: Good rounds in a row that were asked for., type: int}
    timeline:
      description: Every answer (the first thousand) as time, endpoint, status, milliseconds, ok, reason.
      type: list
      elements: dict
    last:
      description: The last answer of each endpoint, with the body's first 2 kB.
      type: list
      elements: dict
    container: {description: State and last log lines of the container; null when the gate passed., type: dict}
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._docker_engine import Engine, EngineError
from ansible_collections.signalbox.platform.plugins.module_utils._expression import CompiledExpression
from ansible_collections.signalbox.platform.plugins.module_utils._health import Endpoint, Settings, message
from ansible_collections.signalbox.platform.plugins.module_utils._health_probe import Probe, Target

try:
    import jmespath
    from jmespath import exceptions as jmespath_exceptions
    from jmespath import visitor as jmespath_visitor

    JMESPATH_ERROR = None
except ImportError:
    JMESPATH_ERROR = traceback.format_exc()

ENDPOINT_OPTIONS = {
    "path": {"type": "str", "required": True},
    "method": {"type": "str", "default": "GET"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "expect": {"type": "str", "default": ""},
    "version": {"type": "str", "default": ""},
    "headers": {"type": "dict", "default": {}},
    "body": {"type": "str", "default": ""},
    "latency_limit_milliseconds": {"type": "float"},
}
ARGUMENTS = {
    "base_url": {"type": "str"},
    "unix_socket": {"type": "path"},
    "host": {"type": "str", "default": ""},
    "ca_file": {"type": "path"},
    "endpoints": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT_OPTIONS},
    "version": {"type": "str", "default": ""},
    "consecutive": {"type": "int", "default": 3},
    "interval_seconds": {"type": "float", "default": 1.0},
    "starting_interval_seconds": {"type": "float", "default": 0.25},
    "timeout_seconds": {"type": "float", "default": 5.0},
    "deadline_seconds": {"type": "float", "default": 60.0},
    "settle_seconds": {"type": "float", "default": 0.0},
    "latency_limit_milliseconds": {"type": "float", "default": 0.0},
    "container": {"type": "str", "default": ""},
    "max_restarts": {"type": "int", "default": 0},
    "log_lines": {"type": "int", "default": 30},
    "engine_socket": {"type": "path", "default": "/run/docker.sock"},
}


def _evaluate(node, value):
    return jmespath_visitor.TreeInterpreter().visit(node, value)


def compile_expression(module: AnsibleModule, text: str):
    """A compiled expression, or None for an empty one."""
    if not text:
        return None
    if JMESPATH_ERROR:
        module.fail_json(
            msg=missing_required_lib("jmespath", reason="for expect and version"), exception=JMESPATH_ERROR
        )
    try:
        return CompiledExpression(jmespath.compile(text).parsed, _evaluate)
    except jmespath_exceptions.JMESPathError as error:
        module.fail_json(msg=f"'{text}' is not a JMESPath expression: {error}")


def endpoint_of(module: AnsibleModule, given: dict) -> Endpoint:
    """One endpoint from its options."""
    limit = given["latency_limit_milliseconds"]
    return Endpoint(
        path=given["path"],
        method=given["method"].upper(),
        statuses=tuple(given["status"]),
        headers={str(name): str(value) for name, value in given["headers"].items()},
        body=given["body"],
        expect=compile_expression(module, given["expect"]),
        version=compile_expression(module, given["version"]),
        latency_limit_milliseconds=module.params["latency_limit_milliseconds"] if limit is None else limit,
    )


def settings_of(module: AnsibleModule) -> Settings:
    """The gate's settings, if it can pass at all."""
    names = (
        "consecutive",
        "interval_seconds",
        "starting_interval_seconds",
        "deadline_seconds",
        "settle_seconds",
        "max_restarts",
    )
    settings = Settings(**{name: module.params[name] for name in names})
    if settings.impossible():
        module.fail_json(msg=settings.impossible())
    return settings


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_one_of=[("base_url", "unix_socket")],
        mutually_exclusive=[("base_url", "unix_socket")],
        supports_check_mode=True,
    )
    given = module.params
    probe = Probe(
        target=Target(given["base_url"] or "", given["unix_socket"] or "", given["host"], given["ca_file"] or ""),
        endpoints=[endpoint_of(module, endpoint) for endpoint in given["endpoints"]],
        settings=settings_of(module),
        version=given["version"],
        timeout_seconds=given["timeout_seconds"],
        container=given["container"],
        engine=Engine(given["engine_socket"]) if given["container"] else None,
        log_lines=given["log_lines"],
    )
    if module.check_mode:
        module.exit_json(changed=False, msg="not asked in check mode")
    try:
        report = probe.run()
    except EngineError as error:
        module.fail_json(msg=str(error))
    if report["verdict"] != "passed":
        module.fail_json(msg=message(report), report=report)
    module.exit_json(changed=False, msg=message(report), report=report)


if __name__ == "__main__":
    main()
