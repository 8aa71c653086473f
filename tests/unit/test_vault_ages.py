"""Ages of credentials: what is due comes first, and a time that is not known counts as due."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_ages as rules

NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("since", "days"),
    [
        ("2026-11-23T11:59:59.123456789Z", 0),
        ("2026-11-20T11:00:00Z", 3),
        ("2026-11-24T00:00:00Z", 0),  # a clock that is ahead
        ("", None),
        ("never", None),
    ],
)
def test_age(since: str, days: int | None) -> None:
    assert rules.age_days(since, NOW) == days


@pytest.mark.parametrize(
    ("credential", "limit"),
    [
        (("a", "database", "2026-11-20T11:00:00Z"), 90),
        (("a", "hosts", "2026-11-20T11:00:00Z"), 20),
        (("a", "vault", "2026-11-20T11:00:00Z"), 7),
        # Two thirds of its life and a day, whatever is said of its kind.
        (("a", "certificates", "2026-09-01T11:00:00+00:00", "2026-11-30T11:00:00+00:00"), 61),
        (("a", "certificates", ""), 90),
    ],
)
def test_the_limit(credential: tuple[str, ...], limit: int) -> None:
    assert rules.limit_days(rules.Credential(*credential), {"vault": 7, "certificates": 90}) == limit


def test_what_is_due_comes_first() -> None:
    credentials = [
        rules.Credential("a", "database", "2026-11-20T11:00:00Z"),
        rules.Credential("b", "cache", "2026-01-01T00:00:00Z"),
        rules.Credential("c", "database", "2026-11-01T00:00:00Z"),
        rules.Credential("d", "clients", ""),
    ]
    found = rules.ages(credentials, {"database": 20}, NOW)
    assert [(entry["name"], entry["due"]) for entry in found] == [("b", True), ("c", True), ("d", True), ("a", False)]
    shown = rules.table(found).splitlines()
    assert shown[1].split() == ["b", "326", "d", "DUE", "NOW"]
    assert shown[3].split() == ["d", "unknown", "DUE", "NOW"]
    assert shown[4].endswith("after 20 d")
