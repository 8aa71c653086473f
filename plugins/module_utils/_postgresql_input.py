# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks over the inputs of the role postgresql that no type can express: one sentence per mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._listen_addresses import address_problems
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_tuning import (
    memory_budget,
    override_problems,
    tuning,
)
from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_wanted import Layout, LayoutError, parse

_KEYWORDS = ("all", "replication")
_SYSTEM_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """Every mistake in the role's inputs, given by name without the role's prefix."""
    found: list[str] = []
    layout = Layout()
    try:
        layout = parse(inputs["databases"], inputs["roles"], inputs["passwords"], inputs.get("rotator"))
    except LayoutError as error:
        found.extend(f"postgresql_{problem}" for problem in error.problems)
    else:
        found.extend(_password_problems(layout, inputs["peers"]))
        found.extend(_client_problems(layout, inputs["clients"]))
        found.extend(_peer_problems(layout, inputs["peers"]))
        found.extend(_rotator_problems(layout, inputs.get("rotator") or {}))
    found.extend(
        f"postgresql_listen_addresses: {problem}"
        for problem in address_problems(inputs["listen_addresses"], bool(inputs["public_listen_allowed"]))
    )
    found.extend(override_problems(inputs["settings"]))
    found.extend(_tuning_problems(inputs))
    return found


def _tuning_problems(inputs: Mapping[str, Any]) -> Iterator[str]:
    try:
        fraction = float(inputs["memory_fraction"])
        if not 0 < fraction <= 1:
            yield f"postgresql_memory_fraction: is {fraction}, and must be above 0 and at most 1"
            return
        budget = memory_budget(int(inputs["memory_total_megabytes"]), fraction, int(inputs["memory_bytes"]))
        tuning(budget, int(inputs["processors"]), int(inputs["max_connections"]), str(inputs["storage"]))
    except ValueError as error:
        yield str(error)


def _known(layout: Layout) -> set[str]:
    return set(layout.login_names())


def _password_problems(layout: Layout, peers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    local = {peer.get("role") for peer in peers}
    if layout.rotator is not None:
        local |= {layout.rotator.name, *layout.database_logins()}
    for name in layout.login_names():
        if name not in layout.passwords and name not in local:
            yield (
                f"postgresql_passwords.{name}: is missing; give the role a password, "
                "or an entry in postgresql_peers if it only logs in on the host's own socket"
            )


def _client_problems(layout: Layout, clients: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    databases = {database.name for database in layout.databases if not database.absent} | set(_KEYWORDS) | {"postgres"}
    for index, client in enumerate(clients):
        path = f"postgresql_clients[{index}]"
        for name in sorted(set(client.get("databases") or []) - databases):
            yield f"{path}.databases: '{name}' is not declared in postgresql_databases"
        for name in sorted(set(client.get("users") or []) - _known(layout)):
            yield f"{path}.users: '{name}' is no owner, login or role of postgresql_databases and postgresql_roles"
        for key in ("databases", "users", "addresses"):
            if not client.get(key):
                yield f"{path}.{key}: is empty; name at least one"
        for problem in address_problems(client.get("addresses") or [], public_allowed=True, networks=True):
            yield f"{path}.addresses: {problem}"


def _rotator_problems(layout: Layout, rotator: Mapping[str, Any]) -> Iterator[str]:
    if rotator and layout.rotator is None:
        yield "postgresql_rotator.name: is missing"
    if layout.rotator is not None and not rotator.get("addresses"):
        yield "postgresql_rotator.addresses: is empty; name the addresses that it comes from"
    for problem in address_problems(rotator.get("addresses") or [], public_allowed=True, networks=True):
        yield f"postgresql_rotator.addresses: {problem}"


def _peer_problems(layout: Layout, peers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for index, peer in enumerate(peers):
        path = f"postgresql_peers[{index}]"
        if peer.get("role") not in _known(layout):
            yield f"{path}.role: '{peer.get('role')}' is no owner, login or role that is declared"
        if not _SYSTEM_USER.match(str(peer.get("user"))):
            yield f"{path}.user: '{peer.get('user')}' is no name of a system user"


def logins(
    databases: Sequence[Mapping[str, Any]], roles: Sequence[Mapping[str, Any]], passwords: Mapping[str, str]
) -> list[dict[str, str]]:
    """Who can log in where with a password: what the role proves after a run. Mistakes are input_problems' business."""
    try:
        layout = parse(databases, roles, passwords)
    except LayoutError:
        return []
    pairs = [
        (name, database.name)
        for database in layout.databases
        if not database.absent
        for name in [database.owner, *(login.name for login in database.logins if not login.absent)]
    ]
    pairs += [(role.name, name) for role in layout.roles if not role.absent for name in role.databases]
    return [
        {"user": user, "database": database, "password": passwords[user]}
        for user, database in pairs
        if user in passwords
    ]
