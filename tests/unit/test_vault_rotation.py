"""Rotation of secrets: every step can be repeated, and whoever checks a secret is told of both values in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_rotation as rotation

NAMES = ["password"]


def numbered() -> Iterator[str]:
    yield from (f"value-{number}" for number in range(9))


def test_a_rotation_in_steps_and_each_step_twice() -> None:
    new = numbered()

    def generate(length: int) -> str:
        return next(new) + "x" * (length - 7)

    start = {"password": "o" * 40, "other": "stays"}
    staged = rotation.stage(start, NAMES, generate)
    assert staged == {**start, "password_next": "value-0" + "x" * 33}
    assert rotation.stage(staged, NAMES, generate) == staged, "a killed run's coming value is used"
    both = rotation.digests(staged, NAMES)["password"]
    promoted = rotation.promote(staged, NAMES)
    assert promoted == {"password": staged["password_next"], "other": "stays"}
    assert rotation.promote(promoted, NAMES) == promoted
    assert rotation.digests(promoted, NAMES) == {"password": {"current": both["next"], "next": ""}}
    assert both["current"] != both["next"]


def test_what_has_no_value_is_not_rotated() -> None:
    with pytest.raises(rotation.RotationError, match=r"site\.yml"):
        rotation.stage({}, NAMES, lambda length: "x")
