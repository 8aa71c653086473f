"""The migration gate beside its cases: types, names, trees of revisions, squawk, the image's answer, reports."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_alembic as alembic
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_context as context
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_gate as gate
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_image as image
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_model as model
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_report as report
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_rules_lock as lock
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_serving as serving
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_sql as sql
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_squawk as squawk
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_types as types
from ansible_collections.signalbox.platform.plugins.module_utils._migration_catalogue import Catalogue, Column, Table

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = CHECKOUT / "roles/release/files/alembic_revisions.py"
HOLD, RUN_NOW, UNDETERMINED = model.HOLD, model.RUN_NOW, model.UNDETERMINED


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("character varying(100)", "varchar(100)"),
        ("pg_catalog.varchar(9)", "varchar(9)"),
        ("int4", "integer"),
        ("timestamp(3) without time zone", "timestamp(3)"),
        ("timestamp with time zone", "timestamptz"),
        ("numeric(10, 2)", "numeric(10,2)"),
        ("bpchar", "char(1)"),
        ("text[]", "text[]"),
        ('"MyType"', "MyType"),
    ],
)
def test_one_name_for_a_type(written, name):
    assert types.canonical(written) == name


@pytest.mark.parametrize(
    ("old", "new", "rewrites", "fits"),
    [
        ("varchar(10)", "varchar(20)", False, True),
        ("varchar(20)", "varchar(10)", True, False),
        ("varchar(10)", "text", False, True),
        ("text", "varchar(10)", True, False),
        ("numeric(10,2)", "numeric(12,2)", False, True),
        ("numeric(10,2)", "numeric(12,4)", True, True),
        ("numeric(10,2)", "numeric(10,4)", True, False),
        ("numeric(10,2)", "numeric", False, True),
        ("integer", "bigint", True, True),
        ("bigint", "integer", True, False),
        ("cidr", "inet", False, True),
        ("text[]", "varchar[]", True, False),
    ],
)
def test_what_a_change_of_type_costs(old, new, rewrites, fits):
    found = types.change(old, new, False, 17, "UTC")
    assert (found.rewrites, found.fits) == (rewrites, fits)


@pytest.mark.parametrize(
    ("text", "value"), [("4s", 4), ("4000", 4), ("1min", 60), ("0", 0), ("500ms", 0.5), ("soon", None)]
)
def test_times_as_postgresql_takes_them(text, value):
    assert lock.seconds(text) == value


def catalogue(**tables):
    found = Catalogue(version=17, timezone="UTC")
    for name, columns in tables.items():
        full = f"public.{name}"
        found.tables[full] = Table(full, columns={one: Column(one, "text") for one in columns})
    return found


@pytest.mark.parametrize(
    ("statement", "reads", "stars"),
    [
        ("SELECT a FROM t", {("public.t", "a")}, set()),
        (
            "SELECT x.a, b FROM t x JOIN u USING (k)",
            {("public.t", "a"), ("public.u", "b"), ("public.t", "k"), ("public.u", "k")},
            set(),
        ),
        ("SELECT * FROM t", set(), {"public.t"}),
        ("SELECT u.* FROM t, u WHERE t.a = u.b", {("public.t", "a"), ("public.u", "b")}, {"public.u"}),
        ("WITH t AS (SELECT b FROM u) SELECT a FROM t", {("public.u", "b")}, set()),
        (
            "SELECT (SELECT max(b) FROM u WHERE u.k = t.k) FROM t",
            {("public.u", "b"), ("public.u", "k"), ("public.t", "k")},
            set(),
        ),
        ("SELECT t FROM t", set(), {"public.t"}),
        ("SELECT a FROM t UNION SELECT b FROM u", {("public.t", "a"), ("public.u", "b")}, set()),
        ("SELECT z.a FROM (SELECT a FROM t) z", {("public.t", "a")}, set()),
    ],
)
def test_what_a_statement_reads(statement, reads, stars):
    found = serving.serving_of([statement], catalogue(t=["a", "k"], u=["b", "k"]), True)
    assert (found.uses[0].reads, found.uses[0].stars) == (reads, stars)


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        ("INSERT INTO t (a) VALUES ($1)", [("insert", {"a"})]),
        ("INSERT INTO t VALUES ($1)", [("insert", None)]),
        ("INSERT INTO t DEFAULT VALUES", [("insert", set())]),
        (
            "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET k = excluded.k",
            [("insert", {"a"}), ("update", {"k"})],
        ),
        ("UPDATE t SET a = $1 FROM u WHERE u.k = t.k", [("update", {"a"})]),
        ("DELETE FROM t WHERE a = $1", [("delete", None)]),
        (
            "WITH gone AS (DELETE FROM t RETURNING a) INSERT INTO u (b) SELECT a FROM gone",
            [("delete", None), ("insert", {"b"})],
        ),
    ],
)
def test_what_a_statement_writes(statement, writes):
    use = serving.serving_of([statement], catalogue(t=["a", "k"], u=["b", "k"]), True).uses[0]
    assert [(one.kind, None if one.columns is None else set(one.columns)) for one in use.writes] == writes


def test_statements_of_an_earlier_release_are_named_and_left_out():
    found = serving.serving_of(["SELECT a FROM gone", "no sql", "SELECT a FROM t"], catalogue(t=["a"]), True)
    assert (len(found.uses), found.skipped) == (1, ["SELECT a FROM gone", "no sql"])


def test_a_do_block_is_looked_into():
    found, blind = sql.plpgsql_statements("DO $$ BEGIN IF true THEN DROP TABLE t; END IF; EXECUTE 'x'; END $$")
    assert found == [("DROP TABLE t", True)]
    assert "EXECUTE" in blind


TREE = [{"id": "a"}, {"id": "b", "down": ["a"], "source": "def upgrade():\n    op.x()\ndef downgrade():\n    op.y()\n"}]


@pytest.mark.parametrize(
    ("tree", "live", "says"),
    [
        ([*TREE, {"id": "c", "down": ["a"]}], ["a"], "alembic merge"),
        ([{"id": "b", "down": ["nowhere"]}], [], "nowhere is not in the image"),
        ([*TREE, {"id": "b", "down": ["a"], "path": "twice.py"}], ["a"], "twice.py"),
        (TREE, ["later"], "the image does not know"),
        ([TREE[0], {**TREE[1], "source": "def upgrade():\n    op.x()\n"}], ["a"], "no downgrade()"),
    ],
)
def test_a_tree_that_does_not_fit_is_explained(tree, live, says):
    found = alembic.pending(alembic.nodes_of(tree), live)
    assert found.findings
    assert any(says in one.evidence + one.remedy for one in found.findings)


def test_parents_come_first_and_merges_join():
    tree = [{"id": "d", "down": ["b", "c"]}, {"id": "c", "down": ["a"]}, {"id": "b", "down": ["a"]}, {"id": "a"}]
    assert [one.id for one in alembic.pending(alembic.nodes_of(tree), []).revisions] == ["a", "c", "b", "d"]


def test_what_is_left_for_later_gives_the_revision_to_go_to():
    tree = [{"id": "a"}, {"id": "b", "down": ["a"]}, {"id": "c", "down": ["b"], "contract": True}]
    cases = {("a",): ("b", ["c"]), ("b",): ("", ["c"]), (): ("b", ["c"])}
    for live, (target, later) in cases.items():
        found = alembic.pending(alembic.nodes_of(tree), live)
        assert (found.target, found.deferred, found.findings) == (target, later, [])
    assert alembic.pending(alembic.nodes_of(tree[:2]), ["a"]).target == ""


def test_two_branches_before_what_is_left_for_later_are_no_single_way():
    tree = [{"id": "a"}, {"id": "b", "down": ["a"]}, {"id": "c", "down": ["a"]}]
    tree.append({"id": "d", "down": ["b", "c"], "contract": True})
    found = alembic.pending(alembic.nodes_of(tree), ["a"])
    assert [(one.verdict, one.revision) for one in found.findings] == [(HOLD, "b")]
    assert "Merge the branches before d" in found.findings[0].remedy


def test_a_helper_that_asks_the_database_is_seen_through():
    source = "def has(name):\n    return op.get_bind()\ndef upgrade():\n    has('t')\ndef downgrade():\n    op.y()\n"
    found = alembic.pending(alembic.nodes_of([{"id": "a", "source": source}]), [])
    assert "has()" in found.revisions[0].blind


@pytest.mark.parametrize(
    ("code", "out", "wrong"),
    [
        (0, "[]", False),
        (1, '[{"rule_name": "x"}]', False),
        (1, "", True),
        (1, "[]", True),
        (2, "[]", True),
        (0, "", True),
        (0, "nonsense", True),
    ],
)
def test_squawk_is_believed_only_when_code_and_output_agree(code, out, wrong):
    if wrong:
        with pytest.raises(squawk.SquawkError):
            squawk.answer(code, out, "usage")
    else:
        assert isinstance(squawk.answer(code, out, ""), list)


def test_squawk_gets_no_comment_and_its_own_configuration():
    seen = {}

    def run(command, text):
        seen["text"], seen["configuration"] = text, Path(command[command.index("--config") + 1]).read_text()
        return 1, json.dumps([{"rule_name": "ban-drop-table", "message": "m", "line": 1}]), ""

    steps = [model.Revision("r", "-- squawk-ignore-file\nSELECT 1 /* squawk-ignore */;\nBEGIN; DROP TABLE t; COMMIT;")]
    remarks = squawk.Squawk("squawk", run).lint(steps, 17, model.EACH)
    assert "ignore" not in seen["text"]
    assert "BEGIN" not in seen["text"]
    assert 'pg_version = "17.0"' in seen["configuration"]
    assert remarks[0].statement == model.Statement("r", "DROP TABLE t")


def finding(hazard=13, verdict=HOLD, statement="CREATE INDEX i ON t (a)"):
    return model.Finding(hazard, verdict, "public.t", statement, "r", "it waits", "do it otherwise")


def test_squawk_is_borne_out_or_set_aside():
    remark = squawk.Remark(
        "require-concurrent-index-creation", "blocks", model.Statement("r", "CREATE INDEX i ON t (a)")
    )
    borne_out, set_aside = (next(squawk.weigh([remark], found)) for found in ([finding()], []))
    assert "Borne out" in borne_out.evidence
    assert "Set aside" in set_aside.evidence
    assert {borne_out.verdict, set_aside.verdict} == {RUN_NOW}


def packed(**answer):
    whole = {"alembic": "1", "revisions": [], "transaction": "each", "tables": None, "unknown": "", **answer}
    return f"noise\nSIGNALBOX-REVISIONS {base64.b64encode(zlib.compress(json.dumps(whole).encode())).decode()}\n"


@pytest.mark.parametrize(
    ("stdout", "says"),
    [("", "no list"), ("SIGNALBOX-REVISIONS AAAA\n", "cut off"), (packed(failed="no ini"), "no ini")],
)
def test_an_image_without_an_answer_is_an_error(stdout, says):
    with pytest.raises(image.NoTree, match=says):
        image.answer_of(stdout)


@pytest.mark.parametrize(
    ("url", "keeps"),
    [
        ("postgresql+asyncpg://x", True),
        ("postgresql+psycopg://x", True),
        ("postgresql://x", False),
        ("postgresql+pg8000://x", None),
    ],
)
def test_the_driver_tells_of_plans(url, keeps):
    assert image.keeps_plans(url) is keeps


EMPTY = {
    "version": 17, "timezone": "UTC", "search_path": ["public"], "tables": [], "sequences": [], "functions": [],
    "volatile": [], "enums": [], "domains": [], "schemas": ["public"], "default_grants": [], "memberships": [],
}  # fmt: skip


def asked(**changes):
    known = {"catalogue": EMPTY, "live": [], "settings": {}, "statements": [], "observed_seconds": 9999, "forgotten": 0}
    settings = model.Settings(transaction=model.EACH, lock_timeout_seconds=5)
    request = {
        "revisions": [{"id": "r", "sql": "CREATE TABLE t (a text)"}],
        "context": {**known, **changes.pop("context", {})},
        "settings": settings,
    }
    return gate.decide(gate.Request(**{**request, **changes}))


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"context": {"statements": None}}, "no pg_stat_statements"),
        ({"context": {"forgotten": 3}}, "forgot 3"),
        ({"context": {"observed_seconds": 5}}, "5 s only"),
        (
            {"models_output": packed(tables={"t": {"a": {"has_default": False, "computed": False}}})},
            "serving image's models: t",
        ),
        ({"models_output": packed()}, "no target_metadata"),
        ({"models_output": ""}, "models of the serving image are not known"),
        ({}, "squawk is not installed"),
    ],
)
def test_what_could_not_be_covered_is_named(changes, note):
    assert any(note in one for one in asked(**changes).notes)


def test_the_owners_role_gives_the_timeout_that_the_runner_does_not():
    request = gate.Request(context={"settings": {"lock_timeout": "3s"}}, settings=model.Settings())
    assert gate._settings(request).lock_timeout_seconds == 3


def test_before_the_first_release_nobody_breaks_and_what_cannot_run_is_found():
    shop = json.loads((CHECKOUT / "tests/migrations/catalogues.json").read_text())["base"]
    young = {"catalogue": shop, "observed_seconds": 5}
    drop = [{"id": "r", "sql": "ALTER TABLE customers DROP COLUMN phone"}]
    index = [{"id": "r", "sql": "CREATE INDEX CONCURRENTLY i ON customers (phone)"}]
    assert asked(context=young, revisions=drop).verdict == UNDETERMINED
    first = asked(context=young, revisions=drop, serving=False)
    assert first.verdict == RUN_NOW
    assert "No release serves" in " ".join(first.notes)
    assert [one.hazard for one in asked(context=young, revisions=index, serving=False).findings] == [45]


def test_what_the_image_lists_can_be_rehearsed(tmp_path):
    path = tree(tmp_path, ", transaction_per_migration=True", one=(None, UP.format("op.create_table('x')")))
    command = [sys.executable, "-c", PROGRAM.read_text()]
    environment = {**os.environ, "SIGNALBOX_LIVE": "[]", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=True)
    known = {"catalogue": EMPTY, "live": [], "settings": {}, "statements": [], "observed_seconds": 9999, "forgotten": 0}
    found = gate.to_rehearse(gate.Request(image_output=done.stdout, context=known))
    assert (found["transaction"], [one["id"] for one in found["steps"]]) == (model.EACH, ["one"])
    assert any(text.lower().startswith("create table x") for text in found["steps"][0]["up"])
    assert found["steps"][0]["down"][0] == "DROP TABLE x"
    assert all(
        "BEGIN" not in text and "COMMIT" not in text for way in ("up", "down") for text in found["steps"][0][way]
    )


def test_a_report_says_all_and_is_json():
    found = model.Report(
        HOLD, {"r": HOLD}, [finding()], ["a note"], ["later"], {"catalogue": True, "statements": 2, "complete": True}
    )
    for text in (report.markdown(found, "app 1"), "\n".join(report.lines(found, "app 1"))):
        for part in ("public.t", "it waits", "do it otherwise", "hazard 13", "later"):
            assert part in text
    assert json.loads(json.dumps(found.as_dict()))["findings"][0]["kind"] == "lock"


def test_hazards_are_documented():
    text = (CHECKOUT / "docs/migrations.md").read_text()
    for number, (kind, title) in model.HAZARDS.items():
        assert f"| {number} | {title} | {kind} |" in text


# The catalogue's query holds words of the others, so its own comes first.
ANSWERS = {
    "json_build_object": [['{"version": 17, "timezone": "UTC"}']],
    "server_version_num": [[17]],
    "alembic_version')": [[True]],
    "SELECT version_num": [["b"], ["a"]],
    "pg_db_role_setting": [[["TimeZone=Europe/Berlin", "lock_timeout=2s"]]],
    "to_regclass('pg_stat": [[True]],
    "FROM pg_stat_statements s": [["SELECT $1"], ["BEGIN"]],
    "stats_reset": [[60, 0]],
}


class Cursor:
    """Answers as a database would, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.rows = [], []

    def execute(self, text, values=None):
        self.asked.append(text)
        self.rows = next((rows for part, rows in ANSWERS.items() if part in text), [])

    def fetchone(self):
        return self.rows[0]

    def fetchall(self):
        return self.rows


class Connection:
    def __init__(self, cursor):
        self._cursor, self.ended = cursor, []

    def cursor(self):
        return self._cursor

    def rollback(self):
        self.ended.append("rollback")

    def close(self):
        self.ended.append("close")


def test_the_database_is_read_as_roles_that_cannot_write():
    cursor = Cursor()
    connection = Connection(cursor)
    found = context.ContextReader(lambda _: connection, "shop").read("shop_owner", ["shop_blue"])
    assert found["live"] == ["a", "b"]
    assert found["catalogue"]["timezone"] == "Europe/Berlin"
    assert found["settings"] == {"lock_timeout": "2s"}
    assert found["statements"] == ["SELECT $1"]
    assert [one for one in cursor.asked if "ROLE" in one] == [
        "SET LOCAL ROLE pg_read_all_data",
        "SET LOCAL ROLE NONE",
        "SET LOCAL ROLE pg_read_all_stats",
    ]
    assert "default_transaction_read_only=on" in context.READ_ONLY
    assert connection.ended == ["rollback", "close"]


ENVIRONMENT = """
from alembic import context
import sqlalchemy as sa
print("noise of env.py")
metadata = sa.MetaData()
columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Text, server_default="x")]
sa.Table("t", metadata, *columns, sa.Column("b", sa.Text))
context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True{options})
with context.begin_transaction():
    context.run_migrations()
"""


def tree(path, options="", **revisions):
    (path / "m/versions").mkdir(parents=True)
    (path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/m\n")
    (path / "m/env.py").write_text(ENVIRONMENT.replace("{options}", options))
    for name, (down, body) in revisions.items():
        names = f"revision = {name.rstrip('_')!r}\ndown_revision = {down!r}\n"
        head = f'"""x"""\nfrom alembic import op\nimport sqlalchemy as sa\n{names}'
        (path / f"m/versions/{name}.py").write_text(f"{head}{body}")
    return path


UP = "def upgrade():\n    {}\n\n\ndef downgrade():\n    op.drop_table('x')\n"


def listed(path, live=()):
    environment = {**os.environ, "SIGNALBOX_LIVE": json.dumps(list(live)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM.read_text()]
    done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=True)
    return image.answer_of(done.stdout)


def test_the_image_lists_its_revisions(tmp_path):
    index = "op.create_index('i', 't', ['a'], postgresql_concurrently=True)"
    index = f"with op.get_context().autocommit_block():\n        {index}"
    path = tree(
        tmp_path,
        ", transaction_per_migration=True",
        one=(None, UP.format("op.create_table('t', sa.Column('id', sa.Integer))")),
        two=("one", f"contract = True\n{UP.format('op.drop_column(chr(116), chr(97))')}"),
        three=("two", UP.format(index)),
        four=("three", UP.format("sa.inspect(op.get_bind())")),
    )
    found = listed(path, ["one"])
    known = {one["id"]: one for one in found["revisions"]}
    assert (found["transaction"], found["unknown"]) == ("each", "")
    assert (known["one"]["source"], known["one"]["sql"]) == ("", "")
    assert known["two"]["contract"]
    assert known["one"]["undo"] == ""
    assert "DROP TABLE x" in known["three"]["undo"]
    assert "SET version_num='two'" in known["three"]["undo"]
    assert alembic.inner(known["three"]["sql"]).split("CREATE INDEX CONCURRENTLY")[0].strip().endswith("COMMIT;")
    assert "NoInspectionAvailable" in known["four"]["error"]
    assert image.statements_of_models(found["tables"]) == [
        'SELECT "id", "a", "b" FROM "t"',
        'INSERT INTO "t" ("b") VALUES ($1)',
    ]


def test_whether_anything_is_pending_is_one_line(tmp_path):
    path = tree(tmp_path, one=(None, UP.format("pass")), two=("one", UP.format("pass")))
    for live, count in (["two"], "0"), (["one"], "1"), ([], "2"), (["unknown"], "2"):
        environment = {**os.environ, "SIGNALBOX_LIVE": json.dumps(live), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", PROGRAM.read_text()]
        done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=True)
        assert f"SIGNALBOX-PENDING {count}" in done.stdout.splitlines()
    (path / "alembic.ini").unlink()
    done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=True)
    assert "SIGNALBOX-PENDING unknown" in done.stdout.splitlines()


def test_a_broken_tree_is_listed_all_the_same(tmp_path):
    path = tree(
        tmp_path, one=(None, UP.format("pass")), two=("nowhere", UP.format("pass")), one_=(None, UP.format("pass"))
    )
    found = listed(path)
    assert sorted(one["id"] for one in found["revisions"]) == ["one", "one", "two"]
    assert found["transaction"] in ("all", None)
    evidence = " ".join(one.evidence for one in alembic.pending(alembic.nodes_of(found["revisions"]), []).findings)
    assert "nowhere is not in the image" in evidence
    assert "two files have the id one" in evidence
