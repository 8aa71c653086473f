#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: standby
short_description: Make a PostgreSQL cluster follow another one, promote it, or take a primary out of its place
version_added: "0.1.0"
description:
  - Runs the program that the role P(signalbox.platform.postgresql_standby#role) installs, as root on a database host.
  - O(operation=follow) makes the cluster follow the primary, whatever it is now. A new one becomes a copy, out of the
    backup repository where there is one. A former primary is stopped and made read-only, and follows where all of its
    WAL had reached the new one.
  - O(operation=ready) tells of a standby how many bytes it is behind the primary, or where none answers how old its
    newest commit is, and fails where that is more than accepted.
  - O(operation=leave) stops a primary and fences it; C(standby.signal) in its data directory lets it start read-only
    alone. O(operation=return) takes it back as long as no other host was promoted.
  - O(operation=promote) waits until the standby has all WAL up to O(reach), and makes it the primary.
options:
  operation:
    description: What to do. O(operation=status) changes nothing.
    type: str
    required: true
    choices: [status, follow, ready, leave, return, promote]
  overwrite:
    description: Whether a cluster with databases of its own, or with WAL that the primary never had, is given up.
    type: bool
    default: false
  crashed:
    description: Whether a primary is fenced that did not stop cleanly, with O(operation=leave).
    type: bool
    default: false
  reach:
    description: Position, as O(operation=leave) returns it as C(end) in RV(report), with O(operation=promote).
    type: int
    default: 0
  limit_bytes:
    description: How many bytes the standby may be behind a primary that answers, with O(operation=ready).
    type: int
    default: 16777216
  limit_seconds:
    description: How old its newest commit may be where no primary answers, with O(operation=ready).
    type: int
    default: 60
  accept_lag:
    description: Whether any lag is accepted, with O(operation=ready).
    type: bool
    default: false
  timeout_seconds:
    description: How long it may take.
    type: int
    default: 86400
attributes:
  check_mode:
    support: full
    description: Runs nothing but O(operation=status) and O(operation=ready).
  diff_mode:
    support: none
    description: No file is edited.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Follow the primary
  signalbox.platform.standby:
    operation: follow

- name: Become the primary
  signalbox.platform.standby:
    operation: promote
    reach: "{{ left.report.end }}"
"""

RETURN = r"""
report:
  description:
    - What the program tells. With O(operation=leave) C(end), where the WAL ends, and C(left), whether it was a primary.
    - With O(operation=status), O(operation=ready) and O(operation=promote) C(kind) (V(primary), V(standby) or
      V(stopped)), C(timeline) and C(end), and for a standby C(streaming), C(newest_commit_seconds) and
      C(unreplayed_bytes).
  returned: success
  type: dict
lines:
  description: The same for people.
  returned: success
  type: list
  elements: str
problems:
  description: What needs attention; empty when all is well.
  returned: operation status
  type: list
  elements: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

PROGRAM = "/usr/local/lib/signalbox/standby"


def run(module, operation, *arguments):
    limit = str(module.params["timeout_seconds"])
    command = ["timeout", "--kill-after=30", limit, "python3", PROGRAM, operation, *arguments]
    code, out, error = module.run_command(command, cwd="/", environ_update={"LC_ALL": "C.UTF-8"})
    if code != 0:
        lines = [line for line in error.splitlines() if line.strip()]
        named = [line.partition("standby: ")[2] for line in lines if line.startswith("standby: ")]
        module.fail_json(msg="; ".join(named or lines[-3:] or ["it said nothing"]), code=code)
    return json.loads(out)


def arguments(params):
    if params["operation"] == "follow" and params["overwrite"]:
        return ["--overwrite"]
    if params["operation"] == "leave" and params["crashed"]:
        return ["--crashed"]
    return [f"--reach={params['reach']}"] if params["operation"] == "promote" else []


def changed(operation, report):
    if operation == "follow":
        return bool(report["done"])
    return {"leave": report.get("left"), "promote": report.get("promoted"), "return": True}.get(operation, False)


def lag(report):
    """How far behind, and in which unit that is measured: bytes only where the primary answers."""
    if report["behind_bytes"] >= 0:
        return report["behind_bytes"], f"{report['behind_bytes']} bytes behind {report['behind_whom']}"
    age = report.get("newest_commit_seconds", -1)
    old = f"is {age:.0f} s old" if age >= 0 else "is of an unknown age"
    return age, f"its newest commit {old}, and no primary answers"


def findings(report, name):
    """What is wrong with a host that should be a standby, or nothing."""
    if report["copying"]:
        return [f"standby {name} is half a copy: run site.yml"]
    if report["kind"] != "standby":
        return [f"standby {name}: its server is {'a primary' if report['kind'] == 'primary' else 'stopped'}"]
    if not report["streaming"]:
        age = report["newest_commit_seconds"]
        return [f"standby {name} does not stream from the primary" + (f" since {age:.0f} s" if age >= 0 else "")]
    return []


def judge(module, report):
    if report["kind"] == "primary":
        return ["it is the primary already"]
    amount, text = lag(report)
    limit = module.params["limit_bytes" if report["behind_bytes"] >= 0 else "limit_seconds"]
    if (amount > limit or amount < 0) and not module.params["accept_lag"]:
        remedy = (
            "Where the old primary died at that commit nothing more is lost. Wait, or accept it: -e accept_lag=true"
        )
        module.fail_json(msg=f"Not promoted: {text}, and {limit} are the most. {remedy}", report=report)
    return [text]


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {
                "type": "str",
                "required": True,
                "choices": ["status", "follow", "ready", "leave", "return", "promote"],
            },
            "overwrite": {"type": "bool", "default": False},
            "crashed": {"type": "bool", "default": False},
            "reach": {"type": "int", "default": 0},
            "limit_bytes": {"type": "int", "default": 16777216},
            "limit_seconds": {"type": "int", "default": 60},
            "accept_lag": {"type": "bool", "default": False},
            "timeout_seconds": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    operation = module.params["operation"]
    if not os.path.exists(PROGRAM):
        if module.check_mode:
            module.exit_json(changed=True, report={}, lines=[])
        module.fail_json(msg=f"{PROGRAM} is missing: run the role postgresql_standby on this host first")
    if module.check_mode and operation not in ("status", "ready"):
        module.exit_json(changed=operation != "follow", report={}, lines=[])
    report = run(module, operation, *arguments(module.params))
    if operation == "status":
        name = report["name"]
        problems = findings(report, name)
        well = f"standby {name} streams, {report.get('unreplayed_bytes', 0)} bytes are not replayed yet"
        lines = [f"PROBLEM  {problem}" for problem in problems] or [well]
        module.exit_json(changed=False, report=report, lines=lines, problems=problems)
    lines = judge(module, report) if operation == "ready" else report.get("done", [])
    module.exit_json(changed=bool(changed(operation, report)), report=report, lines=lines)


if __name__ == "__main__":
    main()
