"""The labelled migrations: what the gate says of each, with all that it may know and with parts withheld."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "migrations"))

import labelled
import score

from ansible_collections.signalbox.platform.plugins.module_utils._migration_model import HAZARDS, RUN_NOW, VERDICTS

CASES = labelled.cases()
# False alarms that docs/migrations.md names; a rule that stops working shows in any other case that goes wrong.
FALSE_ALARMS = {"t-check-that-a-default-meets", "t-batch-by-a-temporary-table"}


@pytest.fixture(scope="module")
def reports():
    data, shop = score.stored(), labelled.defaults()
    return {case["id"]: labelled.judged(case, data, shop) for case in CASES}


def test_cases_are_many_half_safe_and_of_every_hazard():
    safe = sum(case["verdict"] == RUN_NOW for case in CASES)
    assert len({case["id"] for case in CASES}) == len(CASES) >= 150
    assert 0.4 <= safe / len(CASES) <= 0.6
    for hazard in HAZARDS:
        verdicts = {case["verdict"] == RUN_NOW for case in CASES if case["hazard"] == hazard}
        assert verdicts == {True, False}, f"hazard {hazard} wants a case that is safe and one that is not"
    assert all(case["source"] and case["verdict"] in VERDICTS for case in CASES)


def test_twins_differ_in_verdict_alone():
    groups = {}
    for case in CASES:
        if case.get("twin"):
            groups.setdefault(case["twin"], []).append(case)
    assert len(groups) >= 20
    for name, members in groups.items():
        assert len({str(one.get("revisions", one.get("sql"))) for one in members}) == 1, name
        assert len({one["verdict"] for one in members}) > 1, name


def test_with_context(reports):
    found = score.Score()
    for case in CASES:
        found.add(case, reports[case["id"]].verdict)
    assert found.precision >= 0.95, found.false_alarms
    assert found.recall >= 0.97, found.missed
    assert not found.called_safe


def test_nothing_got_worse(reports):
    wrong = {case["id"] for case in CASES if reports[case["id"]].verdict != case["verdict"]}
    assert wrong <= FALSE_ALARMS


def test_twins(reports):
    whole, groups, wrong = score.twins({name: report.verdict for name, report in reports.items()})
    assert whole / groups >= 0.95, wrong


@pytest.mark.parametrize("name", score.WITHHELD)
def test_what_is_withheld_makes_nothing_safe(name):
    assert not score.gate(score.WITHHELD[name])[0].called_safe


def test_the_hazard_is_named(reports):
    """A right verdict for a wrong reason would help nobody; some cases have several reasons."""
    wrong = []
    for case in CASES:
        if case["verdict"] == RUN_NOW or case["file"] in ("process", "held_out", "histories"):
            continue
        found = [one.hazard for one in reports[case["id"]].findings if one.verdict != RUN_NOW]
        if case["hazard"] not in found:
            wrong.append((case["id"], case["hazard"], found))
    assert len(wrong) <= 0.05 * len(CASES), wrong


def test_each_finding_helps(reports):
    for name, report in reports.items():
        for finding in report.findings:
            assert finding.evidence, name
            assert finding.remedy, name
            assert finding.object or finding.revision, name
