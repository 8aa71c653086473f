"""Staging gets production's data, masked: the lab is production, a platform on one host is staging."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from conftest import live_version
from driver import Driver
from proof_report import record
from test_proofs import platform_on

pytestmark = pytest.mark.proof

ROWS = 200_000
FILL = f"""
insert into sessions (id, title, data)
select gen_random_uuid(), 'Ada Lovelace ' || n, jsonb_build_object('mail', 'ada' || n || '@example.org')
from generate_series(1, {ROWS}) n
"""


def sql(host: str, statement: str) -> str:
    command = [
        "docker",
        "exec",
        "-u",
        "postgres",
        f"signalbox-{host}",
        "psql",
        "-XAtq",
        "-d",
        "agent_api",
        "-c",
        statement,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def ledger(host: str) -> str:
    path = "/var/lib/signalbox/releases/agent-api/ledger.jsonl"
    command = ["docker", "exec", f"signalbox-{host}", "cat", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_staging_is_refreshed_and_serves(driver: Driver, tmp_path: Path) -> None:
    copy = tmp_path / "agent_api.masked"
    sql("data1", FILL)
    before = sql("data1", "select count(*) from sessions")
    time.sleep(70)  # until its WAL is archived, twice the archive timeout at most
    made = driver.must("masked_copy", database="agent_api", to=str(copy))
    assert copy.stat().st_mode & 0o077 == 0
    staging = platform_on("one_host")
    staging.must("deploy", version="1.0.0")
    entries = ledger("edge1")
    refused = driver.run("refresh_staging", **{"from": str(copy), "overwrite": "agent_api"})
    assert refused.code != 0
    assert "the database server that the copy was taken of" in refused.output
    assert live_version(driver), "production serves"
    assert ledger("edge1") == entries, "no app was closed for it"
    own = sql("host1", "select count(*) from sessions")
    loaded = staging.must("refresh_staging", **{"from": str(copy), "overwrite": "agent_api"})
    assert sql("host1", "select count(*) from sessions") == before
    assert sql("host1", "select count(*) from sessions where title ~ 'Ada' or data::text ~ 'ada'") == "0"
    assert sql("data1", "select count(*) > 0 from sessions where title ~ 'Ada'") == "t"
    staging.must("refresh_staging", undo="true", overwrite="agent_api")
    assert sql("host1", "select count(*) from sessions") == own
    assert live_version(staging) == "1.0.0"
    staging.must("refresh_staging", undo="true", overwrite="agent_api")
    assert sql("host1", "select count(*) from sessions") == before
    assert [entry for entry in ledger("host1").splitlines() if '"restored"' in entry], "each is in the ledger"
    released = staging.must("deploy", version="1.1.0")
    assert live_version(staging) == "1.1.0"
    record(
        "Staging refreshed with a masked copy",
        {
            "rows": before,
            "bytes of the copy": f"{copy.stat().st_size:,}",
            "masked_copy.yml, whole command": f"{made.seconds:.0f} s",
            "refresh_staging.yml, whole command": f"{loaded.seconds:.0f} s",
            "deploy.yml afterwards": f"{released.seconds:.0f} s",
        },
    )
