# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter rotation_kinds: which credentials a rotation is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._rotation_choice import UnknownKind, choose


def rotation_kinds(
    spec: Mapping[str, Any],
    asked: str,
    ages: Sequence[Mapping[str, Any]] = (),
    groups: Mapping[str, Any] | None = None,
) -> list[str]:
    """Kinds of credentials to rotate, in the order in which they are."""
    try:
        return choose(asked, spec, ages, groups)
    except UnknownKind as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters over rotations."""

    def filters(self) -> dict[str, Any]:
        return {"rotation_kinds": rotation_kinds}
