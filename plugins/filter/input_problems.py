# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that list what is wrong with the inputs of the data roles."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.signalbox.platform.plugins.module_utils import _postgresql_input, _redis_input


class FilterModule:
    """Checks of role inputs."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "postgresql_problems": _postgresql_input.input_problems,
            "redis_problems": _redis_input.input_problems,
        }
