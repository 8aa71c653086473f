# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where in the inventory a value was written, by the marks ansible-core 2.19 and newer put on values and keys."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Problem, key_text

try:
    # Not a public interface: without it messages say what and where in the spec, and only the file is missing.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None  # type: ignore[assignment,misc]


def with_origins(problems: Iterable[Problem], specs: object, root: str) -> list[Problem]:
    """The problems, each with the file and line of the innermost part of its path that was written down."""
    return [
        dataclasses.replace(problem, origin=problem.origin or origin_of(specs, problem.path, root))
        for problem in problems
    ]


def origin_of(value: Any, path: str, root: str) -> str:
    """File and line of a path such as `signalbox_apps.agent-api.smoke[0].path`, or an empty text."""
    if Origin is None or not (path == root or path.startswith(root + ".")):
        return ""
    found, rest = place_of(value), path[len(root) :]
    while rest:
        step = _step(value, rest)
        if step is None:
            break
        key, value, rest = step
        found = place_of(key) or place_of(value) or found
    return found


def _step(value: Any, rest: str) -> tuple[Any, Any, str] | None:
    """One key or index further: what stands there, and the rest of the path."""
    index = re.match(r"\[(\d+)\]", rest)
    if index and isinstance(value, (list, tuple)) and int(index.group(1)) < len(value):
        entry = value[int(index.group(1))]
        return entry, entry, rest[index.end() :]
    if not isinstance(value, dict):
        return None
    matching = [key for key in value if re.match(re.escape("." + key_text(key)) + r"(?=[.\[]|$)", rest)]
    if not matching:
        return None
    key = max(matching, key=lambda one: len(key_text(one)))
    return key, value[key], rest[len(key_text(key)) + 1 :]


def place_of(value: Any) -> str:
    """File and line of a value or key, or an empty text."""
    if Origin is None:
        return ""
    origin = Origin.get_tag(value)
    if origin is None or not origin.path:
        return ""
    path = os.path.relpath(origin.path)
    path = origin.path if path.startswith("..") else path
    return f"{path}:{origin.line_num}" if origin.line_num else path
