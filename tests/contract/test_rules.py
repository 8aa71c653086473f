"""Each rule passes a small sound checkout and fails the same checkout with one thing broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import rules
from rules import RULES

SOUND = {
    "ansible.cfg": "[defaults]\nprivate_role_vars = true\ninject_facts_as_vars = false\n",
    ".config/molecule/config.yml": "private_role_vars: true\ninject_facts_as_vars: false\n",
    "galaxy.yml": """\
build_ignore: [.git, .cache, .collections, .lab, .venv, ".venv-*", .mypy_cache, .pytest_cache, .ruff_cache,
  .hypothesis, "*/__pycache__", "*.tar.gz", "inventories/*/vault.yml"]
""",
    "playbooks/site.yml": "- name: All\n  hosts: all\n  roles:\n    - role: signalbox.platform.db\n",
    "playbooks/group_vars/all/roles.yml": 'web_password: "{{ vault.web }}"\n',
    "molecule/web/converge.yml": """\
- name: Converge
  hosts: all
  vars_files: [vars.yml]
  tasks:
    - name: Web
      ansible.builtin.include_role:
        name: signalbox.platform.web
""",
    "molecule/web/vars.yml": "web_port: 1\n",
    "molecule/db/converge.yml": "- name: Site\n  ansible.builtin.import_playbook: ../../playbooks/site.yml\n",
    "roles/web/README.md": """\
# Web
<!-- variables -->

| variable | type | default | description |
|---|---|---|---|
| `web_port` | int | `80` | Port. |
| `web_password` | str | **required** | Password. |
| `web_users` | list of dict | `[]` | Users. |
| `web_users[].name` | str | **required** | Name. |

<!-- /variables -->
""",
    "roles/web/meta/main.yml": "galaxy_info: {}\n",
    "roles/web/meta/argument_specs.yml": """\
argument_specs:
  main:
    short_description: Web
    description: Serves.
    options:
      web_port: {type: int, default: 80, description: Port.}
      web_password: {type: str, required: true, no_log: true, description: Password.}
      web_users:
        type: list
        elements: dict
        default: []
        description: Users.
        options:
          name: {type: str, required: true, description: Name.}
""",
    "roles/web/defaults/main.yml": "web_port: 80\nweb_users: []\n",
    "roles/web/vars/main.yml": "__web_unit: web.service\n",
    "roles/web/tasks/main.yml": """\
- name: Configure
  ansible.builtin.import_tasks: configure.yml
  tags: [web, web_configure]
""",
    "roles/web/tasks/configure.yml": """\
- name: Write
  signalbox.platform.file_tree:
    name: web
    src: .
    rules:
      - {match: "/etc/web.conf", secret: true}
    validate:
      - command: [webd, -t, "{root}/etc/web.conf"]
  register: __web_tree
  no_log: true
  diff: false
  notify: Web changed

- name: Set the password
  ansible.builtin.command:
    argv: [passwd]
    stdin: "{{ web_password }}"
  no_log: true
  diff: false
  vars:
    __web_note: "{{ web_port }}"
  # reason: 3 says that it is set already
  failed_when: false
  loop: [1]
  loop_control:
    loop_var: __web_number
""",
    "roles/web/handlers/main.yml": """\
- name: Restart web
  ansible.builtin.systemd_service:
    name: web
  listen: Web changed
""",
    "roles/web/templates/etc/web.conf.j2": "port {{ web_port }}\npassword {{ web_password }}\n",
    "roles/db/README.md": "# DB\n<!-- variables -->\n\nNo variables.\n\n<!-- /variables -->\n",
    "roles/db/meta/main.yml": "galaxy_info: {}\n",
    "roles/db/meta/argument_specs.yml": """\
argument_specs:
  main:
    short_description: DB
    description: Stores.
    options: {}
""",
    "roles/db/defaults/main.yml": "{}\n",
    "roles/db/tasks/main.yml": """\
- name: Serve
  ansible.builtin.include_role:
    name: signalbox.platform.web
  vars:
    web_port: 81
""",
    "plugins/modules/thing.py": '''\
DOCUMENTATION = r"""
module: thing
options:
  name: {description: Name.}
"""
EXAMPLES = "- name: Thing"
RETURN = "name: {}"
module = AnsibleModule(argument_spec={}, supports_check_mode=True)
''',
}
SITE = "playbooks/site.yml"
SPECS = "roles/web/meta/argument_specs.yml"
DEFAULTS = "roles/web/defaults/main.yml"
TASKS = "roles/web/tasks/configure.yml"
HANDLERS = "roles/web/handlers/main.yml"
TEMPLATE = "roles/web/templates/etc/web.conf.j2"
MODULE = "plugins/modules/thing.py"

# rule, file, what is replaced (None: the file goes; "": put in front of it), by what, and what the rule then says
BROKEN = [
    ("yaml_is_readable", TASKS, "name: web\n", "name: web: x\n", "roles/web/tasks/configure.yml"),
    ("role_is_complete", "roles/web/README.md", None, "", "README.md: is missing"),
    ("role_is_complete", "roles/db/meta/main.yml", None, "", "meta/main.yml: is missing"),
    ("role_is_complete", SPECS, None, "", "argument_specs.yml: is missing"),
    ("spec_equals_defaults", DEFAULTS, "80", "81", "is 81 in defaults/main.yml and 80 in the spec"),
    ("spec_equals_defaults", DEFAULTS, "80", '"80"', "is '80' in defaults/main.yml"),
    ("spec_equals_defaults", DEFAULTS, "web_port: 80", "", "none in defaults/main.yml"),
    ("spec_equals_defaults", DEFAULTS, "", "web_more: 1\n", "web_more has a default and no spec"),
    ("spec_equals_defaults", DEFAULTS, "", "web_password: x\n", "is required and yet has a default"),
    ("spec_equals_defaults", SPECS, "default: 80, ", "", "none in the spec"),
    ("spec_is_described", SPECS, ", description: Port.", "", "web_port has no description"),
    ("spec_is_described", SPECS, "type: str, required: true, description: Name", "description: N", "name has no type"),
    ("spec_is_described", SPECS, "        elements: dict\n", "", "web_users has no elements"),
    ("spec_is_described", SPECS, "    description: Serves.\n", "", "entry point main has no description"),
    ("spec_is_described", SPECS, "  main:", "  other:", "has no tasks/other.yml"),
    ("public_names_are_prefixed", DEFAULTS, "", "port: 1\n", "the input port does not begin with web_"),
    ("public_names_are_prefixed", "roles/web/vars/main.yml", "__web_", "web_", "does not begin with __web_"),
    ("internal_names_are_prefixed", TASKS, "__web_tree", "web_tree", "web_tree does not begin"),
    ("internal_names_are_prefixed", TASKS, "loop_var: __web_number", "loop_var: number", "number does not begin"),
    ("internal_names_are_prefixed", TASKS, "__web_note:", "note:", "note does not begin"),
    (
        "internal_names_are_prefixed",
        TASKS,
        "ansible.builtin.command:\n    argv: [passwd]",
        "ansible.builtin.set_fact:\n    fact: 1",
        "fact does not begin",
    ),
    ("internal_names_are_prefixed", "roles/db/tasks/main.yml", "web_port", "cache_port", "cache_port does not begin"),
    ("no_foreign_variables", "roles/db/tasks/main.yml", "81", '"{{ web_users }}"', "web_users belongs to another role"),
    (
        "no_foreign_variables",
        "roles/db/tasks/main.yml",
        "81",
        '"{{ __web_tree }}"',
        "__web_tree belongs to another role",
    ),
    ("no_foreign_variables", "roles/db/templates/x.j2", "", "{% if web_port %}", "web_port belongs to another role"),
    ("no_other_hosts_in_roles", TEMPLATE, "", "{{ groups['db'] }}", "reads groups["),
    ("no_other_hosts_in_roles", TEMPLATE, "", "{{ hostvars.db1 }}", "reads hostvars"),
    ("no_other_hosts_in_roles", TASKS, "  failed_when: false", "  when: \"'db' in groups\"", "reads in groups"),
    (
        "every_notification_is_heard",
        HANDLERS,
        "listen: Web changed",
        "listen: Web changes",
        "nobody listens to 'Web changed'",
    ),
    ("every_notification_is_heard", HANDLERS, "  listen: Web changed\n", "", "listens to no topic"),
    ("every_notification_is_heard", TASKS, "  notify: Web changed\n", "", "nothing notifies 'Web changed'"),
    (
        "every_notification_is_heard",
        TASKS,
        "notify: Web changed",
        "notify: \"{{ ['Web moved'] if x else [] }}\"",
        "nobody listens to 'Web moved'",
    ),
    ("every_role_has_a_scenario", "molecule/db/converge.yml", "site.yml", "none.yml", "no molecule scenario"),
    ("readme_is_current", "roles/web/README.md", "`80`", "`81`", "variables are stale"),
    ("readme_is_current", "roles/web/README.md", "<!-- /variables -->", "", "needs the line"),
    ("every_included_file_exists", "roles/web/tasks/main.yml", "configure", "install", "install.yml does not exist"),
    ("every_included_file_exists", "molecule/web/vars.yml", None, "", "vars.yml does not exist"),
    ("every_included_file_exists", "molecule/db/converge.yml", "site.yml", "none.yml", "none.yml does not exist"),
    (
        "every_included_file_exists",
        "roles/db/tasks/main.yml",
        "platform.web",
        "platform.cache",
        "cache with tasks_from main",
    ),
    (
        "every_included_file_exists",
        TASKS,
        "ansible.builtin.command:\n    argv: [passwd]",
        "ansible.builtin.template:\n    src: none.j2",
        "none.j2 does not exist",
    ),
    (
        "every_shipped_tree_exists",
        TASKS,
        "{root}/etc/web.conf",
        "{root}/etc/webd.conf",
        "/etc/webd.conf does not exist",
    ),
    ("every_shipped_tree_exists", TASKS, "src: .", "src: tree", "templates/tree does not exist"),
    ("no_failure_is_ignored", TASKS, "  failed_when: false", "  ignore_errors: true", "has ignore_errors"),
    ("no_failure_is_ignored", TASKS, "  # reason: 3 says that it is set already\n", "", "needs a comment"),
    ("no_secret_has_a_default", DEFAULTS, "", "web_password: example\n", "web_password holds what looks like a secret"),
    ("no_secret_has_a_default", "inventories/lab/hosts.yml", "", "api_token: abc\n", "api_token holds"),
    ("no_secret_has_a_default", "inventories/lab/hosts.yml", "", "x: hvs.CAES\n", "x holds"),
    (
        "a_skipped_delegation_names_a_host",
        TASKS,
        "",
        """\
- name: Ask
  when: web_other | length > 0
  block:
    - name: Ask there
      ansible.builtin.command: {argv: [ls]}
      delegate_to: "{{ web_other }}"
""",
        "must hold a host",
    ),
    ("secret_inputs_are_declared", SPECS, "no_log: true, ", "", "web_password looks like a secret"),
    ("secret_inputs_are_declared", SPECS, "          name:", "          token:", "web_users.token looks like a secret"),
    (
        "secret_tasks_are_silent",
        TASKS,
        "  no_log: true\n  diff: false\n  vars:",
        "  diff: false\n  vars:",
        "without a literal no_log: true",
    ),
    (
        "secret_tasks_are_silent",
        TASKS,
        "  no_log: true\n  diff: false\n  vars:",
        '  no_log: "{{ web_quiet }}"\n  diff: false\n  vars:',
        "without a literal no_log: true",
    ),
    (
        "secret_tasks_are_silent",
        TASKS,
        "  no_log: true\n  diff: false\n  vars:",
        "  no_log: true\n  vars:",
        "without diff: false",
    ),
    ("secret_tasks_are_silent", TASKS, ", secret: true", "", "no file_tree rule calls it secret"),
    ("every_action_is_fully_named", TASKS, "ansible.builtin.command", "command", "command is not a full name"),
    ("phases_are_tagged", "roles/web/tasks/main.yml", "web_configure", "web_config", "its tags must be"),
    ("phases_are_tagged", TASKS, "", "- ansible.builtin.include_tasks: more.yml\n", "include_tasks without apply"),
    ("playbooks_are_thin", SITE, "- name: All\n  hosts", "- hosts", "has no name"),
    ("playbooks_are_thin", SITE, "  hosts: all\n", "", "has no hosts"),
    ("playbooks_are_thin", SITE, "hosts: all", "hosts: all" + "\n  # filler" * 30, "more than 25"),
    (
        "playbooks_are_thin",
        SITE,
        "  roles:",
        "  tasks: [{name: Run, ansible.builtin.command: {argv: [ls]}}]\n  roles:",
        "command belongs into a role",
    ),
    ("nothing_is_latest", DEFAULTS, "", "web_image: nginx:latest\n", "pins nothing"),
    ("nothing_is_latest", TASKS, "name: web\n", "name: web\n    state: latest\n", "pins nothing"),
    ("modules_are_documented", MODULE, "RETURN =", "RETURNS =", "has no RETURN"),
    ("modules_are_documented", MODULE, "module: thing", "module: other", "describes other"),
    ("modules_are_documented", MODULE, "{description: Name.}", "{type: str}", "option name has no description"),
    ("modules_are_documented", MODULE, "mode=True", "mode=False", "does not support check mode"),
    ("the_package_leaves_out_what_is_generated", "galaxy.yml", '".venv-*", ', "", ".venv-other"),
    ("roles_are_kept_apart", "ansible.cfg", "private_role_vars = true", "", "ansible.cfg: must set private_role_vars"),
    (
        "roles_are_kept_apart",
        ".config/molecule/config.yml",
        "facts_as_vars: false",
        "facts_as_vars: true",
        "config.yml: must",
    ),
]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def broken(file, old, new):
    files = dict(SOUND)
    if old is None:
        del files[file]
    else:
        text = files.get(file, "")
        assert old in text, f"{file} has no {old!r} to break"
        files[file] = text.replace(old, new, 1) if old else new + text
    return files


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_checkout_passes(rule, tmp_path):
    assert rule(write(tmp_path, SOUND)) == []


@pytest.mark.parametrize(("name", "file", "old", "new", "message"), BROKEN)
def test_a_broken_checkout_fails(name, file, old, new, message, tmp_path):
    found = getattr(rules, name)(write(tmp_path, broken(file, old, new)))
    assert any(message in problem for problem in found), found


def test_every_rule_is_seen_to_fail():
    assert {rule.__name__ for rule in RULES} == {case[0] for case in BROKEN}
