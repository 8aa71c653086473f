"""Which credentials a rotation is about."""

from __future__ import annotations

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._rotation_choice import UnknownKind, choose

SPEC = {
    "name": "agent-api",
    "database": {"name": "agent_api"},
    "cache": {"env": "REDIS_URL"},
    "clients": {"secret": "API_KEY"},
}
PLAIN = {"name": "plain", "database": None, "cache": None, "clients": None}


def due(*names: str) -> list[dict[str, object]]:
    return [{"name": name, "due": True} for name in names] + [{"name": "platform/registry", "due": False}]


@pytest.mark.parametrize(
    ("asked", "found"),
    [("slots", ["slots"]), ("vault, clients", ["clients", "vault"]), ("hosts,hosts", ["hosts"]), ("due", [])],
)
def test_what_is_named_in_the_order_of_work(asked: str, found: list[str]) -> None:
    assert choose(asked, SPEC) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("database agent_api_owner", ["slots"]),
        ("apps/agent-api/cache/green", ["slots"]),
        # Somebody outside has to be told of these: clients, whoever pushes images, other users of the app's secrets.
        ("apps/agent-api/clients", []),
        ("platform/registry", []),
        ("apps/agent-api/secrets", []),
        ("platform/redis", ["redis"]),
        ("apps/plain/cache/blue", []),
        ("database plain_blue", []),
    ],
)
def test_what_is_due_of_this_app(name: str, found: list[str]) -> None:
    assert choose("due", SPEC, due(name)) == found
    assert choose("due", PLAIN, due("database agent_api_owner", "apps/agent-api/clients")) == []


@pytest.mark.parametrize("kind", ["vault", "hosts", "certificates"])
def test_what_is_due_by_its_kind(kind: str) -> None:
    entry = {"name": "identity app1", "kind": kind, "due": True}
    assert choose("due", PLAIN, [entry]) == [kind]
    assert choose("due", PLAIN, [{**entry, "due": False}]) == []
    # An authority is renewed by site.yml, and what the operator brought by the operator.
    assert choose("due", PLAIN, [{**entry, "kind": "authority"}, {**entry, "kind": "given_certificates"}]) == []


def test_due_joins_what_is_named() -> None:
    assert choose("vault,due", SPEC, due("apps/agent-api/cache/blue")) == ["vault", "slots"]


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(UnknownKind, match="group registry"):
        choose("registry", SPEC, (), {"registry": []})
    assert choose("registry", SPEC, (), {"registry": ["mon1"]}) == ["registry"]
    with pytest.raises(UnknownKind, match="group redis"):
        choose("redis", SPEC, (), {"redis": []})


@pytest.mark.parametrize("asked", ["", ",", "slot", "clients,everything"])
def test_unknown_words_are_refused_with_what_may_be_named(asked: str) -> None:
    with pytest.raises(UnknownKind, match="clients, vault, hosts, certificates, redis, registry, slots, or due"):
        choose(asked, SPEC)


def test_clients_of_an_app_without_them() -> None:
    with pytest.raises(UnknownKind, match=r"signalbox_apps\.plain has no clients"):
        choose("clients", PLAIN)
