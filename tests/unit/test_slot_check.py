"""What a host needs before a slot is started: every fault is told, and nothing is pulled where there is one."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _service_login as service_login
from ansible_collections.signalbox.platform.plugins.module_utils._host_vault import SourceError
from ansible_collections.signalbox.platform.plugins.module_utils._image_pull import ImageError
from ansible_collections.signalbox.platform.plugins.module_utils._slot_check import (
    Login,
    image_fault,
    login_faults,
    secret_faults,
)

LOGINS = [
    Login("postgresql", "agent_api_green", "agent_api", "database_green"),
    Login("redis", "agent-api-green", "", "cache_green"),
]
ADDRESSES = {"postgresql": "10.0.0.31", "redis": "10.0.0.32"}
VALUES = {"database_green": "hunter2", "cache_green": "hunter3", "API_KEY": "k"}


class Images:
    def __init__(self, present: bool, room: bool = True) -> None:
        self._present, self._room = present, room

    def present(self, image: str) -> bool:
        return self._present

    def check_room(self) -> None:
        if not self._room:
            raise ImageError("/var/lib/docker has 10 MiB free")

    def ensure(self, image: str) -> Any:
        raise AssertionError("looking does not pull")


def test_secrets_that_are_there_are_no_fault() -> None:
    assert secret_faults(LOGINS, lambda: VALUES) == (VALUES, [])


def test_a_sealed_vault_is_one_fault() -> None:
    def sealed() -> Mapping[str, str]:
        raise SourceError("Vault is sealed. Remedy: unseal it")

    assert secret_faults(LOGINS, sealed) == ({}, ["its secrets cannot be fetched. Vault is sealed. Remedy: unseal it"])


def test_a_password_without_a_value_is_named_and_not_tried() -> None:
    values, faults = secret_faults(LOGINS, lambda: {"database_green": "hunter2"})
    assert faults == ["cache_green has no value"]
    tried: list[str] = []
    assert list(login_faults(LOGINS, values, ADDRESSES, lambda login, _password: tried.append(login.user))) == []
    assert tried == ["agent_api_green"]


def test_every_refusal_is_told_with_its_remedy_and_no_password() -> None:
    found = list(login_faults(LOGINS, VALUES, ADDRESSES, lambda login, _password: f"{login.service} is down."))
    assert [text.split(" Remedy")[0] for text in found] == [
        "PostgreSQL at 10.0.0.31 does not take agent_api_green: postgresql is down.",
        "Redis at 10.0.0.32 does not take agent-api-green: redis is down.",
    ]
    assert all("site.yml" in text and "hunter" not in text for text in found)
    assert list(login_faults(LOGINS, VALUES, ADDRESSES, lambda *_arguments: None)) == []


@pytest.mark.parametrize(
    ("images", "fault"),
    [
        (Images(True, room=False), None),
        (Images(False), None),
        (Images(False, room=False), "/var/lib/docker has 10 MiB free"),
    ],
)
def test_room_matters_where_the_image_is_not_there(images: Images, fault: str | None) -> None:
    assert image_fault(images, "r.io/api@sha256:0") == fault


class Driver:
    """psycopg2, as far as a login uses it."""

    class Error(Exception):
        pass

    def __init__(self, encrypted: bool = True, refusal: str | None = None) -> None:
        self.encrypted, self.refusal, self.asked, self.closed = encrypted, refusal, {}, False

    def connect(self, **options: Any) -> Any:
        self.asked = options
        if self.refusal is not None:
            raise self.Error(self.refusal)
        return self

    def cursor(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def execute(self, _statement: str) -> None:
        pass

    def fetchone(self) -> tuple[bool]:
        return (self.encrypted,)

    def close(self) -> None:
        self.closed = True


SERVER = service_login.Server("10.0.0.31", 5432, "/ca.crt")


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(), None),
        (Driver(encrypted=False), "the session is not encrypted"),
        (Driver(refusal="connection failed: refused\n\tIs it running?\n"), "connection failed: refused Is it running?"),
        (Driver(refusal=""), "the server said nothing"),
    ],
)
def test_postgresql_is_asked_over_verified_tls(driver: Driver, reason: str | None) -> None:
    assert service_login.postgresql_refusal(driver, SERVER, "u", "d", "p") == reason
    assert (driver.asked["sslmode"], driver.asked["host"]) == ("verify-full", "10.0.0.31")
    assert driver.closed is (driver.refusal is None)


def test_redis_that_does_not_answer_is_a_reason() -> None:
    server = service_login.Server("127.0.0.1", 1, "/ca.crt", timeout_seconds=1)
    assert "refused" in str(service_login.redis_refusal(ssl.create_default_context(), server, "u", "p"))
