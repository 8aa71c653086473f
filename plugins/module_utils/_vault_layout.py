# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From app specs and hosts to the whole layout of Vault, as plain data: secrets, certificates' roles, hosts, rights."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_policies as policies
from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import key_sources
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import OWNER, secret_sources
from ansible_collections.signalbox.platform.plugins.module_utils._wiring import SLOTS, host_certificates, renewed

Spec = Mapping[str, Any]
Specs = Mapping[str, Spec]
Groups = Mapping[str, Sequence[str]]

PASSWORD_LENGTH = 40
CLIENT_KEY_LENGTH = 48
# The name by which the current key of an app's clients is read.
CLIENT_KEY = "client_key"


def layout(
    specs: Specs,
    groups: Groups,
    addresses: Mapping[str, str],
    registry: str = "",
    removed: str = "",
    purge: bool = False,
) -> dict[str, Any]:
    """The wanted layout. The app `removed` has no rights and no database logins; its secrets stay unless `purge`."""
    kept = {name: spec for name, spec in specs.items() if name != removed}
    gone = {name: spec for name, spec in specs.items() if name == removed}
    return {
        "secrets": _secrets(kept, groups),
        "names": _names(kept, groups),
        "reads": _reads(kept, groups),
        "static_roles": _static_roles(kept),
        "hosts": {host: _host(kept, groups, host, addresses, registry) for host in sorted(addresses)},
        "removed": {"secrets": sorted(_app_secrets(gone)) if purge else [], "static_roles": _static_roles(gone)},
    }


def _app_secrets(specs: Specs) -> dict[str, dict[str, Any]]:
    """Path to the names that are generated, with their length, and those that an operator gives."""
    found: dict[str, dict[str, Any]] = {}
    for app, spec in specs.items():
        if spec["secrets"]:
            generated = {name: int(s["generate"]) for name, s in spec["secrets"].items() if s.get("generate")}
            given = sorted(set(spec["secrets"]) - set(generated))
            found[paths.app_secrets(app)] = {"generate": generated, "given": given}
        if spec["cache"] is not None:
            for slot in SLOTS:
                found[paths.app_cache(app, slot)] = {"generate": {"password": PASSWORD_LENGTH}, "given": []}
        if spec.get("clients"):
            found[paths.app_clients(app)] = {"generate": {"current": CLIENT_KEY_LENGTH}, "given": []}
    return found


def _platform_secrets(groups: Groups) -> dict[str, tuple[str, ...]]:
    return {
        **({"registry": ("pull", "push")} if groups.get("registry") else {}),
        **({"redis": ("monitor",)} if groups.get("redis") else {}),
        **({"backup": ("cipher",)} if groups.get("backup") else {}),
        **({"postgresql": ("replication",)} if groups.get("postgresql_standby") else {}),
    }


def _secrets(specs: Specs, groups: Groups) -> dict[str, dict[str, Any]]:
    platform = {
        paths.platform(scope): {"generate": dict.fromkeys(names, PASSWORD_LENGTH), "given": []}
        for scope, names in _platform_secrets(groups).items()
    }
    return {**_app_secrets(specs), **platform}


def _names(specs: Specs, groups: Groups) -> dict[str, dict[str, dict[str, str]]]:
    """Scope to name to path and key, for every value that the key-value store holds: the shape of signalbox_secrets."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for app, spec in specs.items():
        found[app] = {name: {"path": paths.app_secrets(app), "key": name} for name in spec["secrets"]}
        if spec["cache"] is not None:
            found[app].update(_cache_names(app))
        if spec.get("clients"):
            found[app][CLIENT_KEY] = {"path": paths.app_clients(app), "key": "current"}
    for scope, names in _platform_secrets(groups).items():
        found[scope] = {name: {"path": paths.platform(scope), "key": name} for name in names}
    return found


def _cache_names(app: str) -> dict[str, dict[str, str]]:
    return {f"cache_{slot}": {"path": paths.app_cache(app, slot), "key": "password"} for slot in SLOTS}


def _reads(specs: Specs, groups: Groups) -> dict[str, dict[str, dict[str, str]]]:
    """What Ansible itself must use: passwords that it sets in Redis and the registry, and the backup's passphrase."""
    every = _names({}, groups)
    return {**every, **{app: _cache_names(app) for app, spec in specs.items() if spec["cache"] is not None}}


def _static_roles(specs: Specs) -> list[str]:
    return sorted(
        paths.database_role(spec, role)
        for spec in specs.values()
        if spec["database"] is not None
        for role in paths.DATABASE_ROLES
    )


def _host(specs: Specs, groups: Groups, host: str, addresses: Mapping[str, str], registry: str) -> dict[str, Any]:
    own = sorted(group for group, members in groups.items() if host in members)
    address = str(addresses[host])
    # A process on the Vault host may come by loopback.
    networks = [_network(address)] + (["127.0.0.1/32", "::1/128"] if "vault" in own else [])
    return {
        "networks": networks,
        "certificates": _certificate_names(specs, own, host, address, registry, bool(groups.get("backup"))),
        "policy": policies.host_policy(_grants(specs, own, host)),
    }


def _network(address: str) -> str:
    return str(ipaddress.ip_network(address))


def _certificate_names(
    specs: Specs, groups: Sequence[str], host: str, address: str, registry: str, backup: bool
) -> dict[str, list[str]]:
    """The names that a host may have certified: those of its certificates, its own name and its address."""
    requests = renewed(host_certificates(specs, groups, host, address, registry, backup))
    dns = {str(name) for request in requests for name in request.get("dns") or ()} | {host}
    ips = {str(ip) for request in requests for ip in request.get("addresses") or ()} | {address}
    return {"dns": sorted(dns), "addresses": sorted(ips)}


def _grants(specs: Specs, groups: Sequence[str], host: str) -> Iterator[policies.Grant]:
    yield policies.certificate_grant(host)
    for spec in specs.values():
        if "app" in groups:
            for role in (OWNER, *SLOTS):
                for source in secret_sources(spec, role).values():
                    yield policies.source_grant(source)
        if "edge" in groups:
            yield from _edge_grants(spec)
    if "monitoring" in groups:
        yield from policies.HEALTH


def _edge_grants(spec: Spec) -> Iterator[policies.Grant]:
    """An edge reads the keys of an app's clients, and the app's own secret that it puts in their place."""
    if spec.get("clients"):
        yield from map(policies.source_grant, key_sources(spec, SLOTS).values())
