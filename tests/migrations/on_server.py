#!/usr/bin/env python3
"""Runs each labelled migration on a real PostgreSQL, and says which label the server does not bear out.

on_server.py [ARGUMENT OF psql ...]     for instance -h /run/postgresql -U postgres; makes and drops databases shop_*

A case that is safe must run, and each serving statement must still be understood after it, as the app's login. A
case that is labelled as failing (hazards 32, 45, 53) must fail. Waits, and values that are written, are not seen.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / ".collections"))
sys.path.insert(0, str(HERE))

import catalogues  # noqa: E402
import labelled  # noqa: E402

FAILING = (32, 45, 53)
# An empty database has no NULL to trip over, and only a superuser makes an extension in a database that is not his.
KNOWN = {"not-null-where-nulls-are", "h-extension"}


def psql(arguments: list[str], database: str, script: str, stop: bool) -> tuple[int, str]:
    command = ["psql", "-X", "-q", "-A", "-t", "-v", f"ON_ERROR_STOP={int(stop)}", *arguments, "-d", database]
    done = subprocess.run(
        command, input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def not_understood(arguments: list[str], serving: list[str]) -> dict[str, str]:
    """Statements that the server refuses to prepare for the app's login, each with its error."""
    script = "SET ROLE shop_blue;\n"
    script += "".join(f"\\echo @{number}\nPREPARE p{number} AS {text};\n" for number, text in enumerate(serving))
    found: dict[str, str] = {}
    for part in psql(arguments, "shop_case", script, False)[1].split("@")[1:]:
        number, _, answer = part.partition("\n")
        if "ERROR" in answer:
            found[serving[int(number)]] = answer.split("ERROR:")[1].split("\n")[0].strip()
    return found


def migration(case: dict[str, Any], mode: str) -> str:
    script = "SET ROLE shop_owner; SET TimeZone = 'UTC';\n"
    script += "BEGIN;\n" if mode == "all" else ""
    for step in case.get("revisions") or [{"sql": case["sql"]}]:
        text = step["sql"].replace("pg_sleep(60)", "pg_sleep(0)")
        script += f"BEGIN;\n{text};\nCOMMIT;\n" if mode == "each" else f"{text};\n"
    return script + ("COMMIT;\n" if mode == "all" else "")


def judge(case: dict[str, Any], shop: dict[str, Any], arguments: list[str]) -> str:
    """What the server says against a label; empty when it bears it out."""
    psql(
        arguments,
        "postgres",
        "DROP DATABASE IF EXISTS shop_case;\nCREATE DATABASE shop_case TEMPLATE shop_template;",
        True,
    )
    prepare = f"SET ROLE shop_owner; {case.get('also_schema', '')};"
    psql(arguments, "shop_case", prepare, True)
    serving = case.get("serving", shop["serving"])
    before = not_understood(arguments, serving)
    code, said = psql(arguments, "shop_case", migration(case, case.get("transaction", shop["transaction"])), True)
    after = {text: error for text, error in not_understood(arguments, serving).items() if text not in before}
    if case["verdict"] == "run-now" and (code or after):
        return f"run-now, but {said.strip() or after}"
    if case["verdict"] == "hold" and case["hazard"] in FAILING and not code and not after:
        return "hold as failing, but it runs"
    return ""


def main(arguments: list[str]) -> int:
    catalogues.psql(arguments, "postgres", catalogues.ROLES)
    version = int(psql(arguments, "postgres", "SELECT current_setting('server_version_num')::int / 10000", True)[1])
    psql(arguments, "postgres", "DROP DATABASE IF EXISTS shop_template;\nCREATE DATABASE shop_template;", True)
    shop, wrong, run = labelled.defaults(), [], 0
    try:
        catalogues.psql(arguments, "shop_template", f"{catalogues.PREPARE}\n{(HERE / 'shop.sql').read_text()}")
        for case in labelled.cases():
            # A case of another version than the shop's is about that version alone.
            if "tree" in case or case["id"] in KNOWN or case.get("version", version) != version:
                continue
            run += 1
            said = judge(case, shop, arguments)
            if said:
                wrong.append(case["id"])
                print(f"{case['id']}: {said}")
    finally:
        script = "DROP DATABASE IF EXISTS shop_case;\nDROP DATABASE IF EXISTS shop_template;"
        psql(arguments, "postgres", script, True)
    print(f"PostgreSQL {version}: {run} cases run, {len(wrong)} labels not borne out")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
