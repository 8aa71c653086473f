# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's side of file_tree: finds the trees, renders them, ships them in one call."""

from __future__ import annotations

import os
import re

from ansible._internal._datatag._tags import Origin
from ansible._internal._templating import _template_vars  # what ansible.builtin.template itself uses
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from jinja2 import TemplateSyntaxError

from ansible_collections.signalbox.platform.plugins.module_utils._file_tree import (
    DIRECTORY,
    LINK,
    FileTreeError,
    complete,
    destination,
    encode,
    entry_from_extra,
    entry_from_rules,
    match_any,
    parse_rules,
    parse_validate,
    shipped_path,
)
from ansible_collections.signalbox.platform.plugins.modules.file_tree import ARGUMENTS

KEEP = ".gitkeep"
INCLUDED = re.compile(r"\{%-?\s*(?:include|import|from|extends)\s+[\"']([^\"']+)[\"']")
VAULT_HEADER = b"$ANSIBLE_VAULT;"
OVERRIDES = {
    "block_start_string": "{%",
    "block_end_string": "%}",
    "variable_start_string": "{{",
    "variable_end_string": "}}",
    "comment_start_string": "{#",
    "comment_end_string": "#}",
    "trim_blocks": True,
    "lstrip_blocks": False,
    "newline_sequence": "\n",
}


class Payload(str):
    """Text that does not show in a debug line."""

    def __repr__(self):
        return f"'<tree of {len(self)} bytes>'"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = {name: spec for name, spec in ARGUMENTS.items() if name != "payload"}
        _result, options = self.validate_argument_spec(argument_spec=arguments)
        try:
            payload = self._payload(options, task_vars or {})
        except FileTreeError as error:
            raise AnsibleActionFail(str(error)) from error
        module_args = {name: options[name] for name in ("dest", "name", "manifest_directory")}
        module_args["payload"] = payload
        try:
            return self._execute_module("signalbox.platform.file_tree", module_args, task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _payload(self, options, task_vars):
        rules, dest = parse_rules(options["rules"]), options["dest"]
        entries = []
        for kind, directory, shown in self._trees(options):
            for relative in walk(directory):
                source, path = os.path.join(directory, relative), shipped_path(relative, kind == "templates")
                if match_any(options["exclude"], "/" + path):
                    continue
                target, name = destination(dest, path), os.path.join(shown, relative)
                entries.append(self._entry(kind, source, target, name, rules, directory, task_vars))
        for number, item in enumerate(options["extra"]):
            entries.append(entry_from_extra(item, dest, rules, number))
        return Payload(encode(complete(entries, dest, rules), parse_validate(options["validate"])))

    # Finding

    def _trees(self, options):
        """The source directories as (kind, absolute path, path as a task would have given it)."""
        given = {"templates": options["src"], "files": options["files_src"]}
        wanted = {kind: source for kind, source in given.items() if source} or {"templates": ".", "files": "."}
        found = []
        for kind, source in wanted.items():
            directory = self._find(kind, source, self._bases(named=bool(given[kind])))
            if directory:
                found.append((kind, directory, "" if source == "." else source))
            elif given[kind]:
                raise FileTreeError(f"there is no directory {kind}/{source} in the search path of this task")
        if not found and not options["extra"]:
            raise FileTreeError("there is neither templates/ nor files/ beside this task, and no extra was given")
        return found

    def _bases(self, named):
        if self._task._role and not named:  # never the playbook's directories because the role happens to have none
            return [self._task._role._role_path]
        return [*self._task.get_search_path(), self._loader.get_basedir()]

    def _find(self, kind, source, bases):
        if os.path.isabs(source):
            return source if os.path.isdir(source) else None
        for base in bases:
            above = [os.path.dirname(base)] if os.path.basename(base) == "tasks" else []
            for candidate in [*above, base]:
                path = os.path.normpath(os.path.join(candidate, kind, source))
                if os.path.isdir(path):
                    return path
        return None

    # Rendering

    def _entry(self, kind, source, target, shown, rules, tree, task_vars):
        if os.path.basename(source) == KEEP:
            return entry_from_rules(rules, os.path.dirname(target), DIRECTORY)
        if os.path.islink(source) and not (kind == "templates" and source.endswith(".j2")):
            return entry_from_rules(rules, target, LINK, target=os.readlink(source))
        if kind == "files":
            return entry_from_rules(rules, target, content=self._read(source))
        return entry_from_rules(rules, target, content=self._render(source, target, shown, tree, task_vars))

    def _read(self, source):
        with open(source, "rb") as handle:
            data = handle.read()
        if data.startswith(VAULT_HEADER):
            with open(self._loader.get_real_file(source, decrypt=True), "rb") as handle:
                data = handle.read()
        return data

    def _render(self, source, target, shown, tree, task_vars):
        """The steps of ansible.builtin.template, in its order; only the tree's root is added to the search path."""
        text = trust_as_template(self._loader.get_text_file_contents(source))
        bases = [*list(task_vars.get("ansible_search_path", [])), self._loader._basedir, os.path.dirname(source), tree]
        searchpath = [path for base in bases for path in (os.path.join(base, "templates"), base)]
        variables = task_vars.copy()
        variables.update(
            _template_vars.generate_ansible_template_vars(
                path=shown,
                fullpath=source,
                dest_path=target,
                include_ansible_managed="ansible_managed" not in variables,
            )
        )
        templar = self._templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)
        try:
            result = templar.template(text, escape_backslashes=False, overrides=dict(OVERRIDES))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{place_of(error, source, searchpath)}: {error.message}", obj=error.obj) from error
        return to_bytes("" if result is None else result, encoding="utf-8", errors="surrogate_or_strict")


def place_of(error, source, searchpath):
    """File and line of a template error; an undefined value is raised after rendering, so its name is looked up."""
    origin = Origin.get_tag(error.obj)
    if origin and origin.path == source and origin.line_num:
        return f"{source} line {origin.line_num}"
    cause = error.__cause__
    while cause:
        if isinstance(cause, TemplateSyntaxError):
            return f"{source} line {cause.lineno}"
        cause = cause.__cause__
    name = re.search(r"'([^']+)' is undefined|has no attribute '([^']+)'", error.message)
    if name:
        for path, line in mentions(name.group(1) or name.group(2), source, searchpath, set()):
            return f"{path} line {line}"
    return source


def mentions(name, source, searchpath, seen):
    """Where a template, or one that it includes, mentions a name within Jinja delimiters."""
    seen.add(source)
    with open(source, encoding="utf-8", errors="replace") as handle:
        text = handle.read()
    word = re.compile(rf"(?<![\w']){re.escape(name)}(?!\w)")
    for block in re.finditer(r"\{[{%](.*?)[%}]\}", text, re.DOTALL):
        found = word.search(block.group(1))
        if found:
            yield source, text.count("\n", 0, block.start(1) + found.start()) + 1
    for included in INCLUDED.findall(text):
        paths = [os.path.join(base, included) for base in searchpath]
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path and path not in seen:
            yield from mentions(name, path, searchpath, seen)


def walk(directory):
    """Relative paths of all files and links; a link to a directory is a link."""
    for current, directories, files in os.walk(directory):
        directories.sort()
        linked = [name for name in directories if os.path.islink(os.path.join(current, name))]
        for name in sorted(files + linked):
            yield os.path.relpath(os.path.join(current, name), directory)
