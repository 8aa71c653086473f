# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From inventory groups and app specs to what runs on a host for the monitoring, and to what Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _wiring

Specs = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]
Addresses = Mapping[str, str]

PROBER = "blackbox"
PROBER_PORT = 9115
# Packs of rules that need hosts of a group; the others are always in force.
PACKS = (
    "host",
    "edge",
    "objectives",
    "postgresql",
    "redis",
    "backup",
    "vault",
    "certificates",
    "releases",
    "monitoring",
)
_PACK_GROUPS = {"postgresql": "postgresql", "redis": "redis", "vault": "vault"}


def exporters(groups: Sequence[str]) -> list[str]:
    """Input C(telemetry_exporters) of a host in `groups`."""
    return _wiring.exporters(groups) + ([PROBER] if "monitoring" in groups else [])


def prometheus_inputs(specs: Specs, groups: Groups, addresses: Addresses, own: str) -> dict[str, Any]:
    """Inputs C(prometheus_*) of the host `own`, without the prefix; `groups` are the inventory's, with C(all)."""
    return {
        "scrapes": scrapes(specs, groups, addresses, own),
        "packs": packs(groups),
        "objectives": {name: float(spec["objectives"]["availability_percent"]) for name, spec in specs.items()},
    }


def packs(groups: Groups) -> list[str]:
    """Input C(prometheus_packs): a rule about what is missing must not speak of what was never there."""
    has_backup = bool(groups.get("backup") and groups.get("postgresql"))
    return [
        pack
        for pack in PACKS
        if (has_backup if pack == "backup" else pack not in _PACK_GROUPS or groups.get(_PACK_GROUPS[pack]))
    ]


def scrapes(specs: Specs, groups: Groups, addresses: Addresses, own: str) -> list[dict[str, Any]]:
    """What there is to read; a job without targets is none."""
    return [scrape for scrape in _scrapes(specs, groups, addresses, own) if scrape["targets"]]


def _scrapes(specs: Specs, groups: Groups, addresses: Addresses, own: str) -> Iterator[dict[str, Any]]:
    for name, (wanted, port) in _wiring.EXPORTERS.items():
        hosts = sorted({host for group in wanted or ("all",) for host in groups.get(group, ())})
        yield {"job": name, "targets": [_target(host, addresses, port) for host in hosts]}
    edges = list(groups.get("edge", ()))
    yield {
        "job": "edge",
        "server_name": _wiring.EDGE_NAME,
        "targets": [_target(host, addresses, _wiring.EDGE_METRICS_PORT) for host in edges],
    }
    for job, port in (("alertmanager", 9093), (PROBER, PROBER_PORT)):
        yield {"job": job, "scheme": "http", "targets": [{"address": f"127.0.0.1:{port}", "labels": {"host": own}}]}
    # A probe has one module: apps whose certificates the world knows are another job of the same kind.
    for suffix, module in (("", "https_platform"), ("_public", "https_public")):
        public = suffix == "_public"
        yield {
            "job": f"app_health{suffix}",
            "probe": module,
            "targets": [
                _health(name, spec, edge, addresses)
                for name, spec in sorted(specs.items())
                if (spec["tls"]["source"] in ("given", "acme")) is public
                for edge in edges
            ],
        }
    yield {
        "job": "vault_health",
        "probe": "https_platform",
        "targets": [_vault(host, addresses) for host in groups.get("vault", ())],
    }


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _target(host: str, addresses: Addresses, port: int) -> dict[str, Any]:
    return {"address": f"{_bracketed(addresses[host])}:{port}", "labels": {"host": host}}


def _health(app: str, spec: Mapping[str, Any], edge: str, addresses: Addresses) -> dict[str, Any]:
    """Through the edge, as a client: every edge is asked for each app by the app's first name."""
    return {
        "address": f"https://{_bracketed(addresses[edge])}{spec['health']['path']}",
        "name": str(spec["domains"][0]),
        "labels": {"app": app, "host": edge},
    }


def _vault(host: str, addresses: Addresses) -> dict[str, Any]:
    # A standby of a cluster is well; what is sealed or new still answers with its own status.
    url = f"https://{_bracketed(addresses[host])}:8200/v1/sys/health?standbyok=true&perfstandbyok=true"
    return {"address": url, "labels": {"host": host}}
