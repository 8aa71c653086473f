# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A container's environment as files: quoting for the shell and for compose, and what may be said of it aloud."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")

# Below this length a value is too common a piece of text to be looked for in output ("1", "true", "54000").
SECRET_LENGTH = 8


class InvalidEnvironment(ValueError):
    """A name or value that no environment can hold; carries names only."""


def normalise(environment: Mapping[str, Any]) -> dict[str, str]:
    """Names and values as text; all mistakes at once."""
    mistakes = [
        f"{name!r} is not a variable's name ([A-Za-z_][A-Za-z0-9_]*)"
        for name in environment
        if not _NAME.match(str(name))
    ]
    values: dict[str, str] = {}
    for name, value in environment.items():
        if value is None or isinstance(value, (dict, list)):
            mistakes.append(f"{name} is {'null' if value is None else 'not a single value'}; give text")
            continue
        # YAML's true is what a person wrote as `true`.
        values[str(name)] = str(value).lower() if isinstance(value, bool) else str(value)
        if "\0" in values[str(name)]:
            mistakes.append(f"{name} holds a NUL character")
    if mistakes:
        raise InvalidEnvironment("environment: " + "; ".join(mistakes))
    return values


def to_shell(environment: Mapping[str, str]) -> str:
    """A file for `.` of any POSIX shell: single quotes, in which nothing is special but the quote itself."""
    lines = []
    for name, value in sorted(environment.items()):
        quoted = value.replace("'", "'\\''")
        lines.append(f"{name}='{quoted}'\n")
    return "".join(lines)


def from_shell(text: str) -> dict[str, str]:
    """Read back what `to_shell` wrote."""
    pairs = (word.partition("=") for word in shlex.split(text, comments=False, posix=True))
    return {name: value for name, _equals, value in pairs}


_COMPOSE_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})


def to_compose(environment: Mapping[str, str]) -> str:
    """A file for compose's `env_file` (2.26 knows no `format: raw`): double quotes with backslash escapes."""
    return "".join(f'{name}="{value.translate(_COMPOSE_ESCAPES)}"\n' for name, value in sorted(environment.items()))


def changed_names(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Names that were added, removed or got another value."""
    return {
        "added": sorted(set(after) - set(before)),
        "removed": sorted(set(before) - set(after)),
        "changed": sorted(name for name in set(before) & set(after) if before[name] != after[name]),
    }


def secret_values(environment: Mapping[str, str], public: Iterable[str]) -> set[str]:
    """Values to strike out of any output: long enough to mean something, and not part of what is public anyway."""
    known = "\n".join(public)
    return {value for value in environment.values() if len(value) >= SECRET_LENGTH and value not in known}


def redact(text: str, secrets: Iterable[str]) -> str:
    """Strike out secret values, the longest first, so that none survives as the rest of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return text
