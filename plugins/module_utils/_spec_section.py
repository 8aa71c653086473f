# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Sections: mappings with known keys, read into the dataclass whose fields describe them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Reading,
    closest,
    did_you_mean,
    key_text,
    show,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_fields import INVALID

# Words from other tools, and keys that are worked out and not written.
_OTHER_WORDS = {
    "name": "The app's name is the key that the spec stands under",
    "slot_ports": "Leave it out: slot blue has port, slot green has port + 1",
    "tag": "Leave it out: a release names its version, -e version=1.2.3",
    "version": "Leave it out: a release names its version, -e version=1.2.3",
    "env": "Did you mean environment?",
    "host": "Did you mean domains?",
    "hostname": "Did you mean domains?",
    "healthcheck": "Did you mean health?",
    "db": "Did you mean database?",
    "redis": "Did you mean cache?",
    "cpu": "Did you mean cpus?",
    "mem": "Did you mean memory?",
}


def keys_of(model: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a model that are keys of the spec."""
    return [item for item in dataclasses.fields(model) if "kind" in item.metadata]


def has_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING


def default_of(item: dataclasses.Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


@dataclass(frozen=True)
class Section:
    """A mapping with the keys of a model. `nullable` lets null stand for a part the app has not got."""

    model: Any
    nullable: bool = False
    null_is_empty: bool = False
    type_name: str = "mapping"

    @property
    def limits(self) -> str:
        return "or null" if self.nullable else ""

    @property
    def blank(self) -> Any:
        return build(self.model, {})

    def read(self, value: object, path: str, reading: Reading) -> Any:
        if value is None and self.nullable:
            return None
        if value is None and self.null_is_empty:
            value = {}
        if not isinstance(value, dict):
            reading.add(path, f"is {show(value)}, not a mapping", self._remedy())
            return INVALID
        return read_model(self.model, value, path, reading)

    def _remedy(self) -> str:
        keys = keys_of(self.model)
        needed = [item.name for item in keys if not has_default(item)]
        ending = ", or null" if self.nullable else ""
        if needed:
            return "Write a mapping with {}{}".format(", ".join(needed), ending)
        return "Write a mapping of {}{}".format(", ".join(item.name for item in keys), ending)


@dataclass(frozen=True)
class SecretEntry:
    """How a secret comes about. Its value has no place in the spec, and is never repeated in a message."""

    section: Section
    type_name: str = "mapping"
    limits: str = "{} or generate"
    blank: Any = None

    def read(self, value: object, path: str, reading: Reading) -> Any:
        literal = isinstance(value, dict) and any(name in value for name in ("value", "password", "secret"))
        if literal or not (value is None or isinstance(value, dict)):
            reading.add(
                path,
                "holds the secret itself",
                "Put the value in the vault file, and write {} or {generate: 48} here",
            )
            return INVALID
        return self.section.read(value, path, reading)


def read_model(model: Any, value: Mapping[Any, Any], path: str, reading: Reading) -> Any:
    """Read every known key, report every unknown one, and build the model with blanks for what was refused."""
    keys = keys_of(model)
    names = [item.name for item in keys]
    meant = _report_unknown(names, value, path, reading)
    read: dict[str, Any] = {}
    for item in keys:
        where = f"{path}.{item.name}"
        if item.name in value:
            read[item.name] = _read_key(item, value[item.name], where, reading)
        elif not has_default(item) and item.name not in meant:
            reading.add(where, "is missing", _write_it(item))
        elif not has_default(item):
            read[item.name] = INVALID
    return build(model, {name: entry for name, entry in read.items() if entry is not INVALID})


def _read_key(item: dataclasses.Field[Any], value: object, where: str, reading: Reading) -> Any:
    kind = item.metadata["kind"]
    if value is None and not getattr(kind, "nullable", False):
        reading.add(where, "is empty", _write_it(item))
        return INVALID
    return kind.read(value, where, reading)


def _write_it(item: dataclasses.Field[Any]) -> str:
    kind = item.metadata["kind"]
    limits = f" ({kind.limits})" if kind.limits else ""
    ending = ", or leave the key out" if has_default(item) else ": {}".format(item.metadata["doc"])
    article = "an" if kind.type_name[0] in "aeiou" else "a"
    return f"Write {article} {kind.type_name}{limits}{ending}"


def _report_unknown(names: Sequence[str], value: Mapping[Any, Any], path: str, reading: Reading) -> list[str]:
    """Report unknown keys; returns the absent keys they seem to be misspellings of, so as not to report them twice."""
    absent = [name for name in names if name not in value]
    meant: list[str] = []
    for name in value:
        if isinstance(name, str) and name in names:
            continue
        where = f"{path}.{key_text(name)}"
        guess: str | None = closest(name, absent)
        if guess:
            meant.append(guess)
            reading.add(where, "is not a known key", f"Did you mean {guess}?")
        else:
            remedy = _OTHER_WORDS.get(str(name), "") or did_you_mean(name, list(names), "keys")
            reading.add(where, "is not a known key", remedy)
    return meant


def build(model: Any, values: Mapping[str, Any]) -> Any:
    """The model from checked values; what is absent takes its default, or a blank where it has none."""
    complete = dict(values)
    for item in keys_of(model):
        if item.name not in complete:
            complete[item.name] = default_of(item) if has_default(item) else item.metadata["kind"].blank
    return model(**complete)
