#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_gate
short_description: Judge whether pending migrations may run while the present release serves
description:
  - Answers one question. Does any statement of the release now serving change its outcome, or wait longer than it may,
    when the pending revisions run?
  - The verdict is V(run-now), V(hold) or V(undetermined), on each revision and on the set, joined as the migration tool
    will run it. What cannot be decided never passes.
  - Reads SQL with PostgreSQL's own grammar and applies it in thought to the live catalogue, statement by statement. At
    each commit it compares what every statement of the serving release would do before and after.
  - The linter squawk is asked too. It sees text alone, so its remarks are confirmed or set aside and decide nothing.
  - Runs on the control node over what other modules gathered. Touches no host and no database. C(docs/migrations.md)
    has the table of hazards, and what the gate cannot know.
version_added: "0.1.0"
author: [Signalbox contributors (@signalbox)]
attributes:
  check_mode:
    support: full
    description: Never changes anything.
options:
  app:
    description: Name for messages.
    type: str
    default: migration
  image_output:
    description:
      - What the program C(roles/release/files/alembic_revisions.py) printed in the new release's image.
      - From it come the revisions that are pending, their SQL, and how Alembic runs its transactions.
    type: str
  revisions:
    description: The pending steps themselves, in their order, where there is no Alembic.
    type: list
    elements: dict
    suboptions:
      id: {description: Name of the step., type: str, required: true}
      sql: {description: Its SQL., type: str, required: true}
  files:
    description: Files of SQL on the control node, each a step, in their order.
    type: list
    elements: path
  context:
    description:
      - What M(signalbox.platform.migration_context_info) read from the live database.
      - Without it hardly anything but a new table passes.
    type: dict
  serving:
    description: Whether a release serves. Where none does, as before the first one, there is nobody to break or stall.
    type: bool
    default: true
  rehearsal:
    description: RV(signalbox.platform.backup#module:report) of a rehearsal. It may speak against the migration only.
    type: dict
  models_output:
    description: What the same program printed in the serving release's image; mapped tables complete the statements.
    type: str
  transaction:
    description:
      - Whether V(all) pending steps share a transaction, V(each) has its own, or there is V(none).
      - Left out, Alembic's own setting counts; without that, the verdict must be the same for all three.
    type: str
    choices: [all, each, none]
  lock_timeout_seconds:
    description: What the runner sets; 0 for none. Left out, what the owner's role is given counts.
    type: float
  statement_timeout_seconds:
    description: What the runner sets; 0 for none. Left out, what the owner's role is given counts.
    type: float
  plan_caching:
    description:
      - Whether the app's driver keeps prepared statements, which fail when the type of their result changes.
      - Left out, the driver in O(url) tells.
    type: bool
  url:
    description: Template of the app's database URL, without a password.
    type: str
    default: ''
  role:
    description: Login of the serving release, whose rights are looked at.
    type: str
    default: ''
  observed_seconds_minimum:
    description: How long statements must have been counted before a statement that was not seen counts as not there.
    type: int
    default: 3600
  patience_seconds:
    description: How long a statement of the serving release may wait.
    type: float
    default: 10
  small_rows:
    description: Up to so many rows work on a whole table counts as brief.
    type: int
    default: 50000
  small_bytes:
    description: And up to so many bytes.
    type: int
    default: 67108864
  contracts:
    description:
      - Revisions that are left for later, when no slot serves a release that needs what they take away.
      - "So are those whose file has C(contract = True), or a line C(signalbox: contract) in its docstring."
    type: list
    elements: str
    default: []
  accept_no_downgrade:
    description: Whether a revision without a downgrade may pass.
    type: bool
    default: false
  squawk_path:
    description: The program squawk. Left out, the one beside the running Python or on the path.
    type: path
  enforce:
    description: Whether the module fails unless the verdict is V(run-now). The report is in the failure too.
    type: bool
    default: true
requirements:
  - pglast 8 (GPL-3.0-or-later) on the control node
  - squawk-cli 2.70 on the control node; without it the report says so
seealso:
  - module: signalbox.platform.migration_context_info
  - module: signalbox.platform.app_run
"""

EXAMPLES = r"""
- name: Judge what the new image would migrate
  signalbox.platform.migration_gate:
    app: agent-api
    image_output: "{{ listed.stdout }}"
    context: "{{ observed.context }}"
    lock_timeout_seconds: 5
    url: postgresql+asyncpg://{user}:{password}@{host}:{port}/{name}
    role: agent_api_blue
  delegate_to: localhost
  become: false

- name: Judge a file of SQL without failing
  signalbox.platform.migration_gate:
    files: [migrations/0007_add_index.sql]
    context: "{{ observed.context }}"
    transaction: each
    lock_timeout_seconds: 5
    plan_caching: false
    role: agent_api_blue
    enforce: false
  delegate_to: localhost
  become: false
  register: judged
"""

RETURN = r"""
verdict:
  description: V(run-now), V(hold) or V(undetermined), for the whole set.
  returned: always
  type: str
  sample: hold
report:
  description: The whole report.
  returned: always
  type: dict
  contains:
    verdict: {description: The same verdict., type: str}
    revisions: {description: "Each pending revision with C(id) and C(verdict).", type: list}
    deferred: {description: Revisions that are left for later., type: list}
    target: {description: "Where some are, the last one that may run now; empty when none may.", type: str}
    findings:
      description: >-
        What was found, the deciding ones first, each with C(hazard) (its number in docs/migrations.md), C(title),
        C(kind) (C(blue-green), C(lock), C(transaction), C(data) or C(process)), C(verdict), C(object), C(revision),
        C(statement), C(evidence), C(remedy) and C(source).
      type: list
    notes: {description: What could not be covered., type: list}
    covered: {description: What the verdict rests on., type: dict}
to_rehearse:
  description: For O(signalbox.platform.backup#module:rehearsal), the part that is known here; null where it cannot be.
  returned: always
  type: dict
not_rehearsable:
  description: Why it cannot be rehearsed; empty where it can.
  returned: always
  type: str
markdown:
  description: The report for people.
  returned: always
  type: str
html:
  description: The same as one page for a browser, with a picture of the rehearsal's locks.
  returned: always
  type: str
lines:
  description: The report for a screen.
  returned: always
  type: list
  elements: str
"""

import os
import sys

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils._migration_gate import (
    Request,
    decide,
    to_rehearse,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_image import NoTree
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import RUN_NOW, TRANSACTIONS, Settings
from ansible_collections.signalbox.platform.plugins.module_utils._migration_page import page
from ansible_collections.signalbox.platform.plugins.module_utils._migration_rehearsal import NotRehearsable
from ansible_collections.signalbox.platform.plugins.module_utils._migration_report import lines, markdown
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import PGLAST_ERROR
from ansible_collections.signalbox.platform.plugins.module_utils._migration_squawk import Squawk

STEP = {"id": {"type": "str", "required": True}, "sql": {"type": "str", "required": True}}
ARGUMENTS = {
    "app": {"type": "str", "default": "migration"},
    "image_output": {"type": "str"},
    "revisions": {"type": "list", "elements": "dict", "options": STEP},
    "files": {"type": "list", "elements": "path"},
    "context": {"type": "dict"},
    "serving": {"type": "bool", "default": True},
    "rehearsal": {"type": "dict"},
    "models_output": {"type": "str"},
    "transaction": {"type": "str", "choices": list(TRANSACTIONS)},
    "lock_timeout_seconds": {"type": "float"},
    "statement_timeout_seconds": {"type": "float"},
    "plan_caching": {"type": "bool"},
    "url": {"type": "str", "default": ""},
    "role": {"type": "str", "default": ""},
    "observed_seconds_minimum": {"type": "int", "default": 3600},
    "patience_seconds": {"type": "float", "default": 10},
    "small_rows": {"type": "int", "default": 50000},
    "small_bytes": {"type": "int", "default": 67108864},
    "contracts": {"type": "list", "elements": "str", "default": []},
    "accept_no_downgrade": {"type": "bool", "default": False},
    "squawk_path": {"type": "path"},
    "enforce": {"type": "bool", "default": True},
}
_SETTINGS = (
    "transaction", "lock_timeout_seconds", "statement_timeout_seconds", "plan_caching", "role", "patience_seconds",
    "small_rows", "small_bytes", "accept_no_downgrade",
)  # fmt: skip


def steps(wanted):
    """The steps that were given as they are."""
    if wanted["files"] is None:
        return wanted["revisions"]
    found = []
    for path in wanted["files"]:
        with open(path, encoding="utf-8") as handle:
            found.append({"id": os.path.basename(path), "sql": handle.read()})
    return found


def linter(module):
    """The linter, where it is installed."""
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")
    path = module.params["squawk_path"] or (beside if os.path.exists(beside) else module.get_bin_path("squawk"))
    return Squawk(path, lambda command, text: module.run_command(list(command), data=text)) if path else None


def rehearsable(request):
    """What to rehearse, or why that cannot be."""
    try:
        return to_rehearse(request), ""
    except NotRehearsable as error:
        return None, str(error)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("image_output", "revisions", "files")],
        required_one_of=[("image_output", "revisions", "files")],
        supports_check_mode=True,
    )
    if PGLAST_ERROR is not None:
        module.fail_json(msg=missing_required_lib("pglast"), exception=PGLAST_ERROR)
    wanted = module.params
    try:
        request = Request(
            image_output=wanted["image_output"],
            revisions=steps(wanted),
            context=wanted["context"],
            serving=wanted["serving"],
            rehearsal=wanted["rehearsal"],
            models_output=wanted["models_output"],
            url=wanted["url"],
            settings=Settings(**{name: wanted[name] for name in _SETTINGS}),
            observed_seconds_minimum=wanted["observed_seconds_minimum"],
            contracts=wanted["contracts"],
        )
        report = decide(request, linter(module))
        asked, why = rehearsable(request)
    except (NoTree, OSError, UnicodeDecodeError) as error:
        module.fail_json(msg=f"{wanted['app']}: {error}")
    told = lines(report, wanted["app"])
    result = {
        "verdict": report.verdict,
        "report": report.as_dict(),
        "markdown": markdown(report, wanted["app"]),
        "html": page(report, wanted["app"]),
        "lines": told,
        "to_rehearse": asked,
        "not_rehearsable": why,
    }
    if wanted["enforce"] and report.verdict != RUN_NOW:
        module.fail_json(msg="\n".join(told), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
