# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters by which playbooks/group_vars turns app specs into role inputs."""

from __future__ import annotations

from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _monitoring, _status_report, _wiring


class FilterModule:
    """Wiring of app specs to roles."""

    def filters(self) -> dict[str, Any]:
        return {
            "edge_apps": _wiring.edge_apps,
            "app_listeners": _wiring.app_listeners,
            "host_certificates": _wiring.host_certificates,
            "renewed_certificates": _wiring.renewed,
            "answered": _status_report.answered,
            "status_report": _status_report.report,
            "exporters": _monitoring.exporters,
            "prometheus_inputs": _monitoring.prometheus_inputs,
            "open_ports": _wiring.open_ports,
            "databases": _wiring.databases,
            "database_passwords": _wiring.database_passwords,
            "database_clients": _wiring.database_clients,
            "cache_users": _wiring.cache_users,
            "cache_passwords": _wiring.cache_passwords,
        }
