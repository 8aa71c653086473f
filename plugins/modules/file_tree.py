#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: file_tree
short_description: Render and ship a whole tree of files in one call
version_added: "0.1.0"
description:
  - A role's C(templates/) and C(files/) mirror the target's filesystem; one task makes the target equal to them.
  - Templates are rendered on the controller exactly as M(ansible.builtin.template) does it. Files are copied byte by
    byte,
    links stay links.
  - All files are prepared and validated first; then only those that differ are replaced, each atomically. If one
    replacement
    fails, the earlier ones are put back.
options:
  src:
    description:
      - Directory below the role's C(templates/) (below the playbook's outside of a role), or an absolute path.
      - A suffix C(.j2) is dropped; files without it are rendered too. An ending C(.gitkeep) makes an empty directory.
      - A role's defaults are its own two directories; a directory that is named is looked up as
        M(ansible.builtin.template) does.
      - When neither O(src) nor O(files_src) is given, both are V(.), each as far as it exists. When one of them is
        given, only that one is used.
    type: str
  files_src:
    description: Like O(src), below C(files/), copied as is. Files encrypted with ansible-vault are decrypted.
    type: str
  dest:
    description: Absolute directory on the target that the tree is laid over.
    type: path
    default: /
  name:
    description:
      - Name of the manifest, unique on the target. It records what was placed; whatever it records and the tree no
        longer
        holds is removed, with the directories made for it that are now empty. Without a name nothing is ever removed.
    type: str
  rules:
    description:
      - Owner, group and mode by destination path. The first rule that matches wins; without one, files are
        V(root:root) V(0644)
        and directories V(0755).
      - A directory that exists keeps its owner and mode, unless this tree made it or a rule names it without wildcards.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description: Pattern in fnmatch notation over the whole destination path; C(*) also matches C(/).
        type: str
        required: true
      owner:
        description: Name or number.
        type: str
        default: root
      group:
        description: Name or number.
        type: str
        default: root
      mode:
        description: Quoted octal text. V(0644) unless O(rules[].secret), then V(0600).
        type: raw
      directory_mode:
        description: Mode of directories that match; unset, it is O(rules[].mode) with the right to enter for whoever
          may read.
        type: raw
      secret:
        description: Never shows content in a diff.
        type: bool
        default: false
  exclude:
    description: Patterns over the destination path (before O(dest) is prepended); what matches is not shipped, but
      may be included by templates.
    type: list
    elements: str
    default: []
  extra:
    description: Generated files, links or directories beside the trees; give exactly one of C(content), C(link),
      C(directory).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below O(dest).
        type: str
        required: true
      content:
        description: Text of a file.
        type: str
      link:
        description: Target of a symbolic link.
        type: str
      directory:
        description: Make a directory, with the given owner and mode even if it exists.
        type: bool
        default: false
      owner:
        description: Overrides the rules.
        type: str
      group:
        description: Overrides the rules.
        type: str
      mode:
        description: Overrides the rules. Quoted octal text.
        type: raw
      secret:
        description: Overrides the rules.
        type: bool
  validate:
    description:
      - Commands run against a private staged copy of the whole tree before anything is replaced, when anything is to be
        replaced or removed. All must end with 0. In check mode a command that is not installed is passed over.
      - In the directories that the tree writes to, the staged copy shows the host's other files as links, so that a
        configuration finds the distribution's files by relative path. An absolute path in
        a file still means the host's file.
    type: list
    elements: dict
    default: []
    suboptions:
      command:
        description: Program and arguments; C({root}) or C(%s) stands for the staged copy's root.
        type: list
        elements: str
        required: true
  manifest_directory:
    description: Where manifests are kept.
    type: path
    default: /var/lib/signalbox/manifests
  payload:
    description: Set by the action plugin, not to be given.
    type: str
attributes:
  check_mode:
    support: full
    description: Predicts exactly, writes nothing outside of a private staging directory.
  diff_mode:
    support: full
    description: Contents and attributes before and after; secret and binary content is left out.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Write the configuration
  signalbox.platform.file_tree:
    name: redis
    rules:
      - {match: /etc/redis/users.acl, group: redis, mode: "0640", secret: true}
      - {match: /etc/redis/*, group: redis, mode: "0640"}
    validate:
      - command: [nginx, -t, -c, "{root}/etc/nginx/nginx.conf"]
"""

RETURN = r"""
changed_paths:
  description: Paths made or changed, or to be in check mode; directories included.
  returned: success
  type: list
  elements: str
removed_paths:
  description: Paths removed because they left the tree, or to be in check mode.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    FileTreeError,
    decode,
    expand_command,
)
from ansible_collections.signalbox.platform.plugins.module_utils._file_tree_run import Run

RULE_SPEC = {
    "match": {"type": "str", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "raw"},
    "directory_mode": {"type": "raw"},
    "secret": {"type": "bool", "default": False},
}
EXTRA_SPEC = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str"},
    "link": {"type": "str"},
    "directory": {"type": "bool", "default": False},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "raw"},
    "secret": {"type": "bool"},
}
COMMAND_SPEC = {"command": {"type": "list", "elements": "str", "required": True}}
ARGUMENTS = {
    "src": {"type": "str"},
    "files_src": {"type": "str"},
    "dest": {"type": "path", "default": "/"},
    "name": {"type": "str"},
    "rules": {"type": "list", "elements": "dict", "default": [], "options": RULE_SPEC},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "extra": {"type": "list", "elements": "dict", "default": [], "options": EXTRA_SPEC},
    "validate": {"type": "list", "elements": "dict", "default": [], "options": COMMAND_SPEC},
    "manifest_directory": {"type": "path", "default": "/var/lib/signalbox/manifests"},
    "payload": {"type": "str", "no_log": True},
}


def validate(module, run, commands):
    with run.stage("/run" if os.access("/run", os.W_OK) else module.tmpdir) as root:
        for command in commands:
            argv = expand_command(command, root)
            program = module.get_bin_path(argv[0])
            if program is None:
                if module.check_mode:
                    continue
                raise FileTreeError(f"validate: there is no program {argv[0]} on the host")
            code, out, err = module.run_command([program, *argv[1:]], cwd=root)
            if code != 0:
                module.fail_json(
                    msg=f"validate: {' '.join(command)} ended with {code}, nothing was replaced: {err or out}",
                    command=command,
                    rc=code,
                    stdout=out,
                    stderr=err,
                )


def work(module, entries, commands):
    run = Run(entries, module.params["dest"], module.params["name"], module.params["manifest_directory"])
    with run.lock(writing=not module.check_mode):
        run.plan()
        if run.pending and commands:
            validate(module, run, commands)
        if not module.check_mode:
            run.execute()
    result = {"changed": run.pending, "changed_paths": run.changed_paths(), "removed_paths": list(run.removed)}
    if module._diff:
        result["diff"] = run.diffs()
    return result


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if not module.params["payload"]:
        module.fail_json(
            msg="file_tree works through its action plugin: call it as a task's signalbox.platform.file_tree"
        )
    try:
        entries, commands = decode(module.params["payload"])
        result = work(module, entries, commands)
    except (FileTreeError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
