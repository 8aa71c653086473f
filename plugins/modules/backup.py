#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Prepare, take, verify and rehearse backups on the host that keeps them
version_added: "0.1.0"
description:
  - Runs the program that the role P(signalbox.platform.pgbackrest#role) installs, as C(postgres).
  - O(operation=prepare) makes the stanza where there is none, proves that a WAL segment reaches the repository, and
    takes a first full backup where there is none.
  - O(operation=drill) restores to a scratch server, looks through it, and removes it.
  - O(operation=copy) takes a versioned copy of the repository, which root alone can write. O(operation=roll_back) makes
    the repository what the newest copy before the moment O(value) has; what it was is kept beside it.
  - O(operation=masked) restores to a scratch server, gives every column of O(database) what O(rules) say, and leaves an
    archive of C(pg_dump) for the user who connects to the host, or root; a column without a rule stops it.
  - O(operation=rehearse) restores the newest state to a scratch server, runs a migration there and back, with the
    statements of the serving release before and after, and removes it. No value leaves the host.
  - On the database host O(operation=mark) makes a restore point, whose name begins with O(value) and tells when it was.
    O(operation=tables) puts O(tables), or all of O(database), as they were at a target, beside the live ones, with a
    scratch server there; nothing live is stopped or changed.
  - On the database host O(operation=restore) puts the cluster itself back to a target. The old one is moved aside, and
    comes back when anything fails. O(operation=rebuild) does so to the latest state, where the cluster is another one
    than that which is backed up, as on a host that was made anew, and nothing elsewhere. O(operation=undo) brings it
    back after a restore that was killed,
    O(operation=forget) removes what restores have kept.
options:
  operation:
    description: What to do.
    type: str
    required: true
    choices: [prepare, backup, verify, drill, status, mark, masked, rehearse, tables, copy, roll_back, restore, rebuild,
      undo, forget]
  kind:
    description:
      - Kind of backup with O(operation=backup), C(full), C(diff) or C(incr); empty for the one that is due.
      - Kind of target with O(operation=restore) and O(operation=tables), as with O(operation=drill); it has to be given
        and not C(random). With O(operation=masked) empty for C(latest).
      - Kind of target with O(operation=drill), C(random), C(latest), C(immediate), C(time), C(xid), C(name) or C(lsn);
        empty for C(random), a moment since the newest backup.
    type: str
    default: ""
  value:
    description: The target's value, such as C(2026-11-23T14:05:00+00:00).
    type: str
    default: ""
  timeline:
    description:
      - Timeline to recover along; 0 for the one that was live at the target.
      - With O(operation=restore) and O(operation=drill).
    type: int
    default: 0
  before:
    description: Moment before which the backup ended, for targets that tell none. With O(operation=restore).
    type: str
    default: ""
  exclusive:
    description: Whether recovery stops just before the target. With O(operation=restore).
    type: bool
    default: false
  accept_smaller:
    description:
      - Whether the repository may have lost half of its size since a copy that is kept, with O(operation=copy). Older
        copies are removed then.
    type: bool
    default: false
  database:
    description: Database to bring back from, with O(operation=tables) and O(operation=masked).
    type: str
    default: ""
  rules:
    description: For each table, what each column gets, with O(operation=masked); see C(docs/backup.md).
    type: dict
    default: {}
  rehearsal:
    description:
      - What to rehearse, RV(signalbox.platform.migration_gate#module:to_rehearse) with C(database), C(owner), C(role),
        C(lock_timeout_seconds), C(statement_timeout_seconds), C(seconds) that all of it may take, and C(held_seconds)
        that a lock may be held that a serving statement waits for.
    type: dict
    default: {}
  tables:
    description:
      - Tables that O(operation=tables) puts into a schema of their own, with schema where it is not C(public). They
        come without foreign keys, triggers and grants, and belong to the database's owner.
      - Left out, the whole database is put beside the live one, under a name of its own.
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: How long it may take.
    type: int
    default: 86400
attributes:
  check_mode:
    support: full
    description: Looks at what there is and runs nothing.
  diff_mode:
    support: none
    description: No file is edited.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Rehearse a restore
  signalbox.platform.backup:
    operation: drill
  register: drill
"""

RETURN = r"""
done:
  description: What was made.
  returned: operation prepare
  type: list
  elements: str
report:
  description: What the drill or the restore did and found; see C(docs/backup.md).
  returned: operations drill, masked, rehearse, tables, copy, roll_back, restore and rebuild
  type: dict
path:
  description: Archive on the host.
  returned: operation masked
  type: str
restore_point:
  description: Name of the restore point.
  returned: operation mark
  type: str
unprotected:
  description: Why what is committed now could not be brought back to now; empty when it could.
  returned: operation status
  type: list
  elements: str
problems:
  description: What needs attention; empty when all is well.
  returned: operation status
  type: list
  elements: str
lines:
  description: For people, the backups that there are, or what the drill, the restore or O(operation=status) found.
  returned: operations other than prepare and mark
  type: list
  elements: str
status:
  description: Stanza, backups and the newest records, as the program's C(status) tells them.
  returned: operations prepare, backup, verify and status
  type: dict
"""

import json
import os
import pwd
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils import _backup_report as report
from ansible_collections.signalbox.platform.plugins.module_utils._handover import NotHandedOver, hand_over

PROGRAM = "/usr/local/lib/signalbox/backup"
SETTINGS = "/etc/signalbox/backup.json"
# What stops and starts services, or writes where postgres must not.
AS_ROOT = ("copy", "roll_back", "restore", "rebuild", "undo", "forget")
FETCHED = "/var/lib/signalbox/fetched"
METRICS = "/usr/local/libexec/signalbox/backup-metrics"


def run(module, *arguments, data=None, before=()):
    """Exit code and output of the program, as postgres and with a time limit."""
    limit = str(module.params["timeout_seconds"])
    command = ["timeout", "--kill-after=30", limit, "runuser", "-u", "postgres", "--", "python3", PROGRAM, *arguments]
    return module.run_command([*before, *command], data=data, cwd="/", environ_update={"LC_ALL": "C.UTF-8"})


def target(params):
    names = ("kind", "value", "timeline", "before", "exclusive", "accept_smaller")
    return {name: params[name] for name in names}


def run_as_root(module, operation):
    """The target goes in on standard input."""
    limit = str(module.params["timeout_seconds"])
    command = ["timeout", "--kill-after=30", limit, "python3", PROGRAM, operation.replace("_", "-")]
    locale = {"LC_ALL": "C.UTF-8"}
    code, out, error = module.run_command(
        command, data=json.dumps(target(module.params)), cwd="/", environ_update=locale
    )
    if code != 0:
        found = json.loads(out).get("findings") if out.startswith("{") else None
        module.fail_json(msg="; ".join(found or [last_words(error)]), code=code)
    answer = json.loads(out)
    if operation in ("copy", "roll_back"):
        module.exit_json(changed=True, report=answer, lines=report.copy_lines(answer))
    changed = "backup" in answer or bool(answer.get("removed")) or "is back" in error
    shown = report.restore_lines(answer) if "backup" in answer else answer.get("removed", [])
    module.exit_json(changed=changed, report=answer, lines=shown)


def mark(module):
    code, out, error = run(module, "mark", module.params["value"] or "restore-point")
    if code != 0:
        module.fail_json(msg=last_words(error), code=code)
    module.exit_json(changed=True, restore_point=json.loads(out)["name"])


def tables(module):
    """Beside a database that serves, so it gets processor and disk when nobody else wants them."""
    asked = {**target(module.params), "database": module.params["database"], "tables": module.params["tables"]}
    code, out, error = run(module, "tables", data=json.dumps(asked), before=("nice", "-n", "10", "ionice", "-c", "3"))
    if code != 0:
        module.fail_json(msg=last_words(error), code=code)
    answer = json.loads(out)
    module.exit_json(changed=True, report=answer, lines=report.tables_lines(answer))


def masked(module):
    """Whoever connects to the host fetches the archive without root's help, which would have to hold it in memory."""
    asked = {name: module.params[name] for name in ("database", "rules")}
    asked.update(target(module.params), kind=module.params["kind"] or "latest")
    code, out, error = run(module, "masked", data=json.dumps(asked), before=("nice", "-n", "10", "ionice", "-c", "3"))
    if code != 0:
        module.fail_json(msg=last_words(error), code=code)
    answer = json.loads(out)
    try:
        owner, receiver = pwd.getpwnam("postgres").pw_uid, int(os.environ.get("SUDO_UID", "0"))
        path = hand_over(answer.pop("path"), owner, FETCHED, receiver)
    except (NotHandedOver, OSError) as error:
        module.fail_json(msg=f"the copy could not be handed over: {error}")
    module.exit_json(changed=True, report=answer, path=path, lines=report.masked_lines(answer))


def rehearse(module):
    """In a scope of its own, for what it runs is the app's: it may not take the host's memory."""
    try:
        with open(SETTINGS, encoding="utf-8") as handle:
            memory = json.load(handle)["drill_memory"]
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{SETTINGS} says nothing of rehearsals ({error!r}). Remedy: run playbooks/site.yml")
    scope = ("systemd-run", "--quiet", "--scope", "--collect", f"--property=MemoryMax={memory}")
    before = (*scope, "nice", "-n", "10", "ionice", "-c", "3")
    code, out, error = run(module, "rehearse", data=json.dumps(module.params["rehearsal"]), before=before)
    if code != 0:
        module.fail_json(msg=f"The migration could not be rehearsed: {last_words(error)}", code=code)
    module.exit_json(changed=False, report=json.loads(out))


def last_words(error):
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("backup: ") or "ERROR" in line]
    return "; ".join((named or lines or ["it said nothing"])[-3:])


def status(module):
    code, out, error = run(module, "status")
    if code != 0:
        module.fail_json(msg=last_words(error), code=code)
    return json.loads(out)


KINDS = {
    "backup": ("", "full", "diff", "incr"),
    "restore": ("latest", "immediate", "time", "xid", "name", "lsn"),
    "masked": ("", "latest", "immediate", "time", "xid", "name", "lsn"),
    "tables": ("latest", "immediate", "time", "xid", "name", "lsn"),
    "drill": ("", "random", "latest", "immediate", "time", "xid", "name", "lsn"),
}


def check_kind(module):
    operation, kind = module.params["operation"], module.params["kind"]
    known = KINDS.get(operation, (kind,))
    if operation == "drill" and kind in ("", "random") and module.params["value"]:
        module.fail_json(msg="value: a random moment takes none; say of what kind the value is, such as time")
    if kind not in known:
        module.fail_json(msg=f"kind: {kind!r} is none of {', '.join(filter(None, known))}, which {operation} knows")


def options(params):
    if params["operation"] == "backup" and params["kind"]:
        return [f"--type={params['kind']}"]
    if params["operation"] == "drill" and params["kind"]:
        given = {name: params[name] for name in ("value", "before", "timeline") if params[name]}
        return [f"--kind={params['kind']}", *(f"--{name}={value}" for name, value in given.items())]
    return []


def main():
    module = AnsibleModule(
        argument_spec={
            "operation": {
                "type": "str",
                "required": True,
                "choices": [
                    "prepare",
                    "backup",
                    "verify",
                    "drill",
                    "status",
                    "mark",
                    "masked",
                    "rehearse",
                    "tables",
                    *AS_ROOT,
                ],
            },
            "kind": {"type": "str", "default": ""},
            "value": {"type": "str", "default": ""},
            "timeline": {"type": "int", "default": 0},
            "before": {"type": "str", "default": ""},
            "exclusive": {"type": "bool", "default": False},
            "accept_smaller": {"type": "bool", "default": False},
            "database": {"type": "str", "default": ""},
            "rules": {"type": "dict", "default": {}},
            "rehearsal": {"type": "dict", "default": {}},
            "tables": {"type": "list", "elements": "str", "default": []},
            "timeout_seconds": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    operation = module.params["operation"]
    check_kind(module)
    if not os.path.exists(PROGRAM):
        if module.check_mode:
            module.exit_json(changed=True, done=[], status={})
        if operation == "undo":
            module.exit_json(changed=False, lines=[])
        module.fail_json(msg=f"{PROGRAM} is missing: run the role pgbackrest on this host first")
    if operation == "status":
        found, now = status(module), time.time()
        module.exit_json(
            changed=False,
            status=found,
            lines=report.lines(found, now),
            problems=report.problems(found, now),
            unprotected=report.unprotected(found, now),
        )
    acts = {"mark": mark, "masked": masked, "rehearse": rehearse, "tables": tables}
    if operation in acts:
        if module.check_mode:
            module.exit_json(changed=True, lines=[])
        acts[operation](module)
    if operation in AS_ROOT:
        if module.check_mode:
            module.exit_json(changed=True, lines=[])
        run_as_root(module, operation)
    if module.check_mode:
        module.exit_json(changed=operation != "prepare", done=[], status=status(module))
    code, out, error = run(module, operation, *options(module.params))
    module.run_command([METRICS])
    answer = json.loads(out) if out.strip().startswith("{") else {}
    if operation == "drill" and answer:
        findings = answer.get("findings") or []
        if findings:
            module.fail_json(msg="The drill failed: " + "; ".join(findings), report=answer)
        module.exit_json(changed=True, report=answer, lines=report.drill_lines(answer))
    if code != 0:
        module.fail_json(msg=last_words(error), code=code)
    if operation == "prepare":
        module.exit_json(changed=bool(answer["done"]), done=answer.pop("done"), status=answer)
    found = status(module)
    module.exit_json(changed=operation == "backup", status=found, lines=list(map(report.backup_line, found["backups"])))


if __name__ == "__main__":
    main()
