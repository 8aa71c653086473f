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


@pytest.mark.parametrize(
    ("leaked", "paths", "secrets"),
    [
        ("database", LOGINS, []),
        ("cache", CACHE, []),
        ("registry", ["signalbox/data/platform/registry"], []),
        ("secret/API_KEY", OWN, ["API_KEY"]),
        ("host/app1", [*LOGINS, *CACHE, *OWN], ["API_KEY"]),
    ],
)
def test_a_leak(leaked: str, paths: list[str], secrets: list[str]) -> None:
    assert rules.leak(SPEC, leaked, HOSTS) == {"paths": paths, "secrets": secrets, "clients": ""}


def test_keys_of_clients_where_the_app_has_them() -> None:
    spec = {**SPEC, "clients": {"secret": "API_KEY"}}
    read = ["signalbox/data/apps/agent-api/clients"]
    assert rules.leak(spec, "clients/current", HOSTS) == {"paths": read, "secrets": [], "clients": "current"}
    assert rules.leak(spec, "host/edge1", HOSTS, ["edge1"])["paths"][-1:] == read
    assert rules.leak(spec, "host/edge1", HOSTS, ["edge1"])["clients"] == "all"
    assert rules.leak(spec, "host/app1", HOSTS, ["edge1"])["clients"] == ""
    # The app's own key is accepted from clients for a while: it is refused there too.
    assert rules.leak(spec, "secret/API_KEY", HOSTS) == {
        "paths": [*OWN, *read],
        "secrets": ["API_KEY"],
        "clients": "own",
    }
    with pytest.raises(rules.UnknownLeak, match="clients/current, clients/previous"):
        rules.leak(spec, "clients/next", HOSTS)
    with pytest.raises(rules.UnknownLeak):
        rules.leak(SPEC, "clients/current", HOSTS)


@pytest.mark.parametrize("leaked", ["", "databse", "secret/UPSTREAM", "secret/NONE", "host/app9", "database/x"])
def test_what_is_unknown_is_refused_with_what_may_be_named(leaked: str) -> None:
    with pytest.raises(rules.UnknownLeak, match=r"database, cache, registry, secret/API_KEY, host/app1, host/edge1"):
        rules.leak(SPEC, leaked, HOSTS)
