"""A migration rehearsed on the backup host: what it finds, what it measures, and what it cannot reach."""

from __future__ import annotations

import json
import shlex

import pytest
from test_backup import PROGRAM, archived, as_postgres, data, sql, store  # noqa: F401  fixtures
from test_masking import module

SCRATCH = "/var/lib/signalbox/scratch"
TABLES = """
create table items (id int primary key, name text not null, note text);
create table parts (id int primary key, item int references items);
alter table items owner to shop_owner;
alter table parts owner to shop_owner;
grant select, insert, update, delete on items, parts to shop_app;
insert into items select n, 'item ' || n, case when n > 1 then 'a secret ' || n end from generate_series(1, 5000) n;
create table alembic_version (version_num text primary key);
alter table alembic_version owner to shop_owner;
insert into alembic_version values ('one');
create function powerful() returns void language plpgsql security definer
  as $$ begin execute 'copy (select 1) to program ''touch /tmp/reached'''; end $$;
"""
SERVING = (
    "SELECT id, name FROM items WHERE id = $1",
    "SELECT * FROM items WHERE name = $1",
    "INSERT INTO items (id, name) VALUES ($1, $2)",
    "SELECT count(*) FROM parts WHERE item = $1",
    "SELECT 1 FROM gone_long_ago",
)
NOTED = "UPDATE alembic_version SET version_num = 'two'"


@pytest.fixture(scope="module", autouse=True)
def tables(data):  # noqa: F811
    sql(data, "drop table if exists items, parts, alembic_version")
    for statement in TABLES.split(";\n"):
        if statement.strip():
            sql(data, statement)
    archived(data)


def asked(*up, down=(), live=("one",), held=2.0):
    step = {"id": "two", "up": [*up, NOTED], "down": None if down is None else [*down, NOTED.replace("two", "one")]}
    return {
        "database": "shop",
        "owner": "shop_owner",
        "role": "shop_blue",
        "live": list(live),
        "transaction": "each",
        "steps": [step],
        "serving": list(SERVING),
        "plan_caching": True,
        "lock_timeout_seconds": 5,
        "statement_timeout_seconds": 60,
        "seconds": 600,
        "held_seconds": held,
    }


def rehearse(*up, **changes):
    return module("backup-store", "backup", operation="rehearse", rehearsal=asked(*up, **changes))


def found(answer):
    return {(one["hazard"], one["verdict"]) for one in answer["report"]["findings"]}


def test_what_may_run_passes_and_is_measured(data, store):  # noqa: F811
    build = ("COMMIT", "CREATE INDEX CONCURRENTLY items_name ON items (name)", "BEGIN")
    answer = rehearse(
        "ALTER TABLE parts ADD COLUMN weight int",
        *build,
        down=("DROP INDEX items_name", "ALTER TABLE parts DROP COLUMN weight"),
    )
    report = answer["report"]
    assert report["findings"] == [], report
    assert "Upgrade, downgrade and upgrade once more went through." in report["notes"]
    assert report["built"] == ["public.items_name"]
    assert report["serving"] == 4
    held = {(one["object"], one["mode"]): one for one in report["locks"]}
    assert held["public.parts", "AccessExclusive"]["blocks"] == [SERVING[3]]
    # A build that lets others be takes none that a serving statement waits for.
    assert all(one["blocks"] == [] for (table, _mode), one in held.items() if table == "public.items")
    assert report["wal_bytes"] > 100_000
    assert set(report["seconds_of"]) == {"the upgrade", "the downgrade", "the second upgrade"}
    assert store.check_output(f"ls -A {SCRATCH}") == ""
    assert SCRATCH not in store.check_output("ps axww")
    assert sql(data, "select version_num from alembic_version") == "one"


def test_a_lock_that_is_held_too_long_is_found(data):  # noqa: F811
    answer = rehearse("ALTER TABLE parts ADD COLUMN weight int", "SELECT pg_sleep(0.7)", down=None, held=0.5)
    finding = next(one for one in answer["report"]["findings"] if one["hazard"] == 42)
    assert finding["object"] == "public.parts"
    assert SERVING[3] in finding["evidence"]
    assert "No downgrade was rehearsed" in " ".join(answer["report"]["notes"])


def test_a_rewrite_is_named(data):  # noqa: F811
    answer = rehearse("ALTER TABLE parts ALTER COLUMN item TYPE bigint", down=None)
    assert answer["report"]["rewritten"] == ["public.parts"]


@pytest.mark.parametrize(
    ("statement", "hazard", "text"),
    [
        ("ALTER TABLE items DROP COLUMN name", 26, SERVING[0]),
        ("ALTER TABLE items RENAME TO things", 27, SERVING[0]),
        ("REVOKE SELECT ON parts FROM shop_app", 36, SERVING[3]),
        ("ALTER TABLE items ADD COLUMN extra int", 4, SERVING[1]),
    ],
)
def test_what_the_serving_release_no_longer_can_is_found(data, statement, hazard, text):  # noqa: F811
    answer = rehearse(statement, down=None)
    assert (hazard, text) in {(one["hazard"], one["statement"]) for one in answer["report"]["findings"]}, answer


def test_what_fails_on_the_live_data_is_found_without_a_value_of_it(data):  # noqa: F811
    answer = rehearse("ALTER TABLE items ALTER COLUMN note SET NOT NULL")
    assert found(answer) == {(53, "hold")}
    assert "null values" in answer["report"]["findings"][0]["evidence"]
    for statement in (
        "ALTER TABLE items ALTER COLUMN note TYPE int USING note::int",
        "ALTER TABLE items ADD CHECK (note <> 'a secret 77')",
        "CREATE UNIQUE INDEX ON items (substr(note, 1, 8))",
    ):
        answer = rehearse(statement)
        assert found(answer) == {(53, "hold")}
        assert "secret" not in answer["report"]["findings"][0]["evidence"]


def test_a_downgrade_that_is_no_way_back_is_found(data):  # noqa: F811
    assert found(rehearse("CREATE TABLE extra (n int)", down=())) == {(55, "undetermined")}
    assert found(rehearse("SELECT 1", down=("DELETE FROM items WHERE id = 1",))) == {(55, "undetermined")}
    assert found(rehearse("SELECT 1", down=("DROP TABLE nothing",))) == {(55, "undetermined")}


@pytest.mark.parametrize(
    "statement",
    [
        "RESET SESSION AUTHORIZATION; COPY (SELECT 1) TO PROGRAM 'touch /tmp/reached'",
        "SET ROLE postgres",
        "SELECT powerful()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_what_is_rehearsed_gets_no_hold_of_the_host(data, store, statement):  # noqa: F811
    answer = rehearse(statement)
    assert found(answer) == {(53, "hold")}
    assert "permission denied" in answer["report"]["findings"][0]["evidence"]
    assert not store.file("/tmp/reached").exists


def test_a_backup_of_another_revision_is_refused(data, store):  # noqa: F811
    answer = rehearse("SELECT 1", live=("zero",))
    assert "the backup is at one, production at zero" in answer["msg"]
    assert store.check_output(f"ls -A {SCRATCH}") == ""


def test_one_that_is_ended_in_a_statement_leaves_nothing(store):  # noqa: F811
    request = shlex.quote(json.dumps(asked("SELECT pg_sleep(50)")))
    done = as_postgres(store, f"printf %s {request} | timeout 12 python3 {PROGRAM} rehearse")
    assert done.rc == 124, done.stderr
    assert store.check_output(f"ls -A {SCRATCH}") == ""
    assert store.run("pgrep -f '[d]ata_directory=/var/lib/signalbox/scratch'").rc != 0
