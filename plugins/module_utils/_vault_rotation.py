# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rotation of secrets in Vault: the coming value stands beside the current one until whoever checks it knows both.

*stage* makes the coming value, *promote* makes it the current one. Each gives back what it was given when there is
nothing for it to do, so that a run that was killed is simply repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Callable

Values = Mapping[str, str]
_COMING = "{}_next"


class RotationError(ValueError):
    """A secret that cannot be rotated; carries names, never a value."""


def coming(name: str) -> str:
    """Where the coming value of a secret stands."""
    return _COMING.format(name)


def stage(values: Values, names: Iterable[str], generate: Callable[[int], str]) -> dict[str, str]:
    """A coming value, as long as the current one, for each name that has none yet."""
    staged = dict(values)
    for name in names:
        if not values.get(name):
            raise RotationError(f"{name} has no value yet. Remedy: run playbooks/site.yml, which makes the first one.")
        if not values.get(coming(name)):
            staged[coming(name)] = generate(len(values[name]))
    return staged


def promote(values: Values, names: Iterable[str]) -> dict[str, str]:
    """The coming values become the current ones."""
    promoted = dict(values)
    for name in names:
        if values.get(coming(name)):
            promoted[name] = promoted.pop(coming(name))
    return promoted


def digests(values: Values, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """SHA-256 of the current and the coming value, empty where there is none: what a checker like Redis stores."""
    return {name: {"current": _digest(values.get(name)), "next": _digest(values.get(coming(name)))} for name in names}


def _digest(value: str | None) -> str:
    return hashlib.sha256(value.encode()).hexdigest() if value else ""
