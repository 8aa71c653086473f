"""What status.yml says of the backups."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _backup_report as report

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0


def status(**changes: Any) -> dict[str, Any]:
    def backup(kind: str, age: float) -> dict[str, Any]:
        return {"kind": kind, "stopped": f"{age:.0f} s before", "stopped_seconds": NOW - age, "page_errors": False}

    good = {
        "code": 0,
        "message": "ok",
        "backups": [backup("full", 40 * DAY), backup("incr", 3 * HOUR)],
        "run": {"success": 1, "findings": []},
        "archive_timestamp_seconds": NOW - 20,
        "archive_timeout_seconds": 30,
        "prepared_timestamp_seconds": NOW - 40 * DAY,
        "backup": {"stopped_timestamp_seconds": NOW - 3 * HOUR},
        "verify": {"success": 1, "timestamp_seconds": NOW - 3 * DAY, "findings": []},
        "copies": True,
        "copy": {"success": 1, "timestamp_seconds": NOW - 3 * HOUR, "findings": [], "count": 57},
        "drill": {"success": 1, "at": NOW - 20 * DAY, "rto_seconds": 2.61, "rpo_seconds": 0.4, "target": "time then"},
    }
    return {**good, **changes}


def test_all_is_well() -> None:
    assert report.problems(status(), NOW) == []
    told = report.lines(status(), NOW)
    assert told[0].startswith("backups  2 kept; newest incr 3 h ago; every moment since 3456000 s before")
    assert told[1] == "archive  newest WAL 20 s ago"
    assert told[2] == "verified 3 d ago, sound"
    assert told[3] == "copies   57 of the repository kept; newest 3 h ago"
    assert told[4] == "drill    20 d ago: back in 2.6 s, to within 0.4 s of time then"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": 2, "message": "no valid backups"}, "the repository says: no valid backups"),
        ({"backup": {"stopped_timestamp_seconds": NOW - 27 * HOUR}}, "the last backup 27 h ago"),
        ({"backup": {}}, "the last backup never was"),
        (
            {"copy": {"success": 1, "timestamp_seconds": NOW - 27 * HOUR, "count": 1}},
            "the last copy of the repository 27 h ago",
        ),
        ({"copy": {"success": 0, "findings": ["it shrank"]}}, "the last copy of the repository failed: it shrank"),
        ({"run": {"success": 0, "findings": ["no room"]}}, "the last backup failed: no room"),
        ({"archive_timestamp_seconds": NOW - 400}, "no WAL has arrived for 7 min"),
        ({"verify": {}}, "the last verification never was"),
        ({"verify": {"success": 0, "timestamp_seconds": NOW, "findings": ["a gap"]}}, "verification failed: a gap"),
        (
            {"drill": {"success": 1, "at": NOW - 34 * DAY, "rto_seconds": 1, "rpo_seconds": 1, "target": "x"}},
            "drill 34 d",
        ),
        ({"drill": {"success": 0, "at": NOW, "findings": []}}, "the last drill failed: without a word"),
        (
            {"backups": [{"kind": "full", "stopped": "", "stopped_seconds": NOW, "page_errors": True}]},
            "pages with wrong checksums",
        ),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in report.problems(status(**changes), NOW))
    assert report.lines(status(**changes), NOW)[0].startswith("PROBLEM")


def test_a_young_platform_is_not_late_with_what_it_never_did() -> None:
    young = status(verify={}, drill={}, prepared_timestamp_seconds=NOW - 5 * DAY)
    assert report.problems(young, NOW) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": 2, "message": "no valid backups", "backups": []}, "the repository says: no valid backups"),
        ({"backups": []}, "there is no backup"),
        ({"backups": [{"stopped_seconds": NOW - 30 * HOUR}]}, "the newest backup is 30 h old"),
        ({"archive_timestamp_seconds": NOW - 400}, "no WAL has arrived for 7 min"),
        ({"archive_timestamp_seconds": 0.0}, "no WAL has arrived yet"),
    ],
)
def test_what_keeps_a_release_from_being_taken_back_is_told(changes: dict[str, Any], words: str) -> None:
    assert report.unprotected(status(), NOW) == []
    assert words in report.unprotected(status(**changes), NOW)
