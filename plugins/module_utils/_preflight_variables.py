# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The check of an inventory's variables: what it sets for the group all is lost where the wiring sets it too."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Problem, shorten

# Roles whose hosts are those of one group: what an operator sets for them belongs into that group's file.
_ROLE_GROUPS = {
    "app": "app",
    "container_engine": "app",
    "edge": "edge",
    "postgresql": "postgresql",
    "redis": "redis",
    "registry": "registry",
    "vault": "vault",
}
_INI_SECTION = re.compile(r"^\s*\[([^\]]+)\]")
_INI_NAME = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=")


@dataclass(frozen=True)
class Setting:
    """A variable that the inventory sets for the group all, and where it does."""

    name: str
    where: str


@dataclass(frozen=True)
class Variables:
    """What the inventory sets for the group all, and the names that the platform's wiring sets for the same group."""

    inventory: Sequence[Setting] = field(default=())
    wiring: Collection[str] = field(default=())


def check_variables(variables: Variables) -> Iterator[Problem]:
    """Ansible prefers the variables beside a playbook to an inventory's, for the same group, and says nothing."""
    for setting in variables.inventory:
        if setting.name in variables.wiring:
            yield Problem(
                f"variable {shorten(setting.name)}",
                "is set for the group all, where the platform's wiring sets it too and wins: the value has no effect",
                _remedy(setting.name),
                setting.where,
            )


def _remedy(name: str) -> str:
    owners = [role for role in _ROLE_GROUPS if name.startswith(f"{role}_")]
    if owners:
        group = _ROLE_GROUPS[max(owners, key=len)]
        return f"Set it for the group {group}, in group_vars/{group}.yml, or for a host; or give it with -e"
    return "Set it for a group below all that holds the hosts it is meant for, or for a host; or give it with -e"


def names_of_yaml(inventory: object) -> list[str]:
    """Variables of the group all in a YAML inventory; keys keep their marks."""
    group = inventory.get("all") if isinstance(inventory, Mapping) else None
    found = group.get("vars") if isinstance(group, Mapping) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, Mapping) else []


def names_of_ini(text: str) -> list[tuple[str, int]]:
    """Variables of the group all in an INI inventory, each with its line."""
    section, found = "", []
    for number, line in enumerate(text.splitlines(), 1):
        header = _INI_SECTION.match(line)
        section = header.group(1) if header else section
        name = None if header else _INI_NAME.match(line)
        if section == "all:vars" and name:
            found.append((name.group(1), number))
    return found
