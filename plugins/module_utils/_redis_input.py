# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks over the inputs of the role redis that no type can express: one sentence per mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._listen_addresses import address_problems

PASSWORD_MINIMUM = 16
MEMORY_MINIMUM_BYTES = 32 * 1024 * 1024

# Directives with an input of their own, or whose change would undo what the role promises.
RESERVED = (
    "aclfile",
    "bind",
    "daemonize",
    "dir",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "port",
    "protected-mode",
    "rename-command",
    "requirepass",
    "supervised",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-key-file",
    "tls-port",
    "unixsocket",
    "unixsocketperm",
    "user",
)

_NAME = re.compile(r"^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,62}$")
# A glob character would widen the prefix beyond itself.
_PREFIX = re.compile(r"^[^\s*?\[\]\\]+$")
_RULE = re.compile(r"^[+-]@?[a-z0-9|_.-]+$")
_OWN_NAMES = ("default", "signalbox-administrator")


def _user_problems(users: list[Mapping[str, Any]], monitor: str) -> Iterator[str]:
    names = [str(user.get("name")) for user in users] + ([monitor] if monitor else [])
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"redis_users.{name}: is used more than once; every user needs a name of its own"
        if not _NAME.match(name):
            yield f"redis_users.{name}: must be letters, digits, '_', '.' and '-', at most 63"
        if name in _OWN_NAMES:
            yield f"redis_users.{name}: is the role's own; choose another name"
    for user in users:
        name = str(user.get("name"))
        if not _PREFIX.match(str(user.get("key_prefix") or "")):
            yield f"redis_users.{name}.key_prefix: must not be empty and hold no space and none of * ? [ ] \\"
        for rule in user.get("commands") or []:
            if not _RULE.match(str(rule)):
                yield f"redis_users.{name}.commands: '{rule}' is no rule such as +scan, -eval or -@scripting"


def _password_problems(names: set[str], passwords: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(names - set(passwords)):
        yield f"redis_passwords.{name}: is missing; give the user a password"
    for name, password in sorted(passwords.items()):
        if name not in names:
            yield f"redis_passwords.{name}: no user of this name is declared; remove it or declare the user"
        elif len(password) < PASSWORD_MINIMUM:
            yield f"redis_passwords.{name}: has fewer than {PASSWORD_MINIMUM} characters; generate a longer one"


def _memory_problems(memory: int, total: int, most: int) -> Iterator[str]:
    if most < memory * 3 // 2:
        yield (
            f"redis_memory_max_bytes: is {most // 1048576} MB for the service, and data may take "
            f"{memory // 1048576} MB: give half as much again at least, for connections and saving, or 0 for what suits"
        )
    if memory < MEMORY_MINIMUM_BYTES:
        yield (
            f"Redis was given {memory // 1048576} MB of memory, and needs {MEMORY_MINIMUM_BYTES // 1048576} MB: "
            "raise redis_memory_fraction or redis_memory_bytes, or use a larger host"
        )
    elif memory > total * 1048576 // 2:
        yield (
            f"Redis was given {memory // 1048576} MB of the host's {total} MB; saving may need as much again: "
            "lower redis_memory_bytes or redis_memory_fraction to half of the host or less"
        )


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """Every mistake in the role's inputs, given by name without the role's prefix."""
    users, monitor = list(inputs["users"]), str(inputs["monitor_user"])
    names = {str(user.get("name")) for user in users} | ({monitor} if monitor else set())
    found = list(_user_problems(users, monitor))
    found.extend(_password_problems(names, inputs["passwords"]))
    found.extend(
        f"redis_listen_addresses: {problem}"
        for problem in address_problems(inputs["listen_addresses"], bool(inputs["public_listen_allowed"]))
    )
    found.extend(
        f"redis_settings.{name}: has an input of its own or is fixed by the role; remove it here"
        for name in sorted(inputs["settings"])
        if name.lower() in RESERVED
    )
    found.extend(
        _memory_problems(
            int(inputs["memory_bytes"]), int(inputs["memory_total_megabytes"]), int(inputs["memory_max_bytes"])
        )
    )
    return found
