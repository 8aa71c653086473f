"""The backup program's decisions: which backup is due, and which backup and timeline lead to a moment."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import metrics
import pytest
import schedule
import scratch
import tables
import targets
from catalogue import Backup, Catalogue, Fork, Hole, Timeline, catalogue, forks, lsn, missing_segments
from drill import random_moment
from problems import INPUT, NO_BACKUP, Problem
from repository import Repository, Said, execute

HOUR, DAY = 3600.0, 86400.0
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc).timestamp()


def backup(label: str, stopped: float, kind: str = "full", timeline: int = 1, stop_lsn: int = 100) -> Backup:
    return Backup(label, kind, stopped - 60, stopped, timeline, stop_lsn, 1000, 100, False)


INFO = [
    {
        "name": "main",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7575757575757575757, "version": "17"}],
        "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
        "archive": [
            {
                "database": {"id": 1, "repo-key": 1},
                "id": "17-1",
                "max": "00000002000000000000001A",
                "min": "000000010000000000000003",
            }
        ],
        "backup": [
            {
                "archive": {"start": "00000002000000000000001A", "stop": "00000002000000000000001A"},
                "error": False,
                "info": {"delta": 10, "repository": {"delta": 7, "size": 9}, "size": 40528815},
                "label": "20261123-171946F_20261123-172029I",
                "lsn": {"start": "0/1A000028", "stop": "0/1A0002F0"},
                "reference": ["20261123-171946F"],
                "timestamp": {"start": 1795454429, "stop": 1795454430},
                "type": "incr",
            }
        ],
    }
]


def test_the_answer_of_info_is_read() -> None:
    found = catalogue(INFO, "main")
    assert (found.code, found.archive_id, found.busy) == (0, "17-1", False)
    assert found.system_identifier == "7575757575757575757"
    newest = found.newest
    assert newest is not None
    assert (newest.kind, newest.timeline, newest.stop_lsn) == ("incr", 2, 0x1A0002F0)
    assert (newest.database_bytes, newest.repository_bytes) == (40528815, 7)


def test_a_stanza_that_is_not_there_has_a_code() -> None:
    assert catalogue([], "main").code == 1


def test_positions_and_histories() -> None:
    assert lsn("1/A") == 0x10000000A
    history = "1\t0/5000000\tbefore 2026-11-23\n\n2\t0/7000028\tno recovery target specified\n"
    assert forks(history) == (Fork(1, 0x5000000), Fork(2, 0x7000028))


@pytest.mark.parametrize(
    ("backups", "kind"),
    [
        ([], "full"),
        ([("full", 7 * DAY)], "full"),
        ([("full", 7 * DAY - 1800)], "full"),  # a run that begins a little earlier than a week ago
        ([("full", 6 * DAY)], "diff"),
        ([("full", 6 * HOUR)], "incr"),
        ([("full", 6 * DAY), ("diff", 18 * HOUR)], "incr"),
        ([("full", 6 * DAY), ("diff", 24 * HOUR)], "diff"),
        ([("full", 6 * DAY), ("diff", 5 * DAY), ("incr", 6 * HOUR)], "diff"),  # after downtime
        ([("full", 30 * DAY), ("diff", HOUR)], "full"),
    ],
)
def test_the_backup_that_is_due(backups: list[tuple[str, float]], kind: str) -> None:
    held = tuple(backup(f"b{number}", NOON - age + 60, kind_) for number, (kind_, age) in enumerate(backups))
    assert schedule.due(Catalogue(0, "ok", held), NOON, 7, 24) == kind


def at(hours: float) -> str:
    return targets.shown(NOON + hours * HOUR)


# Timeline 1 from midnight. At 10:00 its state of 08:00 was restored: timeline 2, which left 1 at position 800. A backup
# of timeline 1 at 09:00 lies beyond the fork.
STORY = Catalogue(
    0,
    "ok",
    (
        backup("early", NOON - 6 * HOUR, stop_lsn=600),
        backup("beyond", NOON - 3 * HOUR, stop_lsn=900),
    ),
    timelines=(Timeline(1), Timeline(2, (Fork(1, 800),), NOON - 2 * HOUR)),
)


@pytest.mark.parametrize(
    ("wanted", "label", "timeline"),
    [
        ({}, "early", 2),  # latest: the newest backup is on a branch that was left
        ({"kind": "time", "value": at(-1)}, "early", 2),
        ({"kind": "time", "value": at(-2.5)}, "beyond", 1),  # only timeline 1 has lived through 09:30
        ({"kind": "time", "value": at(-3.5)}, "early", 1),
        ({"kind": "time", "value": at(-1), "timeline": 1}, "beyond", 1),
        ({"kind": "name", "value": "release-7", "before": at(-4), "timeline": 1}, "early", 1),
        ({"kind": "lsn", "value": "0/320", "timeline": 1}, "early", 1),
        ({"kind": "immediate", "label": "beyond", "timeline": 1}, "beyond", 1),
    ],
)
def test_backup_and_timeline_for_a_target(wanted: dict[str, object], label: str, timeline: int) -> None:
    made = targets.plan(STORY, targets.target(wanted), NOON)
    assert (made.backup.label, made.timeline) == (label, timeline)
    # pgBackRest refuses a timeline with the end of the backup itself.
    assert (f"--target-timeline={timeline}" in made.options) == (made.target.kind != "immediate")
    assert f"--set={label}" in made.options


def test_after_a_backup_of_the_new_timeline_it_is_the_one() -> None:
    story = Catalogue(
        0, "ok", (*STORY.backups, backup("after", NOON - HOUR, timeline=2, stop_lsn=850)), timelines=STORY.timelines
    )
    assert targets.plan(story, targets.target({}), NOON).backup.label == "after"
    assert targets.plan(story, targets.target({"kind": "time", "value": at(-1.5)}), NOON).backup.label == "early"


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [
        ({"kind": "yesterday"}, INPUT, "choose one of latest"),
        ({"kind": "time"}, INPUT, "needs a value"),
        ({"kind": "latest", "value": "x"}, INPUT, "takes no value"),
        ({"kind": "time", "value": "noon"}, INPUT, "is no moment"),
        ({"kind": "time", "value": "2026-11-23 10:00:00"}, INPUT, "has no time zone"),
        ({"kind": "time", "value": at(1)}, INPUT, "is in the future"),
        ({"kind": "time", "value": at(-7)}, NO_BACKUP, "the oldest backup, early, ends at 2026-11-23T06:00:00"),
        ({"kind": "xid", "value": "12a"}, INPUT, "is no number"),
        ({"kind": "name", "value": "a b"}, INPUT, "is no name"),
        ({"kind": "lsn", "value": "12"}, INPUT, "is none"),
        ({"kind": "name", "value": "x", "exclusive": True}, INPUT, "cannot be exclusive"),
        ({"timeline": 9}, INPUT, "choose one of 1, 2"),
        ({"label": "none"}, NO_BACKUP, "there is no backup none"),
        (
            {"label": "beyond"},
            NO_BACKUP,
            "backup beyond does not end before the end of the WAL on the way to timeline 2",
        ),
    ],
)
def test_a_target_that_cannot_be_reached_is_told_with_the_remedy(
    wanted: dict[str, object], code: int, words: str
) -> None:
    with pytest.raises(Problem, match="Remedy: ") as caught:
        targets.plan(STORY, targets.target(wanted), NOON)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_the_live_timeline_is_not_always_the_newest() -> None:
    """At 10:00 a restore made timeline 2; then the old cluster came back, and took a backup at 11:00."""
    back = Catalogue(0, "ok", (*STORY.backups, backup("back", NOON - HOUR, stop_lsn=950)), timelines=STORY.timelines)
    made = targets.plan(back, targets.target({}), NOON)
    assert (made.backup.label, made.timeline) == ("back", 1)
    made = targets.plan(back, targets.target({"kind": "time", "value": at(-0.5)}), NOON)
    assert (made.backup.label, made.timeline) == ("back", 1)


def test_without_a_backup_there_is_nothing_to_restore() -> None:
    with pytest.raises(Problem, match="holds no backup") as caught:
        targets.plan(Catalogue(2, "no valid backups"), targets.Target(), NOON)
    assert caught.value.code == NO_BACKUP


def test_options_say_promote_only_where_there_is_a_target() -> None:
    latest = targets.plan(STORY, targets.target({}), NOON).options
    assert "--type=default" in latest
    assert not any("target-action" in option for option in latest)
    wanted = targets.target({"kind": "time", "value": "2026-11-23T10:30:00.25+02:00", "exclusive": True})
    timed = targets.plan(STORY, wanted, NOON).options
    assert "--target=2026-11-23 08:30:00.250000+00" in timed
    assert {"--type=time", "--target-action=promote", "--target-exclusive"} <= set(timed)


def test_a_random_moment_is_after_the_backup_and_old_enough() -> None:
    held = Catalogue(0, "ok", (backup("b", NOON - HOUR),))
    moments = [targets.moment(random_moment(held, NOON, 65).value) for _ in range(50)]
    assert all(NOON - HOUR < moment < NOON - 65 for moment in moments)
    assert len(set(moments)) > 10
    later = Catalogue(0, "ok", (*held.backups, backup("just now", NOON - 30)))
    assert targets.moment(random_moment(later, NOON, 65).value) < NOON - 65, "the one before serves as well"
    with pytest.raises(Problem, match="wait some minutes"):
        random_moment(Catalogue(0, "ok", (backup("b", NOON - 30),)), NOON, 65)


def test_the_primarys_limits_are_carried_over() -> None:
    told = "max_connections setting: 100\nmax_xlog: 3\nmax_prepared_xacts setting: 0\nmax_locks_per_xact setting: 64\n"
    assert scratch.carried_settings(told) == {
        "max_connections": 100,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 64,
    }


def test_the_repository_is_asked_with_a_limit_and_its_reason_is_kept() -> None:
    commands: list[list[str]] = []

    def answer(command: list[str], seconds: float) -> Said:
        commands.append(command)
        if command[-1] == "info":
            return Said(0, json.dumps(INFO), "")
        if "repo-ls" in command:
            return Said(
                0,
                json.dumps(
                    {"00000002.history": {"time": 1795454000, "type": "file"}, "0000000200000000": {"type": "path"}}
                ),
                "",
            )
        return Said(0, "1\t0/800\tbefore\n", "")

    found = Repository("main", execute=answer).look()
    assert found.timelines == (Timeline(1), Timeline(2, (Fork(1, 0x800),), 1795454000.0))
    assert commands[-1][-2:] == ["repo-get", "archive/main/17-1/00000002.history"]

    def refuse(code: int, words: str) -> Repository:
        return Repository("main", execute=lambda _command, _seconds: Said(code, "", f"P00  ERROR: [0]: {words}\n"))

    for code, expected in (
        (50, "another backup"),
        (49, "pgbackrest.service runs on both hosts"),
        (37, "requires option"),
    ):
        with pytest.raises(Problem, match=expected):
            refuse(code, "requires option").check()


def test_holes_in_the_archive() -> None:
    def names(line: int, numbers: list[int]) -> list[str]:
        folder = f"{line:08X}{numbers[0] >> 8:08X}"
        return [f"{folder}/{line:08X}{n >> 8:08X}{n & 0xFF:08X}-{'ab' * 20}.zst" for n in numbers]

    def holes(*names: str) -> list[tuple[str, float]]:
        listed = {name: {"time": 1000 + index} for index, name in enumerate(names)}
        return [(str(hole), hole.passed) for hole in missing_segments(listed)]

    others = ["00000002.history", "0000000100000000", f"000000010000000000000003.00000028.backup-{'ab' * 20}"]
    whole = names(1, [3, 4, 5]) + names(2, [5, 6, 254, 255, 256, 257])
    assert holes(*names(1, [254, 255, 256]), *others) == []
    assert holes(*whole, *others) == [("000000020000000000000007 to 0000000200000000000000FD", 1005)]
    assert holes(*names(1, [3, 5])) == [("000000010000000000000004 to 000000010000000000000004", 1001)]


def test_a_full_backup_makes_an_earlier_hole_harmless() -> None:
    hole = Hole("00000005000000000000006A", "00000005000000000000006B", passed=100)
    full = Backup("F", "full", 100, 110, 5, 0, 0, 0, False, "00000005000000000000006C")
    assert hole.before(full), "by its place, for moments are whole seconds"
    assert not hole.before(replace(full, first_segment="00000005000000000000006A"))
    assert hole.before(replace(full, started=101, first_segment="000000060000000000000020")), "of another timeline"
    assert not hole.before(replace(full, started=99, first_segment="000000060000000000000090"))


def test_records_become_metrics(tmp_path: Path) -> None:
    metrics.remember(
        tmp_path,
        "backup",
        {"label": "x", "seconds": 2.5, "database_bytes": 31361967, "stopped_timestamp_seconds": 1795454388.0},
    )
    lines = (tmp_path / "backup.prom").read_text().splitlines()
    assert "signalbox_backup_seconds 2.5" in lines
    assert "signalbox_backup_database_bytes 31361967" in lines
    # A moment must keep its seconds.
    assert float(next(line for line in lines if "timestamp" in line).split()[1]) == 1795454388.0
    assert metrics.recall(tmp_path, "backup")["label"] == "x"
    assert metrics.recall(tmp_path, "drill") == {}


# ---- restore points ------------------------------------------------------------------------------------------------


def test_a_restore_point_tells_when_it_was_made() -> None:
    name = targets.restore_point("agent-api.sha256:" + "a" * 64, NOON)
    assert name.endswith("a.20261123T120000Z")
    assert len(name) == 63
    assert ":" not in name
    assert targets.target({"kind": "name", "value": name}).before == "2026-11-23T12:00:00+00:00"
    assert targets.target({"kind": "name", "value": "by-hand"}).before == ""
    assert (
        targets.target({"kind": "name", "value": name, "before": "2026-11-22T00:00:00+00:00"}).before[:10]
        == "2026-11-22"
    )


def test_a_restore_point_is_reached_from_a_backup_before_it_on_the_timeline_of_then() -> None:
    old, new = backup("old", NOON - HOUR), backup("new", NOON + HOUR, timeline=2)
    lines = (Timeline(1), Timeline(2, (Fork(1, 200),), NOON + HOUR / 2))
    known = Catalogue(0, "ok", (old, new), timelines=lines)
    wanted = targets.target({"kind": "name", "value": targets.restore_point("shop.1.0", NOON)})
    plan = targets.plan(known, wanted, NOON + 2 * HOUR)
    assert (plan.backup.label, plan.timeline) == ("old", 1)


# ---- tables --------------------------------------------------------------------------------------------------------


def test_a_request_for_tables_is_read() -> None:
    wanted = tables.wanted({"database": "shop", "tables": ["orders", " sales.lines ", ""], "kind": "latest"})
    assert (wanted.database, wanted.tables, wanted.target.kind) == ("shop", ("orders", "sales.lines"), "latest")


@pytest.mark.parametrize("asked", [{}, {"database": ""}, {"database": "template1"}])
def test_a_request_without_a_database_is_refused(asked: dict) -> None:
    with pytest.raises(Problem) as caught:
        tables.wanted(asked)
    assert caught.value.code == INPUT


@pytest.mark.parametrize("error", ["FormatError: key/value found outside", "CryptoError: unable to flush"])
def test_another_passphrase_is_told_without_what_it_makes_of_the_files(error: str) -> None:
    said = f"[{error[:11]}] unable to load info file 'backup.info':\n{error} \x00\ufffd"
    repo = [{"key": 1, "status": {"code": 99, "message": said}}]
    status = {"code": 99, "lock": {}, "message": "other"}
    found = catalogue([{**INFO[0], "status": status, "repo": repo, "backup": []}], "main")
    assert found.message == "its files cannot be read, with another passphrase than the repository's or after damage"


@pytest.mark.parametrize(
    ("wanted", "archived", "words"),
    [
        (targets.Target("time", targets.shown(NOON)), NOON - 30, "the newest WAL arrived at .*, 40 s ago"),
        (targets.Target("time", targets.shown(NOON)), 0, "no WAL arrived"),
        (targets.Target("time", targets.shown(NOON)), NOON, ""),
        (targets.Target("latest"), 0, ""),
        (targets.Target("name", "release-7"), 0, ""),
    ],
)
def test_a_moment_that_the_archive_lacks_is_refused(wanted: targets.Target, archived: float, words: str) -> None:
    if not words:
        targets.check_archived(wanted, archived, NOON + 10)
        return
    with pytest.raises(Problem, match=words):
        targets.check_archived(wanted, archived, NOON + 10)


def test_what_is_no_text_in_an_answer_breaks_nothing() -> None:
    said = execute(["printf", r"\300\001[]"], 10)
    assert said.output == "\ufffd\x01[]"
    status = '{"code": 99, "lock": {}, "message": "unable to load info file:\\nFormatError: \ufffd\x01"}'
    answer = Said(0, f'[{{"name": "main", "status": {status}}}]', "")
    found = Repository("main", execute=lambda _command, _seconds: answer).info()
    assert "another passphrase" in found.message
