#!/usr/bin/env python3
"""Writes catalogues.json: what real PostgreSQL answers about shop.sql, and about each case's own additions to it.

catalogues.py [ARGUMENT OF psql ...]     for instance -h /run/postgresql -U postgres; makes and drops the database shop

Only when the catalogue's query, shop.sql or a case's also_schema changes. Each variant is kept as its difference.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / ".collections"))
sys.path.insert(0, str(HERE))

import labelled  # noqa: E402

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_query as query  # noqa: E402

ROLES = """
DO $$ BEGIN CREATE ROLE shop_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE shop; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE shop_blue LOGIN IN ROLE shop; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE auditor; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
"""
PREPARE = """
ALTER SCHEMA public OWNER TO shop_owner; GRANT USAGE ON SCHEMA public TO shop;
SET ROLE shop_owner; SET TimeZone = 'UTC';
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop;
ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO shop;
"""


def psql(arguments: list[str], database: str, script: str) -> str:
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments, "-d", database]
    return subprocess.run(command, input=script, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(arguments: list[str]) -> int:
    variants = sorted({case.get("also_schema", "") for case in labelled.cases()})
    psql(arguments, "postgres", ROLES)
    version = int(psql(arguments, "postgres", "SELECT current_setting('server_version_num')::int / 10000"))
    shop = (HERE / "shop.sql").read_text()
    found: dict[str, dict] = {}
    for also in variants:
        psql(arguments, "postgres", "DROP DATABASE IF EXISTS shop;\nCREATE DATABASE shop;")
        try:
            answer = psql(arguments, "shop", f"{PREPARE}\n{shop}\n{also};\n{query.catalogue_query(version)};")
        finally:
            psql(arguments, "postgres", "DROP DATABASE IF EXISTS shop;")
        found[also] = json.loads(answer)
    base = found.pop("")
    stored = {"base": base, "variants": {also: labelled.difference(base, data) for also, data in found.items()}}
    (HERE / "catalogues.json").write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    print(f"PostgreSQL {version}: {len(found) + 1} catalogues")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
