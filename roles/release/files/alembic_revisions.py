# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists the Alembic revisions of an app's image. Run by the image's own Python, in its working directory.

Needs Alembic and nothing else, writes no file and opens no connection: SQL is rendered offline, one revision at a time.
SIGNALBOX_LIVE holds the revisions that the database is at, as JSON; what came before is listed without text. The answer
is one compressed line, so that nothing that env.py prints beside it does harm, and large trees fit; another one counts
what is pending, for whoever only has to know whether anything is.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import sys
import zlib

CONTRACT = re.compile(r"(?im)^signalbox:\s*contract\b")


def listed(value):
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def described(one):
    with open(one.path, encoding="utf-8") as handle:
        source = handle.read()
    return {
        "id": one.revision,
        "down": listed(one.down_revision),
        "depends": listed(one.dependencies),
        "labels": sorted(one.branch_labels or ()),
        "path": os.path.basename(one.path),
        "doc": one.doc,
        "contract": bool(getattr(one.module, "contract", False)) or bool(CONTRACT.search(one.module.__doc__ or "")),
        "source": source,
        "sql": "",
        "undo": "",
        "error": "",
    }


def ancestors(nodes, live):
    known = {node["id"]: node for node in nodes}
    found, waiting = set(), list(live)
    while waiting:
        one = waiting.pop()
        if one in known and one not in found:
            found.add(one)
            waiting += known[one]["down"] + known[one]["depends"]
    return found


def environment(config, script, steps, start, end):
    """Runs env.py in offline mode; its answer is what it prints as SQL."""
    from alembic.runtime.environment import EnvironmentContext

    output = io.StringIO()
    options = {"fn": steps, "as_sql": True, "starting_rev": start, "destination_rev": end, "output_buffer": output}
    with EnvironmentContext(config, script, dont_mutate=True, **options), contextlib.redirect_stdout(sys.stderr):
        script.run_env()
    return output.getvalue()


def mode(context):
    if not context.impl.transactional_ddl:
        return "none"
    return "each" if context.opts.get("transaction_per_migration") else "all"


def tables(metadata):
    """Which columns each mapped table has, and which of them the database fills."""
    found = {}
    for one in metadata if isinstance(metadata, (list, tuple)) else [metadata]:
        for table in one.tables.values():
            found[str(table)] = {
                column.name: {
                    "has_default": column.server_default is not None or column is table.autoincrement_column,
                    "computed": column.computed is not None,
                }
                for column in table.columns
            }
    return found


def explained(error):
    return "{}: {}".format(type(error).__name__, " ".join(str(error).split())[:300])


def render(config, script, node, back=False):
    from alembic.runtime.migration import MigrationStep

    revision = script.get_revision(node["id"])
    step = MigrationStep.downgrade_from_script if back else MigrationStep.upgrade_from_script

    def steps(_rev, _context):
        return [step(script.revision_map, revision)]

    start, end = node["down"] or None, node["id"]
    return environment(config, script, steps, *((end, start) if back else (start, end)))


def answer():
    import alembic
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(os.environ.get("ALEMBIC_CONFIG", "alembic.ini"))
    script = ScriptDirectory.from_config(config)
    # Not walk_revisions(): that gives up on a missing parent, and keeps one of two files with the same id.
    nodes = [described(one) for one in script._load_revisions()]
    found = {"alembic": alembic.__version__, "revisions": nodes, "transaction": None, "tables": None, "unknown": ""}

    def look(_rev, context):
        found["transaction"] = mode(context)
        metadata = context.opts.get("target_metadata")
        found["tables"] = tables(metadata) if metadata is not None else None
        return []

    try:
        environment(config, script, look, None, None)
    except (Exception, SystemExit) as error:
        found["unknown"] = explained(error)
    past = ancestors(nodes, json.loads(os.environ.get("SIGNALBOX_LIVE", "[]")))
    for node in nodes:
        node["pending"] = node["id"] not in past
        if not node["pending"]:
            node["source"] = ""
            continue
        try:
            node["sql"] = render(config, script, node)
        except (Exception, SystemExit) as error:
            node["error"] = explained(error)
        # A downgrade that cannot be rendered is one that is not rehearsed.
        with contextlib.suppress(Exception, SystemExit):
            node["undo"] = render(config, script, node, back=True)
    return found


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    try:
        result = answer()
    except Exception as error:
        result = {"failed": explained(error)}
    packed = base64.b64encode(zlib.compress(json.dumps(result).encode(), 9)).decode()
    sys.stdout.write(f"\nSIGNALBOX-REVISIONS {packed}\n")
    pending = "unknown" if "failed" in result else sum(node["pending"] for node in result["revisions"])
    sys.stdout.write(f"SIGNALBOX-PENDING {pending}\n")
