# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Reads which variables of the group all an inventory writes down, and which the files beside a playbook do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError

from ansible_collections.signalbox.platform.plugins.module_utils._preflight_variables import (
    Setting,
    Variables,
    names_of_ini,
    names_of_yaml,
)
from ansible_collections.signalbox.platform.plugins.plugin_utils._origin import place_of

YAML = (".yml", ".yaml", ".json")


def variables_of_all(loader: Any, sources: Iterable[Any], playbook_dir: str) -> Variables:
    """Files alone are read: an inventory that is a program is not run a second time."""
    if not _wiring_wins(C.config.get_config_value("VARIABLE_PRECEDENCE")):
        return Variables()
    wiring = {setting.name for setting in _group_files(loader, playbook_dir)}
    found: dict[str, Setting] = {}
    for path in (str(source) for source in sources):
        if os.path.exists(path):
            folder = path if os.path.isdir(path) else os.path.dirname(path)
            for setting in (*_group_files(loader, folder), *_inventory_files(loader, path)):
                found.setdefault(setting.name, setting)
    return Variables(tuple(found.values()), frozenset(wiring))


def _wiring_wins(precedence: Sequence[str]) -> bool:
    """An operator may have turned Ansible's usual order round."""
    inventory, wiring = "all_plugins_inventory", "all_plugins_play"
    return wiring in precedence and inventory in precedence and precedence.index(wiring) > precedence.index(inventory)


def _group_files(loader: Any, folder: str) -> Iterator[Setting]:
    for path in loader.find_vars_files(os.path.join(folder, "group_vars"), "all"):
        data = _load(loader, path)
        for name in data if isinstance(data, dict) else ():
            yield Setting(str(name), place_of(name) or path)


def _inventory_files(loader: Any, path: str) -> Iterator[Setting]:
    names = sorted(os.listdir(path)) if os.path.isdir(path) else [""]
    for file in (os.path.join(path, name) if name else path for name in names):
        if not os.path.isfile(file) or (os.access(file, os.X_OK) and not file.endswith(YAML)):
            continue
        if file.endswith(YAML):
            yield from (Setting(str(name), place_of(name) or file) for name in names_of_yaml(_load(loader, file)))
        else:
            with open(file, encoding="utf-8", errors="replace") as handle:
                yield from (Setting(name, f"{file}:{line}") for name, line in names_of_ini(handle.read()))


def _load(loader: Any, path: str) -> Any:
    """What cannot be read is no concern of this check: Ansible has read, or complained of, all of it already."""
    try:
        return loader.load_from_file(path)
    except AnsibleError:
        return None
