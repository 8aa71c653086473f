# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must not pass because the live catalogue, or the statements of the serving release, are not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.signalbox.platform.plugins.module_utils._migration_actions import Action
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue
from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import (
    UNDETERMINED,
    Finding,
    Settings,
    Statement,
)
from ansible_collections.signalbox.platform.plugins.module_utils._migration_sql import bare, functions_in
from ansible_collections.signalbox.platform.plugins.module_utils._migration_uses import Serving

# Changes that a statement of the serving release may depend on: without all of its statements nobody knows.
_NEEDS_SERVING: Mapping[str, int] = {
    "drop column": 26,
    "drop table": 27,
    "drop schema": 27,
    "rename column": 28,
    "rename table": 29,
    "set schema": 29,
    "alter type": 3,
    "set not null": 11,
    "drop not null": 12,
    "set default": 34,
    "drop default": 33,
    "add constraint": 11,
    "drop constraint": 40,
    "rename constraint": 40,
    "drop index": 15,
    "create index": 22,
    "drop view": 35,
    "drop function": 35,
    "create function": 35,
    "create view": 35,
    "revoke": 37,
    "enable row security": 37,
    "create policy": 37,
    "owner": 37,
    "create trigger": 38,
    "drop trigger": 39,
    "disable trigger": 39,
    "rename value": 30,
    "rename type": 30,
    "rename sequence": 41,
    "add value": 31,
    "truncate": 44,
    "update": 43,
    "delete": 43,
    "alter sequence": 41,
    "drop sequence": 41,
    "detach partition": 16,
    "drop type": 30,
    "add column": 4,
}
_HARMLESS = frozenset(
    {"harmless", "begin", "commit", "rollback", "set", "create enum", "create schema", "create sequence", "grant"}
)
_REMEDY = "Let the gate read the live database; or prove the revision by a rehearsal."


def _unseen(action: Action) -> bool:
    """Whether a new column is nothing that an old statement meets: it fills itself and refuses nothing."""
    new = action.new
    filled = new is not None and (not new.not_null or new.default is not None)
    return new is not None and filled and new.type != "json" and not new.constraints


def _is_new(action: Action, catalogue: Catalogue) -> bool:
    """Whether only this migration knows the object."""
    if action.verb in ("create function", "create view") and not action.more.get("replace"):
        return True
    if action.verb in ("add value", "rename value", "drop type"):
        return bare(action.name) in catalogue.new_enums
    if action.verb == "drop index":
        table = catalogue.owner_of_index(action.name)
        return table is not None and (table.new or table.indexes[bare(action.name)].revision_made)
    table = catalogue.table(action.name)
    return table is not None and table.new


def _only_makes(action: Action) -> bool:
    """Whether a statement touches nothing that may be there already."""
    makes = action.verb in ("create table", "create table as") and not action.tolerant and not action.to
    return action.verb in _HARMLESS or (makes and not any(one.kind == "f" for one in action.constraints))


def _hazard(action: Action, settings: Settings) -> int | None:
    """What a statement may do to statements that are not known."""
    if action.verb == "select":
        return 41 if "setval" in functions_in(action.node) else None
    if action.verb == "create index" and not action.more["unique"]:
        return None
    if action.new is not None and settings.plan_caching is False and _unseen(action):
        return None
    return _NEEDS_SERVING.get(action.verb)


def unknown(
    action: Action, statement: Statement, catalogue: Catalogue, serving: Serving | None, settings: Settings
) -> Iterator[Finding]:
    """A statement that cannot be taken for safe for want of knowledge."""
    hazard, why = None, ""
    if not catalogue.known:
        hazard, why = (None if _only_makes(action) else 53), "the live catalogue is not known"
    elif serving is None or not serving.complete:
        what = "not known" if serving is None else "not watched long enough to be all"
        hazard, why = _hazard(action, settings), f"the statements of the serving release are {what}"
    if hazard is not None and not _is_new(action, catalogue):
        yield Finding(hazard, UNDETERMINED, action.name, statement.text, statement.revision, why, _REMEDY)
