# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys that an app's clients present, and how they are rotated so that old and new are both accepted for a while.

The phases: *stage* makes every edge accept the coming key, *publish* makes it the current one and gives the former a
time to live, *retire* takes the former away. Each gives back what it was given when there is nothing for it to do, so
that a run that was killed is simply repeated: C(due) names the phase to go on with.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths

# What the edge compares and what its clients put into a header.
KEY = re.compile(r"[!-~]{16,512}")
ACCEPTED = ("current", "previous", "next")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class ClientKeyError(ValueError):
    """Keys that cannot be used or a step that must not be taken; never carries a value."""


@dataclass(frozen=True)
class ClientKeys:
    """The keys of one app. `previous_expires` is an epoch second, 0 without a previous key."""

    current: str
    previous: str = ""
    previous_expires: int = 0
    next: str = ""

    def record(self) -> dict[str, str]:
        """As it is stored: every name is there, empty where there is nothing, so that a reader can ask for all."""
        expires = time.strftime(_TIME, time.gmtime(self.previous_expires)) if self.previous else ""
        return {"current": self.current, "previous": self.previous, "previous_expires": expires, "next": self.next}

    def hashes(self) -> dict[str, str | None]:
        """What an edge is given of them."""
        return {name: digest(key) if key else None for name, key in self.named().items()}

    def named(self) -> dict[str, str]:
        """The keys by name."""
        return {"current": self.current, "previous": self.previous, "next": self.next}

    def __repr__(self) -> str:
        names = ", ".join(name for name, key in self.named().items() if key)
        return f"ClientKeys({names}; previous_expires={self.previous_expires})"


def digest(key: str) -> str:
    """The hash by which an edge knows a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read(record: Mapping[str, Any]) -> ClientKeys:
    """Checked keys from a record; absent and empty names are the same."""
    unknown = sorted(set(record) - {*ACCEPTED, "previous_expires"})
    if unknown:
        raise ClientKeyError(f"unknown names {', '.join(unknown)}; known are current, previous, previous_expires, next")
    named = {name: _key(name, record.get(name)) for name in ACCEPTED}
    if not named["current"]:
        raise ClientKeyError("current: there is no key; generate the first one")
    held = [key for key in named.values() if key]
    if len(set(held)) != len(held):
        raise ClientKeyError("the same key stands under two names; each rotation needs a new one")
    expires = _epoch(record.get("previous_expires"))
    if bool(named["previous"]) != bool(expires):
        raise ClientKeyError("previous and previous_expires: give both or neither, a former key always has an end")
    return ClientKeys(named["current"], named["previous"], expires, named["next"])


def _key(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not KEY.fullmatch(value):
        raise ClientKeyError(f"{name}: a key has 16 to 512 printable ASCII characters and no spaces")
    return value


def _epoch(value: Any) -> int:
    if value is None or value in ("", 0, "0"):
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if re.fullmatch(r"[0-9]{1,12}", text):
        return int(text)
    try:
        return calendar.timegm(time.strptime(text, _TIME))
    except ValueError:
        raise ClientKeyError("previous_expires: write a time in UTC, such as 2026-11-24T09:00:00Z") from None


def begin(key: str, now: int, overlap_seconds: int, former: str = "") -> ClientKeys:
    """The first keys of an app. `former` is what its clients have used so far, often the app's own key."""
    return read({"current": key, "previous": former, "previous_expires": now + overlap_seconds if former else 0})


def due(keys: ClientKeys, now: int) -> str:
    """What a rotation has to do next: publish (go on with the staged key), overlap (wait), retire, or stage."""
    if keys.next:
        return "publish"
    if keys.previous:
        return "overlap" if now < keys.previous_expires else "retire"
    return "stage"


def stage(keys: ClientKeys, key: str, now: int) -> ClientKeys:
    """Accept `key` besides the current one. A key that was staged already stays: `key` is then not used."""
    if keys.next:
        return keys
    if keys.previous and now < keys.previous_expires:
        until = time.strftime(_TIME, time.gmtime(keys.previous_expires))
        raise ClientKeyError(
            f"the former key is accepted until {until}, and a new rotation would refuse it earlier than was promised;"
            " wait until then, or retire it first"
        )
    return read({**retire(keys, now).record(), "next": key})


def publish(keys: ClientKeys, now: int, overlap_seconds: int) -> ClientKeys:
    """The staged key becomes the current one, the current one is accepted for the overlap."""
    if not keys.next:
        return keys
    return ClientKeys(current=keys.next, previous=keys.current, previous_expires=now + overlap_seconds)


def retire(keys: ClientKeys, now: int, at_once: bool = False) -> ClientKeys:
    """The former key goes when its time is over; `at_once` in an emergency."""
    if not keys.previous or (now < keys.previous_expires and not at_once):
        return keys
    return replace(keys, previous="", previous_expires=0)


def revoke(keys: ClientKeys, leaked: str, key: str) -> ClientKeys:
    """Refuse the key with the hash `leaked` from now on; `key` takes its place when it is the current one.

    The others stay. A repeated call finds the leaked key gone and changes nothing.
    """
    names = [name for name, value in keys.named().items() if value and digest(value) == leaked.lower()]
    if names == ["previous"]:
        return replace(keys, previous="", previous_expires=0)
    if names == ["next"]:
        return replace(keys, next="")
    if names == ["current"]:
        return read({**keys.record(), "current": keys.next or key, "next": ""})
    return keys


def key_sources(spec: Mapping[str, Any], slots: tuple[str, ...] = ()) -> dict[str, dict[str, str]]:
    """Where in Vault an edge reads the keys of an app's clients, and the app's own key for `slots`: name -> source."""
    app = str(spec["name"])
    names = (*ACCEPTED, "previous_expires")
    sources = {name: {"kind": "kv", "path": paths.app_clients(app), "key": name, "default": ""} for name in names}
    del sources["current"]["default"]  # an app always has one
    own = {"kind": "kv", "path": paths.app_secrets(app), "key": str(spec["clients"]["secret"])}
    return {**sources, **{slot: dict(own) for slot in slots}}
