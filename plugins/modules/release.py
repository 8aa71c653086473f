#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Lease, journal and ledger of an app's releases
version_added: "0.1.0"
description:
  - Keeps, on one host (the state host), which slot of an app is live, which releases were good, who works on the app
    now and what every run came to. Moves no traffic and starts nothing.
  - A run takes a lease with O(operation=begin), tells its steps with O(operation=step) and closes with
    O(operation=commit) or O(operation=abort). A run that was killed leaves a journal; the next C(begin) returns it as
    RV(interrupted).
  - A lease that ran out is taken over, and so is at once a lease whose process ran on this controller and is dead.
    Both say so.
  - Whether a lease ran out is judged by the state host's uptime, so a wall clock that jumps steals nothing.
  - Every change is made under one C(flock); files are replaced by rename after C(fsync). A close that is killed midway
    is finished by the next call.
notes:
  - Runs through an action plugin of the same name, which adds owner, run id and identity of the controller, and waits.
  - Files are C(lock.json), C(journal.jsonl), C(ledger.jsonl), C(state.json) in O(directory)/O(app), C(0640 root:root).
  - A file that cannot be read is refused with the command that mends it; nothing is changed then.
  - In check mode nothing is taken or written; RV(state) and RV(previous) are what they would be. A lease held by
    another run fails in check mode too.
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode: {support: full, description: Says what would be written and writes nothing.}
  diff_mode: {support: full, description: "Returns the change of lease, journal or state."}
options:
  app:
    description: Name of the app.
    type: str
    required: true
  operation:
    description:
      - V(begin) takes the lease. With O(kind=rollback) it also resolves the release to return to.
      - V(step) appends to the journal and renews the lease.
      - V(commit) makes O(release) in O(slot) live, writes the ledger, clears the journal, releases the lease.
      - V(abort) writes the ledger with O(result), clears this run's journal, releases the lease.
      - V(finish_interrupted) closes what earlier runs left unfinished into the ledger, inside this run's lease.
      - V(remove) forgets the app and puts its ledger aside under a dated name.
    type: str
    required: true
    choices: [begin, step, commit, abort, finish_interrupted, remove]
  kind:
    description: What the run does. Only read by V(begin).
    type: str
    choices: [deploy, rollback, remove, rotate, restore]
    default: deploy
  release:
    description:
      - The release. For V(begin) with O(kind=rollback) the one to return to, by version or digest; without it the
        previous one.
      - For V(commit) and V(finish_interrupted) it defaults to what V(begin) or a step told.
    type: dict
    suboptions:
      version: {description: "Version.", type: str}
      image: {description: "Repository without tag.", type: str}
      digest: {description: "Digest, C(sha256:…). The identity of a release.", type: str}
      revision: {description: "Revision of the source.", type: str}
  slot:
    description: The slot worked on. Defaults to the idle one at V(begin), later to what was told before.
    type: str
    choices: [blue, green]
  slots:
    description:
      - Change of what the slots hold, a mapping of slot to V(null) (emptied) or to a mapping with O(release).
      - For V(step), V(commit), V(abort) and V(finish_interrupted). The live slot cannot be emptied.
    type: dict
  step:
    description: Name of the step (V(step)), or the step that failed (V(abort), default the last one told).
    type: str
  status:
    description: Whether the step starts or is done. The time between goes to the ledger.
    type: str
    choices: [started, done]
    default: done
  data:
    description: Facts worth keeping, such as a gate's verdict. Never a secret.
    type: dict
    default: {}
  result:
    description:
      - For V(abort) V(failed) (default), V(reverted), or V(restored) for a restore of the database that was done.
      - For V(finish_interrupted) V(reverted) (default) or V(committed).
    type: str
    choices: [failed, reverted, restored, committed]
  reason:
    description: Why, for people. Goes to the ledger.
    type: str
  interrupted_run_id:
    description: Close only this run with V(finish_interrupted); without it all earlier ones.
    type: str
  interrupted_kind:
    description: Close only runs of this O(kind) with V(finish_interrupted), such as V(restore).
    type: str
  lease_seconds:
    description: How long the lease lasts from now. Give each step what it may take, and a margin.
    type: float
    default: 120
  wait_seconds:
    description: How long V(begin) waits for a lease that another run holds.
    type: float
    default: 0
  keep_releases:
    description: Good releases to remember. What stands in a slot and the previous one are kept besides.
    type: int
    default: 5
  directory:
    description: Directory of the release state.
    type: path
    default: /var/lib/signalbox/releases
  run_id:
    description: Identity of the run. The action plugin sets one per playbook process.
    type: str
  owner:
    description: Who runs it, for people. The action plugin sets C(user@host).
    type: str
  controller:
    description: Identity of the controller process. Set by the action plugin.
    type: dict
    default: {}
  takeover_run_id:
    description: A run whose process is proven dead. Set by the action plugin.
    type: str
"""

EXAMPLES = r"""
- name: Take the lease
  signalbox.platform.release:
    app: agent-api
    operation: begin
    kind: deploy
    release: {version: 1.4.0, image: registry.example.com/agent-api, digest: "sha256:0f1e…"}
    wait_seconds: 300
  register: release_begun

- name: Tell that the health gate starts and may take 90 seconds
  signalbox.platform.release:
    app: agent-api
    operation: step
    step: health
    status: started
    lease_seconds: 150

- name: Tell that the live release changed
  signalbox.platform.release:
    app: agent-api
    operation: commit
    slot: "{{ release_begun.idle }}"

- name: Close a failed run, whose slot was emptied
  signalbox.platform.release:
    app: agent-api
    operation: abort
    step: health
    reason: "{{ ansible_failed_result.msg }}"
    slots: {green: null}

- name: Close what a killed run left, after traffic was put back
  signalbox.platform.release:
    app: agent-api
    operation: finish_interrupted
    result: reverted
  when: release_begun.interrupted is not none
"""

RETURN = r"""
run_id: {description: "Identity of the run.", type: str, returned: always}
state:
  description:
    - C(live), C(slots) (slot to null or to C(release) and C(since)), C(releases) (good ones, newest first), C(updated).
  type: dict
  returned: success
idle: {description: "The slot that is not live.", type: str, returned: begin}
target: {description: "The release of this run; for a rollback the one resolved.", type: dict, returned: begin}
target_slot: {description: "The slot in which the target is still warm.", type: str, returned: begin}
previous: {description: "The release a rollback would return to, or null.", type: dict, returned: "begin, closes"}
previous_slot: {description: "The slot in which it is warm, or null.", type: str, returned: as previous}
good: {description: "Releases a rollback may name.", type: list, elements: dict, returned: begin}
interrupted:
  description:
    - The oldest run that did something and was never closed, or null. C(run_id), C(kind), C(owner), C(started),
      C(step), C(status), C(slot), C(from_slot), C(release), C(steps), C(data), C(further) (later unfinished runs).
  type: dict
  returned: begin
stolen: {description: "Whether the lease was taken from another run.", type: bool, returned: begin}
stolen_text: {description: "From whom and why.", type: str, returned: begin}
stolen_from: {description: "The lease that was taken, or null.", type: dict, returned: begin}
lease: {description: "The lease held now.", type: dict, returned: begin and step}
ledger_entry: {description: "What was written to the ledger.", type: dict, returned: commit and other closes}
dropped: {description: "Releases no longer remembered.", type: list, elements: dict, returned: commit}
ledger_file: {description: "Where the ledger was put aside.", type: str, returned: remove}
code:
  description:
    - Why it was refused, one of C(held), C(lost_lease), C(not_good), C(no_previous), C(corrupt), C(missing),
      C(bad_slot), C(guard), C(io).
  type: str
  returned: failure
holder: {description: "The lease in the way.", type: dict, returned: failure with code held}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._release import Refused
from ansible_collections.signalbox.platform.plugins.module_utils._release_operations import Operations, Request
from ansible_collections.signalbox.platform.plugins.module_utils._release_records import release_from
from ansible_collections.signalbox.platform.plugins.module_utils._release_store import DryStore, ReleaseStore

SPEC = {
    "app": {"type": "str", "required": True},
    "operation": {
        "type": "str",
        "required": True,
        "choices": ["begin", "step", "commit", "abort", "finish_interrupted", "remove"],
    },
    "kind": {"type": "str", "choices": ["deploy", "rollback", "remove", "rotate", "restore"], "default": "deploy"},
    "release": {
        "type": "dict",
        "options": {key: {"type": "str"} for key in ("version", "image", "digest", "revision")},
    },
    "slot": {"type": "str", "choices": ["blue", "green"]},
    "slots": {"type": "dict"},
    "step": {"type": "str"},
    "status": {"type": "str", "choices": ["started", "done"], "default": "done"},
    "data": {"type": "dict", "default": {}},
    "result": {"type": "str", "choices": ["failed", "reverted", "restored", "committed"]},
    "reason": {"type": "str"},
    "interrupted_run_id": {"type": "str"},
    "interrupted_kind": {"type": "str"},
    "lease_seconds": {"type": "float", "default": 120},
    "wait_seconds": {"type": "float", "default": 0},
    "keep_releases": {"type": "int", "default": 5},
    "directory": {"type": "path", "default": "/var/lib/signalbox/releases"},
    "run_id": {"type": "str"},
    "owner": {"type": "str"},
    "controller": {"type": "dict", "default": {}},
    "takeover_run_id": {"type": "str"},
}
RESULTS = {"abort": ("failed", "reverted", "restored"), "finish_interrupted": ("reverted", "committed")}
NOT_REQUEST = ("directory", "wait_seconds")


def request_from(params: dict) -> Request:
    values = {key: value for key, value in params.items() if key not in NOT_REQUEST}
    values["release"] = release_from(values["release"])
    values["owner"] = values["owner"] or "unknown"
    return Request(**values)


def run_waiting(operations: Operations, request: Request, wait_seconds: float) -> dict:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return operations.run(request)
        except Refused as refused:
            if refused.code != "held" or time.monotonic() + 1 > deadline:
                raise
        time.sleep(1)


def validate(module: AnsibleModule) -> None:
    params = module.params
    allowed = RESULTS.get(params["operation"], ())
    if params["result"] and params["result"] not in allowed:
        module.fail_json(msg="result={result} does not go with operation={operation}.".format(**params))
    if params["lease_seconds"] <= 0:
        module.fail_json(msg="lease_seconds must be more than 0.")
    if not params["run_id"]:
        module.fail_json(msg="run_id is missing: call the module by its full name, so that its action plugin runs.")


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    validate(module)
    params = module.params
    request = request_from(params)
    store = (DryStore if module.check_mode else ReleaseStore)(params["directory"], params["app"])
    operations = Operations(store)
    try:
        if module.check_mode:
            result = operations.preview(request)
        else:
            result = run_waiting(operations, request, params["wait_seconds"])
    except Refused as refused:
        module.fail_json(msg=str(refused), code=refused.code, run_id=params["run_id"], **refused.details)
    except OSError as error:
        module.fail_json(msg=f"The release state in {store.path} cannot be used: {error}", code="io")
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
