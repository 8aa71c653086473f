"""The lab registry: where it is and how to log in, read from the inventory as the playbooks do, and how to fill it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import images
import secret_values
from hosts import variables_of
from shell import LabError, say


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


def publish(inventories: list[Path], versions: Mapping[str, str]) -> None:
    """Builds versions of the reference API, each with its misbehaviour, and pushes them; the password is read once."""
    to = access(inventories)
    for version, chaos in versions.items():
        name = images.ensure_api(version, chaos)
        images.push(name, to.address, to.repository, version, to.username, to.password)
        say(f"{to.repository}:{version} is in the lab registry")
