# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies pending statements to the catalogue, so that each is judged by what those before it left."""

from __future__ import annotations

# These fill the tables of effects.
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_state_constraints as _constraints
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_state_objects as _objects
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_state_tables as _tables
from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._migration_effects import EFFECTS, TABLE_EFFECTS

__all__ = ["apply"]
_FILLED = (_constraints, _objects, _tables)


def apply(action: Action, catalogue: Catalogue) -> list[str]:
    """Change the catalogue as the statement would; reasons why the statement fails."""
    if action.verb in TABLE_EFFECTS:
        table = catalogue.table(action.name)
        if table is None:
            known = catalogue.known and not action.tolerant
            return [f"there is no table {catalogue.full(action.name)}"] if known else []
        return list(TABLE_EFFECTS[action.verb](action, catalogue, table))
    if action.verb in EFFECTS:
        return list(EFFECTS[action.verb](action, catalogue))
    return []
