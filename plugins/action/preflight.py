# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Runs the checks before an operation on the control node, once for the whole play, without touching any host."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version
from ansible.utils.vars import load_extra_vars

from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import ROOT, parse_apps
from ansible_collections.signalbox.platform.plugins.module_utils._preflight import (
    Situation,
    Verdict,
    check,
)
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_inventory import Host, Inventory
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_options import NAMES
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import line
from ansible_collections.signalbox.platform.plugins.module_utils._spec_expressions import HAS_JMESPATH, default_compiler
from ansible_collections.signalbox.platform.plugins.modules.preflight import ARGUMENTS
from ansible_collections.signalbox.platform.plugins.plugin_utils._given_certificates import faults
from ansible_collections.signalbox.platform.plugins.plugin_utils._inventory_files import variables_of_all
from ansible_collections.signalbox.platform.plugins.plugin_utils._origin import with_origins


class ActionModule(ActionBase):
    """The action; see the module of the same name for its documentation."""

    # One verdict for the play: the checks look at the whole inventory, not at a host.
    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        verdict = check(self._situation(arguments, variables), default_compiler())
        problems = with_origins(verdict.problems, arguments["apps"], ROOT)
        verdict = dataclasses.replace(verdict, problems=tuple(problems))
        for warning in verdict.warnings:
            self._display.warning(line(warning))
        result.update(_report(verdict))
        if verdict.problems:
            # The numbered message is shown with its line breaks; the result, for programs and for other callbacks,
            # stays free of them and is printed one problem a line.
            result["_ansible_verbose_always"] = True
            raise AnsibleActionFail(verdict.message, result=result)
        return result

    def _situation(self, arguments: dict[str, Any], variables: dict[str, Any]) -> Situation:
        apps = arguments["apps"] if arguments["apps"] is not None else {}
        # Other operations write no certificate, and may run where the files are not.
        served = parse_apps(apps)[0] if arguments["operation"] in ("site", "rebuild") else {}
        return Situation(
            operation=arguments["operation"],
            apps=apps,
            inventory=_inventory(variables),
            app=arguments["app"],
            version=arguments["version"],
            strategy=arguments["strategy"],
            extra_vars=tuple(load_extra_vars(self._loader)),
            values={name: self._templar.template(variables[name]) for name in NAMES if name in variables},
            options=tuple(arguments["options"]),
            secrets=_secret_names(arguments["secrets"]),
            registry=arguments["registry"],
            authority=arguments["authority"],
            variables=variables_of_all(
                self._loader,
                variables.get("ansible_inventory_sources") or (),
                str(variables.get("playbook_dir") or ""),
            ),
            certificate_faults=faults(self._loader, served, str(variables.get("inventory_dir") or "")),
            core_version=core_version,
            has_jmespath=HAS_JMESPATH,
            has_pglast=importlib.util.find_spec("pglast") is not None,
        )


def _report(verdict: Verdict) -> dict[str, Any]:
    report: dict[str, Any] = {"changed": False, "problems": [line(problem) for problem in verdict.problems]}
    if verdict.problems:
        report["msg"] = verdict.headline
        return report
    warned = [line(problem) for problem in verdict.warnings]
    return {**report, "app": verdict.app, "apps": list(verdict.apps), "warned": warned}


def _secret_names(secrets: dict[str, Any] | None) -> dict[str, list[str]] | None:
    """Names only: values have no place in a task's arguments."""
    if secrets is None:
        return None
    if not all(isinstance(names, list) for names in secrets.values()):
        raise AnsibleActionFail("secrets takes the names of each app's secrets as a list, and no values")
    return {str(app): [str(name) for name in names] for app, names in secrets.items()}


def _inventory(variables: dict[str, Any]) -> Inventory:
    groups = {str(name): [str(host) for host in hosts] for name, hosts in (variables.get("groups") or {}).items()}
    every = dict.fromkeys(host for hosts in groups.values() for host in hosts)
    hostvars = variables.get("hostvars") or {}
    return Inventory(
        groups=groups,
        hosts={name: _host(hostvars, name) for name in every},
        limit=str(variables.get("ansible_limit") or ""),
        play_hosts=[str(name) for name in variables.get("ansible_play_hosts_all") or ()],
    )


def _host(hostvars: Any, name: str) -> Host:
    try:
        return Host(hostvars[name].get("signalbox_address"))
    except AnsibleError as error:
        return Host(fault=str(error))
