"""The labelled migrations: what each case says, and the context that it is judged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_alembic as alembic
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_model as model
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_verdict as verdict

HERE = Path(__file__).resolve().parent
SECTIONS = ("tables", "sequences", "functions", "enums")
ROW_BYTES = 100


def cases() -> list[dict[str, Any]]:
    found = []
    for path in sorted((HERE / "cases").glob("*.yml")):
        found += [{"file": path.stem, **case} for case in yaml.safe_load(path.read_text())]
    return found


def defaults() -> dict[str, Any]:
    return yaml.safe_load((HERE / "shop.yml").read_text())


def _by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def difference(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What turns one catalogue into the other: null for what is gone."""
    found = {}
    for section in SECTIONS:
        old, new = _by_name(base[section]), _by_name(other[section])
        changed = {name: new.get(name) for name in {*old, *new} if old.get(name) != new.get(name)}
        if changed:
            found[section] = changed
    return found


def catalogue(stored: dict[str, Any], case: dict[str, Any], shop: dict[str, Any]) -> dict[str, Any]:
    """The catalogue of one case, as the database would answer."""
    data = json.loads(json.dumps(stored["base"]))
    also = case.get("also_schema", "")
    for section, changed in (stored["variants"][also] if also else {}).items():
        rows = {**_by_name(data[section]), **changed}
        data[section] = [row for row in rows.values() if row is not None]
    rows = {**shop["rows"], **case.get("rows", {})}
    nulls = case.get("nulls", {})
    for table in data["tables"]:
        table["rows"] = rows.get(table["name"], 0)
        table["bytes"] = max(table["rows"], 0) * ROW_BYTES
        for column in table["columns"]:
            column["null_fraction"] = nulls.get(f"{table['name']}.{column['name']}")
    data["version"] = case.get("version", shop["version"])
    data["timezone"] = case.get("timezone", shop["timezone"])
    if not case.get("default_privileges", shop["default_privileges"]):
        data["default_grants"] = []
    return data


def source_of(node: dict[str, Any]) -> str:
    """A revision file as Alembic would find it."""
    upgrade = node.get("upgrade", "op.execute('SELECT 1')")
    return f"def upgrade():\n    {upgrade}\n\n\ndef downgrade():\n    {node.get('downgrade', 'op.execute(1)')}\n"


def judged(case: dict[str, Any], stored: dict[str, Any], shop: dict[str, Any], without: tuple[str, ...] = ()) -> Any:
    """The gate's report on a case; `without` names parts of the context that are withheld."""
    chosen = {**shop, **{key: value for key, value in case.items() if key != "rows"}}
    settings = model.Settings(
        transaction=None if "transaction" in without else chosen["transaction"],
        lock_timeout_seconds=None if "timeouts" in without else chosen["lock_timeout_seconds"],
        statement_timeout_seconds=None if "timeouts" in without else chosen["statement_timeout_seconds"],
        plan_caching=None if "plan_caching" in without else chosen["plan_caching"],
        role="" if "role" in without else chosen["role"],
    )
    context = verdict.Context(
        catalogue=None if "catalogue" in without else catalogue(stored, case, shop),
        serving=None if "serving" in without else chosen["serving"],
        complete=chosen["observed"] == "complete",
        settings=settings,
    )
    if "tree" in case:
        nodes = alembic.nodes_of([{**node, "source": source_of(node)} for node in case["tree"]])
        live = None if case["live"] is None else [case["live"]] if case["live"] else []
        found = alembic.pending(nodes, live, accept_no_downgrade=case.get("accept_no_downgrade", False))
        return verdict.judge(found.revisions, context, found.findings)
    steps = case.get("revisions") or [{"id": "one", "sql": case["sql"]}]
    return verdict.judge([model.Revision(step["id"], step["sql"]) for step in steps], context)
