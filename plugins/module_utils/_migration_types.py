# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's types by one name each, and what changing one into another costs."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = {
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "serial": "integer",
    "bigserial": "bigint",
    "smallserial": "smallint",
    "serial4": "integer",
    "serial8": "bigint",
    "bool": "boolean",
    "float8": "double precision",
    "float4": "real",
    "float": "double precision",
    "decimal": "numeric",
    "character varying": "varchar",
    "character": "char",
    "bpchar": "char",
    "bit varying": "varbit",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
}
_SERIAL = re.compile(r"^(small|big)?serial[248]?$")
_SHAPE = re.compile(r"^(?P<name>[^(\[]+)(?:\((?P<size>[^)]*)\))?(?P<rest>[^(\[]*)(?P<array>(?:\[\d*\])*)$")
# What holds every value of the former, and reads the same.
_WIDER = {
    ("smallint", "integer"),
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("real", "double precision"),
    ("cidr", "inet"),
    ("smallint", "numeric"),
    ("integer", "numeric"),
    ("bigint", "numeric"),
}
# The same bytes under another name.
_SAME_BYTES = {("varchar", "text"), ("text", "varchar"), ("citext", "text"), ("text", "citext"), ("cidr", "inet")}


@dataclass(frozen=True)
class TypeChange:
    """What changing a column's type means."""

    rewrites: bool
    same: bool = False
    fits: bool = True  # every value fits, and old code reads and writes it as before


def is_serial(name: str) -> bool:
    return bool(_SERIAL.match(name.rpartition(".")[2].lower()))


def canonical(text: str) -> str:
    """One name for each type: character varying(9) and pg_catalog.varchar(9) are varchar(9)."""
    text = re.sub(r"\s+", " ", text.strip().replace('"', "")).removeprefix("pg_catalog.")
    match = _SHAPE.match(text)
    if match is None:
        return text
    name = f"{match['name'].strip()} {match['rest'].strip()}".strip()
    size = f"({match['size'].replace(' ', '')})" if match["size"] else ""
    name = _NAMES.get(name.lower(), name)
    if name == "char" and not size:
        size = "(1)"
    array = "[]" if match["array"] else ""
    return f"{name}{size}{array}"


def _parts(name: str) -> tuple[str, tuple[int, ...], bool]:
    match = re.match(r"^([^(\[]+)(?:\(([\d,-]+)\))?(\[\])?$", name)
    if match is None:
        return name, (), False
    size = tuple(int(number) for number in match[2].split(",")) if match[2] else ()
    return match[1], size, bool(match[3])


def change(old: str, new: str, converts: bool, version: int, timezone: str) -> TypeChange:
    """From one type to another; `converts` tells of a USING that is more than a cast."""
    if converts:
        return TypeChange(rewrites=True, same=old == new, fits=False)
    if old == new:
        return TypeChange(rewrites=False, same=True)
    old_name, old_size, old_array = _parts(old)
    new_name, new_size, new_array = _parts(new)
    if old_array or new_array:
        return TypeChange(rewrites=True, fits=False)
    if old_name == new_name:
        return _resized(old_name, old_size, new_size)
    if (old_name, new_name) in _SAME_BYTES and not new_size:
        return TypeChange(rewrites=False)
    if (old_name, new_name) == ("timestamp", "timestamptz"):
        in_place = version >= 12 and timezone.removeprefix("Etc/") in ("UTC", "GMT", "UCT", "Zulu", "Universal")
        return TypeChange(rewrites=not in_place, fits=False)
    return TypeChange(rewrites=True, fits=(old_name, new_name) in _WIDER and not new_size)


def _resized(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> TypeChange:
    if not new:
        return TypeChange(rewrites=name == "char")
    if not old:
        return TypeChange(rewrites=True, fits=False)
    if name == "numeric":
        old_scale, new_scale = (size[1] if len(size) > 1 else 0 for size in (old, new))
        whole = new[0] - new_scale >= old[0] - old_scale
        return TypeChange(rewrites=old_scale != new_scale or not whole, fits=whole and new_scale >= old_scale)
    wider = new[0] >= old[0]
    in_place = wider and name in ("varchar", "varbit", "timestamp", "timestamptz", "time", "timetz")
    return TypeChange(rewrites=not in_place, fits=wider)
