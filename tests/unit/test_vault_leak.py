"""What a leak touches."""

from __future__ import annotations

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_leak as rules

SPEC = {
    "name": "agent-api",
    "database": {"name": "agent_api"},
    "cache": {"env": "REDIS_URL"},
    "secrets": {"API_KEY": {"generate": 48}, "UPSTREAM": {}},
}
HOSTS = ["app1", "edge1"]
LOGINS = [f"database/static-creds/agent_api_{role}" for role in ("owner", "blue", "green")]
CACHE = [f"signalbox/data/apps/agent-api/cache/{slot}" for slot in ("blue", "green")]
OWN = ["signalbox/data/apps/agent-api/secrets"]


OTHER = {**SPEC, "name": "shop", "database": None, "secrets": {"TOKEN": {"generate": 32}}}
SPECS = {"agent-api": SPEC, "shop": OTHER}
OF_SHOP = [
    *(f"signalbox/data/apps/shop/cache/{slot}" for slot in ("blue", "green")),
    "signalbox/data/apps/shop/secrets",
]


def leak(leaked: str, edges: tuple[str, ...] = (), **changed: object) -> dict[str, object]:
    return rules.leak({**SPECS, "agent-api": {**SPEC, **changed}}, "agent-api", leaked, HOSTS, edges)


@pytest.mark.parametrize(
    ("leaked", "paths", "secrets"),
    [("database", LOGINS, []), ("cache", CACHE, []), ("secret/API_KEY", OWN, ["API_KEY"])],
)
def test_a_leak_of_one_app(leaked: str, paths: list[str], secrets: list[str]) -> None:
    assert leak(leaked) == {"paths": paths, "apps": {"agent-api": {"secrets": secrets, "clients": ""}}}


def test_a_host_could_read_the_secrets_of_every_app() -> None:
    assert leak("host/app1") == {
        "paths": [*LOGINS, *CACHE, *OWN, *OF_SHOP],
        "apps": {"agent-api": {"secrets": ["API_KEY"], "clients": ""}, "shop": {"secrets": ["TOKEN"], "clients": ""}},
    }
    assert rules.leak(SPECS, "", "host/app1", HOSTS) == leak("host/app1"), "no app is to be named"


def test_the_registry_is_no_apps() -> None:
    for app in ("agent-api", ""):
        found = rules.leak(SPECS, app, "registry", HOSTS)
        assert found == {"paths": ["signalbox/data/platform/registry"], "apps": {}}


def test_keys_of_clients_where_the_app_has_them() -> None:
    clients, read = {"secret": "API_KEY"}, ["signalbox/data/apps/agent-api/clients"]
    assert leak("clients/current", clients=clients) == {
        "paths": read,
        "apps": {"agent-api": {"secrets": [], "clients": "current"}},
    }
    edge = leak("host/edge1", ("edge1",), clients=clients)
    assert read[0] in edge["paths"]
    assert [one["clients"] for one in edge["apps"].values()] == ["all", ""]
    assert leak("host/app1", ("edge1",), clients=clients)["apps"]["agent-api"]["clients"] == ""
    # The app's own key is accepted from clients for a while: it is refused there too.
    assert leak("secret/API_KEY", clients=clients) == {
        "paths": [*OWN, *read],
        "apps": {"agent-api": {"secrets": ["API_KEY"], "clients": "own"}},
    }
    with pytest.raises(rules.UnknownLeak, match="clients/current, clients/previous"):
        leak("clients/next", clients=clients)
    with pytest.raises(rules.UnknownLeak):
        leak("clients/current")


@pytest.mark.parametrize("leaked", ["", "databse", "secret/UPSTREAM", "secret/NONE", "host/app9", "database/x"])
def test_what_is_unknown_is_refused_with_what_may_be_named(leaked: str) -> None:
    with pytest.raises(rules.UnknownLeak, match=r"database, cache, registry, secret/API_KEY, host/app1, host/edge1"):
        leak(leaked)
    with pytest.raises(rules.UnknownLeak, match=r"registry, host/app1, host/edge1, or, with -e app=NAME"):
        rules.leak(SPECS, "", leaked, HOSTS)
