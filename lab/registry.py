"""Where the lab registry is and how to log in: read from the inventory, as the playbooks do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import secret_values
from hosts import variables_of
from shell import LabError


@dataclass(frozen=True)
class Access:
    address: str
    repository: str
    username: str
    password: str


def access(inventories: list[Path]) -> Access:
    """The registry is published on loopback, which Docker trusts without any setting on this machine."""
    variables = variables_of(inventories)
    for values in variables.values():
        if "lab_registry_address" in values:
            password = secret_values.read(inventories, "registry", "push")
            return Access(values["lab_registry_address"], "agent-api", "push", password)
    raise LabError("no host of the inventory has lab_registry_address")
