# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the functions that apply a statement to the catalogue are kept, by what the statement does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue, Table

# Each yields the reasons for which the statement fails, if any.
Failures = Iterator[str]
TableEffect = Callable[[Action, Catalogue, Table], Failures]
Effect = Callable[[Action, Catalogue], Failures]
TABLE_EFFECTS: dict[str, TableEffect] = {}
EFFECTS: dict[str, Effect] = {}


def on_table(verb: str) -> Callable[[TableEffect], TableEffect]:
    """What a verb does to a table that is there."""

    def keep(function: TableEffect) -> TableEffect:
        TABLE_EFFECTS[verb] = function
        return function

    return keep


def on(verb: str) -> Callable[[Effect], Effect]:
    """What a verb does to anything else."""

    def keep(function: Effect) -> Effect:
        EFFECTS[verb] = function
        return function

    return keep
