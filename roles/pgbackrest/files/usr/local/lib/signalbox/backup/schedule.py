# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kind of backup is due. One timer asks; what downtime left out is caught up by the next run. Pure."""

from __future__ import annotations

from catalogue import Catalogue

# A run that begins a little earlier than the last one did is not a day early.
SLACK_SECONDS = 3600.0


def due(catalogue: Catalogue, now: float, full_days: float, differential_hours: float) -> str:
    """full every `full_days`, diff every `differential_hours`, else incr."""

    def age(*kinds: str) -> float:
        return min((now - backup.started for backup in catalogue.of_kind(*kinds)), default=float("inf"))

    if age("full") > full_days * 86400 - SLACK_SECONDS:
        return "full"
    if age("full", "diff") > differential_hours * 3600 - SLACK_SECONDS:
        return "diff"
    return "incr"
