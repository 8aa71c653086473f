# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Kinds of values in the spec: how each is read, what is refused and why, and how the reference describes it."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import MISSING, dataclass, field
from typing import Any, Protocol

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Reading,
    did_you_mean,
    key_text,
    shorten,
    show,
    show_number,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_expressions import expression_faults
from ansible_collections.signalbox.platform.plugins.module_utils._spec_grammar import Check

# Stands for a value that was refused, and reported.
INVALID: Any = object()


class Kind(Protocol):
    """One kind of value. `blank` fills the place of a refused value, so that the other keys are still checked."""

    @property
    def type_name(self) -> str: ...

    @property
    def limits(self) -> str: ...

    @property
    def blank(self) -> Any: ...

    def read(self, value: object, path: str, reading: Reading) -> Any: ...


def key(kind: Kind, doc: str, *, unit: str = "", default: Any = MISSING, default_doc: str = "") -> Any:
    """A key of the spec as a dataclass field. Without a default the key is required."""
    metadata = {"kind": kind, "doc": doc, "unit": unit, "default_doc": default_doc}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: default.copy(), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Integer:
    minimum: int
    maximum: int
    blank: int = 0
    type_name: str = "integer"

    @property
    def limits(self) -> str:
        return f"{self.minimum} to {self.maximum}"

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            reading.add(path, f"is {show(value)}, not a whole number", self._remedy(value))
            return INVALID
        if not self.minimum <= value <= self.maximum:
            reading.add(path, f"is {show_number(value)}", f"Write a whole number, {self.limits}")
            return INVALID
        return int(value)

    def _remedy(self, value: object) -> str:
        if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
            return f"Take the quotes away: {int(value)}"
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}\s*[A-Za-z]+", value):
            return "Write the number alone, in the unit that the key's name says"
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            return f"Write {int(value)}"
        return f"Write a whole number, {self.limits}, without quotes"


@dataclass(frozen=True)
class Number:
    """A number with a fraction. `above` excludes the minimum itself."""

    minimum: float
    maximum: float
    above: bool = False
    blank: float = 0.0
    type_name: str = "number"

    @property
    def limits(self) -> str:
        return (
            f"above {self.minimum:g}, up to {self.maximum:g}" if self.above else f"{self.minimum:g} to {self.maximum:g}"
        )

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            quoted = isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}(\.[0-9]{1,18})?\s*", value)
            remedy = f"Take the quotes away: {str(value).strip()}" if quoted else f"Write a number, {self.limits}"
            reading.add(path, f"is {show(value)}, not a number", remedy)
            return INVALID
        low = value <= self.minimum if self.above else value < self.minimum
        if low or value > self.maximum or not math.isfinite(value):
            reading.add(path, f"is {show_number(value)}", f"Write a number, {self.limits}")
            return INVALID
        return float(value)


@dataclass(frozen=True)
class Text:
    """A text that passes its checks."""

    checks: tuple[Check, ...] = ()
    limits: str = ""
    blank: str = ""
    type_name: str = "text"
    secret: bool = False

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if not isinstance(value, str):
            # A number where a secret text belongs may be the secret.
            name = f"a {type(value).__name__}" if self.secret else show(value)
            reading.add(path, f"is {name}, not a text", quoting_remedy(value))
            return INVALID
        faults = [fault for check in self.checks for fault in check(value)]
        for what, remedy in faults:
            reading.add(path, what, remedy)
        return INVALID if faults else str(value)


def quoting_remedy(value: object) -> str:
    """Why YAML made something else of what was meant as a text."""
    if isinstance(value, bool):
        return "Put it in quotes: YAML reads yes, no, on, off, true and false as booleans"
    if isinstance(value, int):
        return "Put it in quotes: YAML reads 0644 as octal and 1:30 in base 60, so that digits may be lost"
    if isinstance(value, float):
        return "Put it in quotes: YAML reads 1.10 as the number 1.1"
    if value is None:
        return 'Write a text, or "" for an empty one'
    return "Write one text" if isinstance(value, (list, dict)) else "Put it in quotes"


@dataclass(frozen=True)
class Expression:
    """A JMESPath expression over a JSON body."""

    may_be_empty: bool = True
    blank: str = ""
    type_name: str = "JMESPath"

    @property
    def limits(self) -> str:
        return "empty: no check" if self.may_be_empty else "not empty"

    def read(self, value: object, path: str, reading: Reading) -> Any:
        text = Text().read(value, path, reading)
        if text is INVALID or (self.may_be_empty and text == ""):
            return text
        if not text.strip():
            reading.add(path, "is blank", "Write a JMESPath expression, such as status == 'ok'")
            return INVALID
        faults = list(expression_faults(text, reading.compile_expression))
        for what, remedy in faults:
            reading.add(path, what, remedy)
        return INVALID if faults else text


@dataclass(frozen=True)
class Choice:
    names: tuple[str, ...]
    blank: str = ""
    type_name: str = "text"

    @property
    def limits(self) -> str:
        return ", ".join(self.names)

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if isinstance(value, str) and value in self.names:
            return str(value)
        reading.add(path, f"is {show(value)}", did_you_mean(value, self.names, "values"))
        return INVALID


@dataclass(frozen=True)
class ListOf:
    item: Kind
    minimum: int = 0
    unique: bool = False
    blank: tuple[Any, ...] = ()

    @property
    def type_name(self) -> str:
        return f"list of {self.item.type_name}"

    @property
    def limits(self) -> str:
        parts = [f"at least {self.minimum}"] if self.minimum else []
        return "; ".join(parts + ([self.item.limits] if self.item.limits else []))

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if not isinstance(value, (list, tuple)):
            one = isinstance(value, str) and value and not self.item.type_name.startswith("mapping")
            remedy = f"Write a list: [{shorten(str(value))}]" if one else "Write a list"
            reading.add(path, f"is {show(value)}, not a list", remedy)
            return INVALID
        if len(value) < self.minimum:
            reading.add(path, "is an empty list", f"Write at least {self.minimum}")
            return INVALID
        items: list[Any] = []
        for index, entry in enumerate(value):
            where = f"{path}[{index}]"
            item = self.item.read(entry, where, reading)
            if self.unique and item is not INVALID and item in items:
                reading.add(where, f"is in the list twice: {shorten(str(item))}", "Leave the second one out")
            items.append(item)
        return INVALID if any(item is INVALID for item in items) else tuple(items)


@dataclass(frozen=True)
class Argv:
    """A command as a list of its arguments, run without a shell."""

    must_hold: str = ""
    blank: tuple[str, ...] = ()
    type_name: str = "list of text"

    @property
    def limits(self) -> str:
        return f"holds {self.must_hold}" if self.must_hold else "not empty"

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if isinstance(value, str):
            reading.add(path, "is a text for a shell, not a list", f"Write its arguments: {_split(value)}")
            return INVALID
        if not isinstance(value, (list, tuple)) or not value:
            what = "is an empty list" if value == [] else f"is {show(value)}, not a list"
            reading.add(path, what, "Write the command as a list of texts: [alembic, upgrade, head]")
            return INVALID
        words = ListOf(Text()).read(value, path, reading)
        if words is INVALID:
            return INVALID
        if not words[0].strip():
            reading.add(path + "[0]", "is blank", "The first text is the program to run")
            return INVALID
        if self.must_hold and not any(self.must_hold in word for word in words):
            reading.add(
                path,
                f"does not hold {self.must_hold}",
                f"Write {self.must_hold} where the revision to go back to belongs",
            )
            return INVALID
        return words


def _split(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return "[{}]".format(", ".join(shorten(word) for word in words))


@dataclass(frozen=True)
class MapOf:
    """A mapping whose keys are free, within a grammar."""

    value: Kind
    key_checks: tuple[Check, ...]
    key_name: str = "name"
    type_limits: str = ""
    # A scalar value where a mapping belongs may be a secret, so the reader of the entry decides what to show.
    blank: Any = None

    @property
    def type_name(self) -> str:
        return f"mapping {self.key_name} -> {self.value.type_name}"

    @property
    def limits(self) -> str:
        return self.type_limits or self.value.limits

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if not isinstance(value, dict):
            reading.add(path, f"is {show(value)}, not a mapping", f"Write {self.key_name}: value")
            return INVALID
        read: dict[str, Any] = {}
        for name, entry in value.items():
            where = f"{path}.{key_text(name)}"
            checked: str | None = Text(self.key_checks).read(name, where, reading)
            item = self.value.read(entry, where, reading)
            if checked is not INVALID and item is not INVALID:
                read[str(name)] = item
        return read
