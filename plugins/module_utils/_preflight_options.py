# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options that an operator gives with -e: what each takes, and what is refused.

Ansible makes a false of what is no boolean and a 0 of what is no number, without a word: a gate would be off.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Callable, Optional

from ansible_collections.signalbox.platform.plugins.module_utils._rotation_choice import DUE, KINDS
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import (
    Fault,
    Problem,
    closest,
    did_you_mean,
    show,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_fields import quoting_remedy

Rule = Callable[[object], Optional[Fault]]

# The words of Ansible's filter `bool`.
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_EXAMPLE = "2026-11-23T14:05:00+00:00"
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_TARGETS = ("latest", "immediate", "time", "xid", "name", "lsn")
_BACKUPS = ("full", "diff", "incr")
_RESTORES = ("restore", "restore_table", "masked_copy")
_TARGETED = (*_RESTORES, "drill")


def _truth(value: object) -> Fault | None:
    text = str(value).lower() if isinstance(value, (bool, int, str)) else ""
    if text in (*_TRUE, *_FALSE):
        return None
    guess = closest(text, (*_TRUE, *_FALSE)) if text else None
    return f"is {show(value)}, neither true nor false", f"Did you mean {guess}?" if guess else "Write true or false"


def _whole(maximum: int, what: str, remedy: str) -> Rule:
    def rule(value: object) -> Fault | None:
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            number = int(value)
        if number is None or not 0 <= number <= maximum:
            return f"is {show(value)}, not {what}, 0 to {maximum}", remedy
        return None

    return rule


_SECONDS = _whole(86400, "a whole number of seconds", "Write the seconds alone, such as 300, or leave it out")


def _text(value: object) -> Fault | None:
    if not isinstance(value, str):
        remedy = "Write the names with commas between" if isinstance(value, (list, tuple)) else quoting_remedy(value)
        return f"is {show(value)}, not a text", remedy
    if not value.isprintable():
        return "has a character that cannot be printed, such as a line break", "Write it on one line"
    return None


def _secret_name(value: object) -> Fault | None:
    # Somebody may have given the secret itself.
    if isinstance(value, str) and (value == "" or re.fullmatch(r"[a-z0-9-]+/[A-Za-z0-9_]+", value)):
        return None
    return "is not the name of a secret, and is not shown", "Write SCOPE/NAME: -e secret=agent-api/API_KEY"


def _leak(value: object) -> Fault | None:
    if isinstance(value, str) and (value == "" or re.fullmatch(r"[a-z]+(/[A-Za-z0-9_.-]+)?", value)):
        return None
    remedy = "Write database, cache, registry, secret/NAME, clients/current, clients/previous or host/NAME"
    return "does not name what has leaked, and is not shown", remedy


def _one_of(*names: str) -> Rule:
    def rule(value: object) -> Fault | None:
        if value == "" or value in names:
            return None
        return f"is {show(value)}", did_you_mean(value, names, "values")

    return rule


def _credentials(value: object) -> Fault | None:
    known = (*KINDS, DUE)
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else []
    unknown = [word for word in words if word not in known]
    if words and not unknown:
        return None
    remedy = did_you_mean(unknown[0], known, "kinds") if any(unknown) else f"Known kinds: {', '.join(known)}"
    return f"is {show(value)}, not one or more kinds with commas between", remedy


def _moment(value: object) -> Fault | None:
    """YAML makes a date of what looks like one."""
    found = value
    if isinstance(value, str):
        if value == "":
            return None
        try:
            found = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            found = None
    if not isinstance(found, datetime.datetime):
        return f"is {show(value)}, not a moment", f"Write date, time and zone: {_EXAMPLE}"
    if found.tzinfo is None:
        return f"is {show(value)}, which has no time zone", f"Write {found.isoformat()}+00:00 if it is in UTC"
    return None


def _utc_moment(value: object) -> Fault | None:
    # It is compared with the log's own, as text.
    if value == "" or (isinstance(value, str) and _UTC.fullmatch(value) and _moment(value) is None):
        return None
    return f"is {show(value)}, not a moment in UTC", "Write date and time in UTC: 2026-11-23T14:05:00Z"


_PLACES = {
    "time": ("", f"-e at={_EXAMPLE}"),
    "xid": (r"[0-9]{1,20}", "-e at=NUMBER, as pg_current_xact_id() shows it"),
    "name": (r"[A-Za-z0-9_.:+-]{1,63}", "-e at=NAME of a restore point, as the release's entry shows it"),
    "lsn": (r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", "-e at=0/3000028, as pg_current_wal_lsn() shows it"),
}


def _place(value: object) -> Fault | None:
    if isinstance(value, (str, datetime.datetime)) or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    return f"is {show(value)}, neither a moment nor another place", f"Write a text, such as {_EXAMPLE}"


@dataclass(frozen=True)
class Option:
    """What an option takes. An inventory may set it too, and use a common word for something else: `operations` are
    those that read it; none stands for all.
    """

    name: str
    rule: Rule
    operations: tuple[str, ...] = ()


_BOOLEANS = (
    "accept_lag",
    "accept_no_downgrade",
    "accept_smaller",
    "both_slots",
    "cut_streams",
    "drop_database",
    "exclusive",
    "forget",
    "require_backup",
    "require_run_now",
    "require_traffic",
    "undo",
    "wait_for_drain",
    "without_state",
)
OPTIONS = (
    *(Option(name, _truth) for name in _BOOLEANS),
    Option("bake_seconds", _SECONDS),
    Option("lock_wait_seconds", _SECONDS),
    Option("timeline", _whole(2**32 - 1, "a timeline's number", "Write it as a decimal number, or leave it out")),
    Option("accept_migration", _one_of("undetermined", "hold"), ("deploy",)),
    Option("at", _moment, ("restore_repository",)),
    Option("at", _place, _TARGETED),
    Option("before", _moment, (*_TARGETED, "rebuild")),
    Option("since", _utc_moment, ("revoke",)),
    Option("kind", _one_of(*_BACKUPS), ("backup",)),
    Option("kind", _one_of(*_TARGETS, "random"), ("drill",)),
    Option("kind", _one_of(*_TARGETS), _RESTORES),
    Option("credentials", _credentials, ("rotate",)),
    Option("database", _text, ("restore_table", "masked_copy")),
    Option("from", _text, ("refresh_staging",)),
    Option("leaked", _leak, ("revoke",)),
    Option("lost", _text, ("rebuild", "promote")),
    Option("overwrite", _text, ("restore", "restore_repository", "refresh_staging")),
    Option("rehearse", _truth, ("deploy", "plan_migration")),
    Option("report", _text, ("plan_migration",)),
    Option("secret", _secret_name, ("secret",)),
    Option("status_file", _text, ("status",)),
    Option("tables", _text, ("restore_table",)),
    Option("to", _text, ("masked_copy", "promote", "secret")),
)
NAMES = tuple(dict.fromkeys(option.name for option in OPTIONS))


def read_by(operation: str) -> Iterator[Option]:
    """The options that an operation reads."""
    return (option for option in OPTIONS if not option.operations or operation in option.operations)


def check_options(operation: str, values: Mapping[str, object], given: Collection[str]) -> Iterator[Problem]:
    """Every value that an operation would misunderstand. `given` are the names that came with -e."""
    refused = set()
    for option in read_by(operation):
        fault = option.rule(values[option.name]) if option.name in values else None
        if fault:
            refused.add(option.name)
            yield Problem(_where(option.name, given), *fault)
    if operation in _TARGETED and not refused & {"kind", "at"}:
        fault = _target(str(values.get("kind", "")), values.get("at", ""))
        if fault:
            yield Problem(_where("at", given), *fault)


def _where(name: str, given: Collection[str]) -> str:
    return f"variable {name}" if name not in given and name != "at" else f"-e {name}"


def _target(kind: str, value: object) -> Fault | None:
    """What `at` names is of a kind, and only some kinds take a value."""
    if kind not in _PLACES:
        what = f"is {show(value)}, and kind is {kind or 'missing'}"
        return None if value == "" else (what, f"Say of what kind it is: -e kind=time -e at={_EXAMPLE}")
    grammar, example = _PLACES[kind]
    if value == "":
        return f"is missing, and kind is {kind}", f"Say to where: {example}"
    if kind == "time":
        return _moment(value)
    if re.fullmatch(grammar, str(value)):
        return None
    return f"is {show(value)}, and kind is {kind}", f"Say to where: {example}"
