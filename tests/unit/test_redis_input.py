"""Checks over the inputs of the role redis, and the protocol its proof speaks."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._redis_input import input_problems
from ansible_collections.signalbox.platform.plugins.module_utils._redis_protocol import RedisError, encode, read_reply

PASSWORD = "a-long-enough-password"
INPUTS: dict[str, Any] = {
    "users": [{"name": "shop_blue", "key_prefix": "shop:", "commands": ["+scan", "-@scripting"]}],
    "monitor_user": "monitor",
    "passwords": {"shop_blue": PASSWORD, "monitor": PASSWORD},
    "settings": {"hz": 20},
    "listen_addresses": ["10.0.0.5"],
    "public_listen_allowed": False,
    "memory_bytes": 2**30,
    "memory_max_bytes": 2**31,
    "memory_total_megabytes": 4096,
}


def test_good_inputs() -> None:
    assert input_problems(INPUTS) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": [{"name": "a b", "key_prefix": "x:"}]}, "redis_users.a b: must be letters"),
        ({"users": [{"name": "default", "key_prefix": "x:"}]}, "redis_users.default: is the role's own"),
        ({"users": [{"name": "monitor", "key_prefix": "x:"}]}, "redis_users.monitor: is used more than once"),
        ({"users": [{"name": "shop_blue", "key_prefix": ""}]}, "key_prefix: must not be empty"),
        ({"users": [{"name": "shop_blue", "key_prefix": "shop*"}]}, "key_prefix: must not be empty and hold no space"),
        ({"users": [{"name": "shop_blue", "key_prefix": "x:", "commands": ["~*"]}]}, "'~*' is no rule"),
        ({"users": [{"name": "shop_blue", "key_prefix": "x:", "commands": ["+get ~*"]}]}, "'+get ~*' is no rule"),
        ({"passwords": {"monitor": PASSWORD}}, "redis_passwords.shop_blue: is missing"),
        ({"passwords": {"shop_blue": "short", "monitor": PASSWORD}}, "has fewer than 16 characters"),
        ({"passwords": {**INPUTS["passwords"], "x": PASSWORD}}, "no user of this name is declared"),
        ({"settings": {"Requirepass": "x"}}, "redis_settings.Requirepass: has an input of its own"),
        ({"listen_addresses": ["0.0.0.0"]}, "redis_listen_addresses: '0.0.0.0' means every address"),
        ({"memory_bytes": 1024}, "and needs 32 MB"),
        ({"memory_max_bytes": 2**30}, "redis_memory_max_bytes: is 1024 MB for the service"),
        ({"memory_bytes": 2**32}, "saving may need as much again"),
    ],
)
def test_mistakes(change: dict[str, Any], message: str) -> None:
    found = input_problems({**INPUTS, **change})
    assert any(message in problem for problem in found), found
    assert PASSWORD not in " ".join(found)


def test_commands() -> None:
    assert encode("AUTH", "é", "p w") == b"*3\r\n$4\r\nAUTH\r\n$2\r\n\xc3\xa9\r\n$3\r\np w\r\n"


@pytest.mark.parametrize(
    ("wire", "reply"), [(b"+PONG\r\n", b"PONG"), (b":7\r\n", 7), (b"$-1\r\n", None), (b"$3\r\na\r\n\r\n", b"a\r\n")]
)
def test_replies(wire: bytes, reply: object) -> None:
    assert read_reply(io.BytesIO(wire)) == reply


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"-WRONGPASS no\r\n", "WRONGPASS no"),
        (b"", "closed the connection"),
        (b"+PO", "closed"),
        (b"*1\r\n", "unknown"),
    ],
)
def test_errors(wire: bytes, message: str) -> None:
    with pytest.raises(RedisError, match=message):
        read_reply(io.BytesIO(wire))
