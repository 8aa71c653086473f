# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The checks of an inventory: its groups, its hosts' addresses, and the part of it that a run was limited to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Problem,
    Reading,
    closest,
    shorten,
    show,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_grammar import image_registry
from ansible_collections.signalbox.platform.plugins.module_utils._spec_model import App

GROUPS = ("app", "edge", "registry", "postgresql", "postgresql_standby", "redis", "backup", "vault", "monitoring")
# Services that hold data or secrets, and should not be bound to an address the internet can reach.
DATA_GROUPS = ("postgresql", "postgresql_standby", "redis", "registry", "backup", "vault")
# What else these groups are called. Named in a remedy where the right one is missing.
_OTHER_NAMES = {
    "app": ("apps", "application", "applications", "api", "web", "docker"),
    "edge": ("edges", "proxy", "nginx", "lb", "loadbalancer", "load_balancer"),
    "registry": ("registries", "docker_registry"),
    "postgresql": ("postgres", "pg", "pgsql", "db", "database", "databases"),
    "redis": ("cache", "caches", "valkey"),
}
# A part of these left out by --limit would leave hosts on another release than the rest.
_WHOLE_OPERATIONS = ("deploy", "rollback", "rotate", "revoke", "remove")
_WHOLE_GROUPS = ("app", "edge")
_VAULT_OPERATIONS = ("rotate", "revoke")
_ANSIBLE_GROUPS = ("all", "ungrouped")

_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


@dataclass(frozen=True)
class Host:
    """A host's signalbox_address as written; `fault` says why it could not be worked out."""

    address: object = None
    fault: str = ""


@dataclass(frozen=True)
class Inventory:
    """The groups with their hosts, the hosts' addresses, and the hosts that a limited run still reaches."""

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]
    limit: str = ""
    play_hosts: Sequence[str] = field(default=())


def check_inventory(
    operation: str, inventory: Inventory, apps: Mapping[str, App], reading: Reading, warnings: Reading
) -> None:
    """All checks of the inventory, for the apps of the operation."""
    groups = inventory.groups
    for problem in (
        *_groups(groups, apps),
        *_limit(operation, inventory),
        *_vault(operation, inventory),
        *_backup(operation, inventory),
        *_standby(operation, inventory),
    ):
        reading.add(problem.path, problem.what, problem.remedy)
    _addresses(inventory, reading, warnings)


def _vault(operation: str, inventory: Inventory) -> Iterator[Problem]:
    if operation in ("rotate", "revoke", "secret") and not _filled(inventory.groups, "vault"):
        yield Problem(
            "group vault",
            "has no hosts, and this works on secrets in Vault",
            "Give the platform a Vault, or read and change secrets in the inventory's secrets file",
        )


def _backup(operation: str, inventory: Inventory) -> Iterator[Problem]:
    for group in ("backup", "postgresql") if _filled(inventory.groups, "backup") else ():
        hosts = inventory.groups.get(group, ())
        if len(hosts) > 1:
            what = f"has {len(hosts)} hosts, and one database is backed up to one repository in this version"
            yield Problem(f"group {group}", what, f"Keep {hosts[0]} and take {', '.join(hosts[1:])} out")
    if operation == "refresh_staging" and not _filled(inventory.groups, "postgresql"):
        yield Problem("group postgresql", "has no hosts, and the copy is loaded on its first one", "Add it")
    if operation not in ("backup", "drill", "restore", "restore_table", "restore_repository", "masked_copy"):
        return
    for group, reason in (
        ("backup", "backups are kept on its first host"),
        ("postgresql", "its first host is backed up"),
    ):
        if not _filled(inventory.groups, group):
            yield Problem(f"group {group}", f"has no hosts, and {reason}", "Add it, and run playbooks/site.yml")


def _standby(operation: str, inventory: Inventory) -> Iterator[Problem]:
    groups, where = inventory.groups, "group postgresql_standby"
    standbys, primaries = groups.get("postgresql_standby", ()), groups.get("postgresql", ())
    if not standbys:
        if operation == "promote":
            what = "has no hosts, and the former primary belongs there"
            yield Problem(where, what, "Swap the two hosts' groups first")
        return
    if len(primaries) != 1:
        what = f"has hosts, and group postgresql has {len(primaries)}: a standby follows the one primary"
        yield Problem(where, what, "Put the primary, and nothing else, into the group postgresql")
    for host in standbys:
        if host in primaries:
            what = f"has {host}, which is in postgresql as well: a copy beside the original is lost with it"
            yield Problem(where, what, f"Give {host} one of the two groups")
        elif host in groups.get("backup", ()):
            what = f"has {host}, which keeps the backups as well, so that both would be lost at once"
            yield Problem(where, what, "Use a host of its own for one of them")
    if set(primaries) & set(groups.get("backup", ())):
        what = f"has hosts, and {primaries[0]} keeps the backups itself, which no standby reaches there"
        yield Problem(where, what, "Keep the backups on a host of their own")


def _filled(groups: Mapping[str, Sequence[str]], name: str) -> bool:
    return bool(groups.get(name))


def _needed(apps: Mapping[str, App]) -> Iterator[tuple[str, str]]:
    """The groups that must have hosts, each with the reason."""
    if not apps:
        return
    yield "app", "the apps run on its hosts"
    yield "edge", "requests enter through its hosts"
    bare = [name for name, app in apps.items() if not image_registry(app.image)]
    if bare:
        yield "registry", f"the image of {', '.join(bare)} names no registry"
    with_database = [name for name, app in apps.items() if app.database is not None]
    if with_database:
        yield "postgresql", f"{', '.join(with_database)} has a database"
    with_cache = [name for name, app in apps.items() if app.cache is not None]
    if with_cache:
        yield "redis", f"{', '.join(with_cache)} has a cache"


def _groups(groups: Mapping[str, Sequence[str]], apps: Mapping[str, App]) -> Iterator[Problem]:
    reported: set[str] = set()
    for name, reason in _needed(apps):
        if _filled(groups, name):
            continue
        what = "{}, and {}".format("has no hosts" if name in groups else "is missing", reason)
        other = _other_name(name, groups)
        remedy = f"Add the group {name} with at least one host"
        if name == "registry":
            remedy += ", or write the image as registry.example.com/name"
        if other:
            reported.add(other)
            remedy = f"Is group {other} meant? Rename it to {name}"
        yield Problem(f"group {name}", what, remedy)
    for name in groups:
        meant = None if name in (*GROUPS, *_ANSIBLE_GROUPS) else closest(name, GROUPS, cutoff=0.8)
        if meant and name not in reported and not _filled(groups, meant) and _filled(groups, name):
            what = "is a group that no playbook knows: its hosts would get no role"
            yield Problem(f"group {shorten(name)}", what, f"Did you mean {meant}?")


def _other_name(name: str, groups: Mapping[str, Sequence[str]]) -> str | None:
    """A group with hosts that has another name for the same thing, or a misspelt one."""
    strangers = [one for one in groups if one not in GROUPS and one not in _ANSIBLE_GROUPS and groups[one]]
    for one in strangers:
        if one.lower() in _OTHER_NAMES.get(name, ()):
            return one
    return closest(name, strangers, cutoff=0.75)


def _limit(operation: str, inventory: Inventory) -> Iterator[Problem]:
    if operation not in _WHOLE_OPERATIONS or not inventory.limit:
        return
    groups = (*_WHOLE_GROUPS, "vault") if operation in _VAULT_OPERATIONS else _WHOLE_GROUPS
    left_out = [host for name in groups for host in inventory.groups.get(name, ()) if host not in inventory.play_hosts]
    if left_out:
        hosts = ", ".join(dict.fromkeys(left_out))
        yield Problem(
            f"--limit {shorten(inventory.limit)}",
            f"leaves out {shorten(hosts, 200)}, which would stay on another release or with other credentials",
            f"Leave --limit out: a {operation} takes every host of the groups {', '.join(groups)}",
        )


def _platform_hosts(groups: Mapping[str, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(host for name in GROUPS for host in groups.get(name, ())))


def _addresses(inventory: Inventory, reading: Reading, warnings: Reading) -> None:
    owners: dict[_Address, str] = {}
    hosts = _platform_hosts(inventory.groups)
    for name in hosts:
        where = f"host {name}: signalbox_address"
        address, what, remedy = _read_address(inventory.hosts.get(name, Host()), alone=len(hosts) == 1)
        if address is None:
            reading.add(where, what, remedy)
            continue
        owner = owners.setdefault(address, name)
        if owner != name:
            reading.add(where, f"is {address}, which {owner} has already", "Give every host its own address")
        services = [one for one in DATA_GROUPS if name in inventory.groups.get(one, ())]
        if address.is_global and services:
            what = f"is the public address {address}, and {', '.join(services)} would listen on it"
            warnings.add(where, what, "Use an address of a private network")


def _read_address(host: Host, alone: bool) -> tuple[_Address | None, str, str]:
    """The address, or what is wrong with it and how to mend it."""
    value = host.address
    example = "Write the host's private address, such as 10.0.0.11"
    if host.fault:
        return None, f"cannot be worked out: {shorten(host.fault, 160)}", "Mend the expression, or write the address"
    if value is None or value == "":
        return None, "is missing", f"{example}, beside the host in the inventory"
    if not isinstance(value, str):
        return None, f"is {show(value)}, not an address", example
    if "/" in value:
        bare = value.partition("/")[0]
        return None, f"is a network: {shorten(value)}", f"Write the address alone: {shorten(bare)}"
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None, f"is not an IP address: {shorten(value)}", example
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return None, f"is {address}, which reaches no host", example
    if address.is_loopback and not alone:
        return None, f"is {address}, which every host is to itself", example
    return address, "", ""
