# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of secrets_file: which secrets are missing and what the file then holds. No I/O, no Ansible."""

from __future__ import annotations

import copy
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

MINIMUM_LENGTH = 16
ALPHABET = string.ascii_letters + string.digits  # safe in URLs, environment files and shells without quoting
Wanted = dict[tuple[str, str], int]


class SecretsFileError(ValueError):
    """A mistake in what is wanted or in the file; the text never holds a value."""


@dataclass(frozen=True)
class Additions:
    generate: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]  # only a person can give these

    @staticmethod
    def names(pairs: tuple[tuple[str, str], ...]) -> list[str]:
        return [f"{scope}.{name}" for scope, name in pairs]


def parse_length(value: object, where: str) -> int:
    """A length, or C({generate: length}) as in an app spec; 0 stands for a secret that is not generated."""
    if isinstance(value, Mapping):
        if set(value) - {"generate"}:
            raise SecretsFileError(f"wanted.{where}: known key is generate; give a length or {{generate: length}}")
        value = value.get("generate", 0)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise SecretsFileError(f"wanted.{where}: the length must be a whole number, not {type(value).__name__}")
    if value != 0 and value < MINIMUM_LENGTH:
        raise SecretsFileError(f"wanted.{where}: length {value} is too short, the least is {MINIMUM_LENGTH}")
    return value


def parse_wanted(wanted: object) -> Wanted:
    if not isinstance(wanted, Mapping):
        raise SecretsFileError("wanted must map scopes to names to lengths")
    found: Wanted = {}
    for scope, names in wanted.items():
        if not isinstance(names, Mapping):
            raise SecretsFileError(f"wanted.{scope} must map names to lengths")
        for name, value in names.items():
            found[(str(scope), str(name))] = parse_length(value, f"{scope}.{name}")
    return found


def current_values(document: object, variable: str) -> dict[str, dict[str, Any]]:
    """The variable's mapping within the file's document; an empty file is an empty mapping."""
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise SecretsFileError(f"the file must hold a mapping with the variable {variable}")
    values = document.get(variable)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise SecretsFileError(f"{variable} must map scopes to names to values")
    for scope, names in values.items():
        if names is not None and not isinstance(names, Mapping):
            raise SecretsFileError(f"{variable}.{scope} must map names to values")
    return {str(scope): dict(names or {}) for scope, names in values.items()}


def additions(values: Mapping[str, Mapping[str, Any]], wanted: Wanted) -> Additions:
    """What is absent; a value that is there stays whatever it is, except for nothing at all."""
    absent = [pair for pair in wanted if values.get(pair[0], {}).get(pair[1]) in (None, "")]
    return Additions(
        generate=tuple(pair for pair in absent if wanted[pair]),
        missing=tuple(pair for pair in absent if not wanted[pair]),
    )


def generate(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def merged(
    document: object, variable: str, wanted: Wanted, new: Additions, make: Callable[[int], str] = generate
) -> dict[str, Any]:
    """The new document: everything it held, in its order, and the generated values."""
    result: dict[str, Any] = copy.deepcopy(dict(document)) if isinstance(document, Mapping) else {}
    values = current_values(document, variable)
    for scope, name in new.generate:
        values.setdefault(scope, {})[name] = make(wanted[(scope, name)])
    result[variable] = values
    return result
