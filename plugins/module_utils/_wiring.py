# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""App specs to role inputs: what the edge, the database and the cache have to hold for each app."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import OWNER, cache_user_of, user_of

SLOTS = ("blue", "green")
# In the certificates with which edges and slots prove to each other what they are; playbooks/group_vars has them too.
EDGE_NAME, SLOTS_NAME = "edge.signalbox.internal", "slots.signalbox.internal"
# Exporter -> groups whose hosts run it, everywhere where there are none, and its port.
EXPORTERS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "node": ((), 9100),
    "process": ((), 9256),
    "postgresql": (("postgresql", "postgresql_standby"), 9187),
    "redis": (("redis",), 9121),
}
EDGE_METRICS_PORT = 9145
Spec = Mapping[str, Any]
Specs = Mapping[str, Spec]
# App to name to value; empty strings stand in for what is missing, so that structures can be shown without secrets.
Secrets = Mapping[str, Mapping[str, str]]


def edge_apps(specs: Specs, app_addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Input C(edge_apps): the upstreams of each slot are that slot's port on every app host."""
    return [
        {
            "name": name,
            "domains": list(spec["domains"]),
            "slots": {slot: [f"{address}:{spec['slot_ports'][slot]}" for address in app_addresses] for slot in SLOTS},
            "health_path": spec["health"]["path"],
            "streams_max_seconds": int(spec["streams"]["max_seconds"]),
            "keepalive_seconds": int(spec["keepalive_seconds"]),
            "limits": dict(spec["limits"]),
            "sticky": spec["sticky"],
            **({"clients": _edge_clients(spec["clients"])} if spec.get("clients") else {}),
            "certificate": {
                "certificate": f"/etc/signalbox/tls/{name}.crt",
                "key": f"/etc/signalbox/tls/{name}.key",
                "acme": spec["tls"]["source"] == "acme",
            },
        }
        for name, spec in sorted(specs.items())
    ]


def app_listeners(specs: Specs) -> list[dict[str, Any]]:
    """Input C(app_listeners): a port for each slot of each app."""
    return [
        {"name": f"{name}-{slot}", "port": port}
        for name, spec in sorted(specs.items())
        for slot, port in sorted(spec["slot_ports"].items())
    ]


def _edge_clients(clients: Mapping[str, Any]) -> dict[str, Any]:
    return {"header": clients["header"], "open_paths": list(clients["open_paths"])}


def edge_certificates(specs: Specs, directory: str = "") -> list[dict[str, Any]]:
    """One certificate per app with its domains; nginx loads it in its workers, hence their group."""
    return [
        {
            "name": name,
            "dns": list(spec["domains"]),
            "group": "www-data",
            "key_mode": "0640",
            **_certificate_source(spec["tls"], directory),
        }
        for name, spec in sorted(specs.items())
    ]


def _certificate_source(tls: Spec, directory: str) -> dict[str, Any]:
    """What ACME obtained must not be replaced: the authority gives a first certificate only."""
    if tls["source"] == "given":
        paths = {"certificate_path": tls["certificate_path"], "private_key_path": tls["key_path"]}
        return {name: os.path.join(directory, path) for name, path in paths.items()}
    return {"placeholder": True} if tls["source"] == "acme" else {}


def renewed(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those that the platform's authority, or Vault in its place, renews: neither given ones nor ACME's."""
    others = ("certificate", "certificate_path", "placeholder")
    return [dict(request) for request in requests if not any(request.get(name) for name in others)]


def databases(specs: Specs, removed: str = "", drop: bool = False) -> list[dict[str, Any]]:
    """Input C(postgresql_databases): an owner for migrations and one login per slot that reads and writes rows only.

    The logins of the app `removed` go; its data stays unless `drop`.
    """
    return [
        {
            "name": spec["database"]["name"],
            "extensions": list(spec["database"]["extensions"]),
            "logins": [{"name": user_of(spec, slot)} for slot in SLOTS],
            "state": "absent" if name == removed else "present",
            "confirm": spec["database"]["name"] if name == removed and drop else "",
        }
        for name, spec in specs.items()
        if spec["database"] is not None
    ]


def database_passwords(specs: Specs, secrets: Secrets) -> dict[str, str]:
    """Input C(postgresql_passwords)."""
    return {
        user_of(spec, role): secrets.get(name, {}).get(f"database_{role}", "")
        for name, spec in specs.items()
        if spec["database"] is not None
        for role in (OWNER, *SLOTS)
    }


def database_clients(specs: Specs, app_networks: Sequence[str]) -> list[dict[str, Any]]:
    """Input C(postgresql_clients): the networks of the containers, each database only for its own app's users."""
    return [
        {
            "databases": [spec["database"]["name"]],
            "users": [user_of(spec, role) for role in (OWNER, *SLOTS)],
            "addresses": list(app_networks),
        }
        for spec in specs.values()
        if spec["database"] is not None
    ]


def cache_users(specs: Specs) -> list[dict[str, Any]]:
    """Input C(redis_users): each slot's user sees its own app's keys and channels."""
    return [
        {"name": cache_user_of(spec, slot), "key_prefix": f"{name}:"}
        for name, spec in sorted(specs.items())
        if spec["cache"] is not None
        for slot in SLOTS
    ]


def cache_passwords(specs: Specs, secrets: Secrets) -> dict[str, str]:
    """Input C(redis_passwords)."""
    return {
        cache_user_of(spec, slot): secrets.get(name, {}).get(f"cache_{slot}", "")
        for name, spec in specs.items()
        if spec["cache"] is not None
        for slot in SLOTS
    }


def open_ports(
    specs: Specs,
    groups: Sequence[str],
    group_addresses: Mapping[str, Sequence[str]],
    app_networks: Sequence[str],
    operator_networks: Sequence[str],
) -> list[dict[str, Any]]:
    """Input C(base_open_ports) of a host in `groups`: what its services offer, and to whom.

    `group_addresses` names the addresses of the hosts of C(all), C(edge), C(vault) and C(backup), under C(database)
    those of C(postgresql) and C(postgresql_standby), and under C(state) those whose state the backup host keeps. A
    standby offers what its primary does, so that it can take its place at once. Who is in C(monitoring) reads metrics.
    """
    edges, vaults, stores, databases, kept, everyone, readers = (
        [f"{address}/32" for address in group_addresses.get(group, [])]
        for group in ("edge", "vault", "backup", "database", "state", "all", "monitoring")
    )
    is_database = "postgresql" in groups or "postgresql_standby" in groups
    ports: list[dict[str, Any]] = []
    if "edge" in groups:
        ports += [{"port": 80, "comment": "HTTP"}, {"port": 443, "comment": "HTTPS"}]
    if "app" in groups:
        ports += [
            {"port": port, "sources": edges, "comment": f"{name} {slot}"}
            for name, spec in sorted(specs.items())
            for slot, port in sorted(spec["slot_ports"].items())
        ]
    if is_database:
        others = databases if len(databases) > 1 else []
        ports.append({"port": 5432, "sources": [*app_networks, *vaults, *others], "comment": "PostgreSQL"})
    if is_database and stores and "backup" not in groups:
        ports.append({"port": 8432, "sources": stores, "comment": "backup of PostgreSQL"})
    if "backup" in groups and databases and not is_database:
        ports.append({"port": 8432, "sources": databases, "comment": "backup repository"})
    if "backup" in groups and kept:
        ports.append({"port": 8433, "sources": kept, "comment": "state of hosts"})
    if "redis" in groups:
        ports.append({"port": 6379, "sources": list(app_networks), "comment": "Redis"})
    if "registry" in groups:
        ports.append({"port": 5000, "sources": [*app_networks, *operator_networks], "comment": "registry"})
    if "vault" in groups:
        ports.append({"port": 8200, "sources": everyone, "comment": "Vault"})
        if len(vaults) > 1:
            ports.append({"port": 8201, "sources": vaults, "comment": "Vault cluster"})
    if readers:
        ports += [
            {"port": port, "sources": readers, "comment": f"metrics: {name}"} for name, port in metrics_ports(groups)
        ]
    return ports


def exporters(groups: Sequence[str]) -> list[str]:
    """Exporters that a host in `groups` runs for others."""
    return [name for name, (wanted, _port) in EXPORTERS.items() if not wanted or set(wanted) & set(groups)]


def metrics_ports(groups: Sequence[str]) -> list[tuple[str, int]]:
    """Where a host in `groups` serves metrics: its exporters, and an edge its own."""
    edge = [("edge", EDGE_METRICS_PORT)] if "edge" in groups else []
    return [(name, EXPORTERS[name][1]) for name in exporters(groups)] + edge


def host_certificates(
    specs: Specs,
    groups: Sequence[str],
    host: str,
    address: str,
    registry: str,
    backup: bool = False,
    directory: str = "",
    monitoring: bool = False,
) -> list[dict[str, Any]]:
    """Input C(certificates_requests) of a host in `groups`; `backup` tells whether the platform has a backup host.

    With `monitoring` the platform has a host that reads metrics, from exporters that it knows by their certificate.

    Paths of given certificates are looked up from `directory`, on the control node.
    """
    requests = edge_certificates(specs, directory) if "edge" in groups else []
    if "edge" in groups:
        # nginx loads it in its workers.
        requests.append({"name": "edge", "dns": [EDGE_NAME, host], "group": "www-data", "key_mode": "0640"})
    if "app" in groups:
        requests.append({"name": "slots", "dns": [SLOTS_NAME, host], "addresses": [address]})
    is_database = "postgresql" in groups or "postgresql_standby" in groups
    if backup and ("backup" in groups or is_database):
        requests.append({"name": "backup", "dns": [host], "addresses": [address]})
    requests += [
        {"name": name, "dns": [host], "addresses": [address]}
        for name, wanted in (("postgresql", is_database), ("redis", "redis" in groups))
        if wanted
    ]
    if "registry" in groups:
        requests.append({"name": "registry", "dns": sorted({host, registry} - {""}), "addresses": [address]})
    if "vault" in groups:
        requests.append({"name": "vault", "dns": [host], "addresses": [address, "127.0.0.1"]})
    if monitoring:
        requests.append({"name": "telemetry", "dns": [host], "addresses": [address]})
    return requests
