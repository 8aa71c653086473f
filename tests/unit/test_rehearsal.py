"""A rehearsal of a migration: what it is asked for, what it may say, and what its answer adds to the gate's report."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import rehearsal
import watching
from problems import Problem

from ansible_collections.signalbox.platform.plugins.module_utils import _migration_alembic as alembic
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_model as model
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_page as page
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_rehearsal as joined
from ansible_collections.signalbox.platform.plugins.module_utils import _migration_report as report

ASKED: dict[str, Any] = {
    "database": "shop",
    "owner": "shop_owner",
    "role": "shop_blue",
    "live": ["one"],
    "transaction": "each",
    "steps": [{"id": "two", "up": ["SELECT 1"], "down": None}],
    "serving": [],
    "plan_caching": True,
    "lock_timeout_seconds": 5,
    "statement_timeout_seconds": 60,
    "seconds": 600,
    "held_seconds": 2,
}


def test_what_is_asked_is_read() -> None:
    found = rehearsal.asked(json.loads(json.dumps(ASKED)))
    assert found.steps == (rehearsal.Step("two", ("SELECT 1",), None),)
    assert found.held_seconds == 2.0


@pytest.mark.parametrize(
    "change",
    [
        {"steps": []},
        {"transaction": "some"},
        {"seconds": "soon"},
        {"owner": None, "live": None},
        {"steps": [{"up": []}]},
    ],
)
def test_what_is_not_whole_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Problem, match=r"what to rehearse is not whole|no revision"):
        rehearsal.asked({**ASKED, **change})


# PostgreSQL manual, table 13.2, row by row: what a wanted lock waits for.
TABLE = {
    "AccessShare": "00000001",
    "RowShare": "00000011",
    "RowExclusive": "00001111",
    "ShareUpdateExclusive": "00011111",
    "Share": "00110111",
    "ShareRowExclusive": "00111111",
    "Exclusive": "01111111",
    "AccessExclusive": "11111111",
}


@pytest.mark.parametrize("wanted", TABLE)
def test_what_waits_for_what(wanted: str) -> None:
    assert "".join(str(int(watching.waits_for(wanted, held))) for held in TABLE) == TABLE[wanted]
    assert all(watching.waits_for(held, wanted) == watching.waits_for(wanted, held) for held in TABLE)


@pytest.mark.parametrize(
    ("code", "primary", "says"),
    [
        ("42703", 'column "a" does not exist', 'column "a" does not exist (SQLSTATE 42703)'),
        ("22P02", 'invalid input syntax for type integer: "secret"', "a value does not fit (SQLSTATE 22P02)"),
        (None, None, "it is gone"),
    ],
)
def test_no_value_is_in_what_is_said(code: str | None, primary: str | None, says: str) -> None:
    error = type("Error", (Exception,), {"pgcode": code, "diag": SimpleNamespace(message_primary=primary)})(
        "it is gone"
    )
    assert rehearsal.said(error) == says


def pending(**changes: Any) -> alembic.Pending:
    return alembic.Pending(
        [model.Revision(**{"id": "two", "sql": "SELECT 1; SELECT 2", "undo": "SELECT 3", **changes})]
    )


def test_the_gate_says_what_to_rehearse() -> None:
    settings = model.Settings(transaction=model.EACH)
    found = joined.wanted(pending(), settings, ["one"], ["SELECT $1", "SELECT $1"])
    assert found["steps"] == [{"id": "two", "up": ["SELECT 1", "SELECT 2"], "down": ["SELECT 3"]}]
    assert (found["serving"], found["plan_caching"], found["live"]) == (["SELECT $1"], True, ["one"])
    rehearsal.asked({**ASKED, **found})
    assert joined.wanted(pending(undo=""), settings, [], None)["steps"][0]["down"] is None


@pytest.mark.parametrize(
    ("what", "settings", "why"),
    [
        (alembic.Pending(), model.Settings(transaction=model.EACH), "nothing is pending"),
        (pending(), model.Settings(), "transactions"),
        (pending(blind="it asks"), model.Settings(transaction=model.EACH), "two: it asks"),
        (pending(sql="nonsense"), model.Settings(transaction=model.EACH), "two: "),
    ],
)
def test_what_cannot_be_rehearsed_says_why(what: alembic.Pending, settings: model.Settings, why: str) -> None:
    with pytest.raises(joined.NotRehearsable, match=why):
        joined.wanted(what, settings, [], None)


def finding(hazard: int, verdict: str) -> dict[str, Any]:
    why = {"evidence": "it fails", "remedy": "mend it"}
    return {"hazard": hazard, "verdict": verdict, "object": "public.t", "statement": "", "revision": "two", **why}


ANSWER = {
    "backup": "20261123-171946F",
    "database_bytes": 5 << 20,
    "restore_seconds": 2.0,
    "seconds_of": {"the upgrade": 0.25},
    "seconds": 4.0,
    "wal_bytes": 2048,
    "serving": 3,
    "statements": [
        {"revision": "two", "statement": "SELECT 1 | 2", "at": 0.0, "seconds": 0.2, "wal_bytes": 2048, "rows": 1},
        {"revision": "two", "statement": "SELECT '<b>'", "at": 0.2, "seconds": 0.2, "wal_bytes": 0, "rows": 1},
    ],
    "locks": [
        {"object": "public.t", "mode": "AccessExclusive", "at": 0.2, "seconds": 0.2, "blocks": ["SELECT a FROM t"]}
    ],
    "rewritten": ["public.t"],
    "built": [],
    "notes": ["noted"],
}


def test_it_speaks_against_a_migration_and_never_for_one() -> None:
    settings = model.Settings()
    for before in model.VERDICTS:
        plain = model.Report(before, {"two": before}, [])
        assert joined.joined(plain, {**ANSWER, "findings": []}, settings).verdict == before
        held = joined.joined(plain, {**ANSWER, "findings": [finding(26, model.HOLD)]}, settings)
        assert (held.verdict, held.revisions) == (model.HOLD, {"two": model.HOLD})
        assert held.findings[0].source == "rehearsal"


def test_a_downgrade_may_be_no_way_back_where_that_is_accepted() -> None:
    answer = {**ANSWER, "findings": [finding(55, model.UNDETERMINED)]}
    plain = model.Report(model.RUN_NOW, {"two": model.RUN_NOW}, [])
    assert joined.joined(plain, answer, model.Settings()).verdict == model.UNDETERMINED
    assert joined.joined(plain, answer, model.Settings(accept_no_downgrade=True)).verdict == model.RUN_NOW


def test_the_report_has_the_figures() -> None:
    plain = model.Report(model.RUN_NOW, {"two": model.RUN_NOW}, [])
    found = joined.joined(plain, {**ANSWER, "findings": []}, model.Settings())
    text = report.markdown(found)
    for part in (
        "## Rehearsal",
        "5 MiB",
        "the upgrade 0.25 s",
        "2 KiB",
        "AccessExclusive",
        "SELECT 1 \\| 2",
        "Rewritten",
    ):
        assert part in text
    assert "noted" in "\n".join(report.lines(found))
    assert json.loads(json.dumps(found.as_dict()))["covered"]["rehearsal"]["wal_bytes"] == 2048


def test_the_page_is_whole_and_pictures_the_locks() -> None:
    plain = model.Report(model.RUN_NOW, {"two": model.RUN_NOW}, [])
    found = joined.joined(plain, {**ANSWER, "findings": [finding(26, model.HOLD)]}, model.Settings())
    text = page.page(found, "api <1>")
    root = ElementTree.fromstring(text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    bars = {bar.find("title").text.split(":")[0]: bar.find("rect") for bar in root.iter("g")}
    lock = bars["public.t AccessExclusive"]
    assert (lock.get("x"), lock.get("width")) == (f"{page.LEFT + page.WIDTH / 2:.1f}", f"{page.WIDTH / 2:.1f}")
    assert lock.get("fill") == "#b42318"
    assert "SELECT '<b>'" in bars
    for part in ("http", "<script", "src="):
        assert part not in text
    nothing = page.page(model.Report(model.RUN_NOW, {}, []))
    assert "Nothing is pending" in nothing
    assert "svg" not in nothing.split("</style>")[1]
