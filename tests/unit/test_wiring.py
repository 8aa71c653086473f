"""App specs to role inputs, container environments and the status structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _status_report, _wiring
from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import normalise_apps
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import (
    Endpoint,
    MissingSecret,
    UnfilledPlaceholder,
    environment_of,
    fill,
    secret_sources,
    slot_credentials,
    slot_logins,
    wanted_secrets,
)

HEALTH = {"path": "/health"}
SPECS = normalise_apps(
    {
        "agent-api": {
            "image": "registry.test/agent-api",
            "port": 54000,
            "domains": ["api.example.com"],
            "health": HEALTH,
            "database": {"env": "DATABASE_URL", "url": "postgresql://{user}:{password}@{host}:{port}/{name}"},
            "cache": {"env": "REDIS_URL"},
            "secrets": {"API_KEY": {"generate": 48}, "UPSTREAM_TOKEN": {}},
            "environment": {"MODE": "fast"},
        },
        "plain": {"image": "registry.test/plain", "port": 54100, "domains": ["plain.example.com"], "health": HEALTH},
    }
)
API = SPECS["agent-api"]
SECRETS = {
    "API_KEY": "k" * 48,
    "UPSTREAM_TOKEN": "t" * 20,
    "database_owner": "o/wner:pass@word",
    "database_blue": "blue-password",
    "database_green": "green-password",
    "cache_blue": "cache-blue",
    "cache_green": "cache-green",
}
DATABASE, CACHE = Endpoint("10.0.0.31", 5432), Endpoint("10.0.0.32", 6379)


def environment(role: str, spec: Any = API, secrets: Any = SECRETS) -> dict[str, str]:
    return environment_of(spec, role, "1.4.0", secrets, DATABASE, CACHE)


def test_credentials_of_a_slot_are_where_its_secrets_are_read() -> None:
    found = slot_credentials(API, "green")
    sources = secret_sources(API, "green")
    assert sources["cache_green"]["path"] == found["cache_path"]
    assert sources["database_green"]["role"] == found["database_roles"][0]
    assert sources["API_KEY"]["path"] == found["secrets_path"]
    assert found["database_roles"] == ["agent_api_green", "agent_api_owner"]
    assert slot_credentials(SPECS["plain"], "blue")["database_roles"] == []


def test_logins_are_those_of_the_environment() -> None:
    for role in ("blue", "green", "owner"):
        logins = slot_logins(API, [role])
        assert [login["service"] for login in logins] == ["postgresql", "redis"][: 1 if role == "owner" else 2]
        for login, name in zip(logins, ("DATABASE_URL", "REDIS_URL")):
            password = quote(SECRETS[login["secret"]], safe="")
            assert f"://{login['user']}:{password}@" in environment(role)[name]
            assert login["secret"] in secret_sources(API, role)
    assert slot_logins(SPECS["plain"], ["blue", "owner"]) == []


def test_each_slot_has_users_of_its_own() -> None:
    blue, green = environment("blue"), environment("green")
    assert blue["DATABASE_URL"] == "postgresql://agent_api_blue:blue-password@10.0.0.31:5432/agent_api"
    assert green["DATABASE_URL"] == "postgresql://agent_api_green:green-password@10.0.0.31:5432/agent_api"
    assert blue["REDIS_URL"] == "rediss://agent-api-blue:cache-blue@10.0.0.32:6379/0"
    assert (blue["SIGNALBOX_SLOT"], green["SIGNALBOX_SLOT"]) == ("blue", "green")


@pytest.mark.parametrize("role", ["blue", "green", "owner"])
def test_a_host_that_fetches_gets_the_same_environment(role: str) -> None:
    """What the placeholders and the sources of a role make together is what the values make here."""
    sources = secret_sources(API, role)
    template = environment(role, secrets=None)
    assert not any(value in "".join(template.values()) for value in SECRETS.values())
    assert fill(template, {name: SECRETS[name] for name in sources}) == environment(role)


def test_sources_are_the_slots_own() -> None:
    assert secret_sources(API, "green") == {
        "API_KEY": {"kind": "kv", "path": "apps/agent-api/secrets", "key": "API_KEY"},
        "UPSTREAM_TOKEN": {"kind": "kv", "path": "apps/agent-api/secrets", "key": "UPSTREAM_TOKEN"},
        "database_green": {"kind": "database", "role": "agent_api_green"},
        "cache_green": {"kind": "kv", "path": "apps/agent-api/cache/green", "key": "password"},
    }
    assert {"database_owner", "cache_blue"} <= set(secret_sources(API, "owner"))
    assert secret_sources(SPECS["plain"], "blue") == {}


def test_filling_in_happens_once_and_names_what_is_missing() -> None:
    assert fill({"A": "${signalbox:X}"}, {"X": "${signalbox:Y}"}) == {"A": "${signalbox:Y}"}
    assert fill({"A": "$HOME ${other}"}, {}) == {"A": "$HOME ${other}"}
    with pytest.raises(UnfilledPlaceholder, match=r"A \(X, Y\); B \(malformed\)"):
        fill({"A": "${signalbox:X}${signalbox:url:Y}", "B": "${signalbox:no-name}"}, {})


def test_passwords_are_quoted_in_urls() -> None:
    url = environment("owner")["DATABASE_URL"]
    assert url == "postgresql://agent_api_owner:o%2Fwner%3Apass%40word@10.0.0.31:5432/agent_api"


def test_plain_values_secrets_and_platform_values_are_there() -> None:
    values = environment("blue")
    assert values["MODE"] == "fast"
    assert values["API_KEY"] == "k" * 48
    assert values["PORT"] == "54000"
    assert values["PGSSLROOTCERT"] == values["SIGNALBOX_CA_FILE"]


def test_an_app_without_services_gets_none() -> None:
    values = environment("blue", SPECS["plain"], {})
    assert not {"DATABASE_URL", "REDIS_URL", "PGSSLROOTCERT"} & set(values)


@pytest.mark.parametrize("name", ["API_KEY", "database_blue", "cache_blue"])
def test_a_missing_secret_is_named_and_no_value_shown(name: str) -> None:
    with pytest.raises(MissingSecret) as missing:
        environment("blue", secrets={key: value for key, value in SECRETS.items() if key != name})
    assert missing.value.args == (name,)


def test_wanted_secrets_leave_out_what_only_a_person_can_give() -> None:
    assert set(wanted_secrets(API)) == set(SECRETS) - {"UPSTREAM_TOKEN"}
    assert wanted_secrets(SPECS["plain"]) == {}


def test_edge_reaches_each_slot_on_every_app_host() -> None:
    app = next(app for app in _wiring.edge_apps(SPECS, ["10.0.0.21", "10.0.0.22"]) if app["name"] == "agent-api")
    assert app["slots"] == {
        "blue": ["10.0.0.21:54000", "10.0.0.22:54000"],
        "green": ["10.0.0.21:54001", "10.0.0.22:54001"],
    }


def test_an_app_host_offers_each_slot_once() -> None:
    listeners = _wiring.app_listeners(SPECS)
    assert {"name": "agent-api-blue", "port": 54000} in listeners
    assert len({listener["port"] for listener in listeners}) == len(listeners) == 2 * len(SPECS)


def test_edges_and_slots_prove_what_they_are() -> None:
    """By a name that none of the other hosts' certificates has, first: it becomes the common name."""
    for groups, name, first in ((["edge"], "edge", _wiring.EDGE_NAME), (["app"], "slots", _wiring.SLOTS_NAME)):
        requests = {one["name"]: one for one in _wiring.host_certificates(SPECS, groups, "host1", "10.0.0.9", "")}
        assert requests[name]["dns"] == [first, "host1"]
    wired = (Path(__file__).parents[2] / "playbooks/group_vars/all/platform.yml").read_text()
    assert f"signalbox_edge_name: {_wiring.EDGE_NAME}\n" in wired
    assert f"signalbox_slots_name: {_wiring.SLOTS_NAME}\n" in wired
    for group in ("postgresql", "redis", "registry", "vault", "backup"):
        names = str(_wiring.host_certificates(SPECS, [group], "host1", "10.0.0.9", "", True))
        assert _wiring.EDGE_NAME not in names
        assert _wiring.SLOTS_NAME not in names


def test_an_app_brings_its_certificate_or_obtains_it_or_the_platform_gives_it() -> None:
    given = {"source": "given", "certificate_path": "tls/a.crt", "key_path": "/srv/a.key"}
    specs = {
        **SPECS,
        "agent-api": {**API, "tls": given},
        "public": {**SPECS["plain"], "domains": ["p.example.com"], "tls": {"source": "acme"}},
    }
    found = {
        request["name"]: request
        for request in _wiring.host_certificates(specs, ["edge", "redis"], "h1", "10.0.0.1", "", False, "/inventory")
    }
    assert found["agent-api"]["certificate_path"] == "/inventory/tls/a.crt"
    assert found["agent-api"]["private_key_path"] == "/srv/a.key"
    assert found["public"]["placeholder"] is True
    assert [request["name"] for request in _wiring.renewed(list(found.values()))] == ["plain", "edge", "redis"]
    served = {app["name"]: app["certificate"]["acme"] for app in _wiring.edge_apps(specs, ["10.0.0.21"])}
    assert served == {"agent-api": False, "plain": False, "public": True}


def test_a_removed_app_loses_its_logins_and_its_data_only_when_asked() -> None:
    kept, removed, dropped = (
        _wiring.databases(SPECS)[0],
        _wiring.databases(SPECS, "agent-api")[0],
        _wiring.databases(SPECS, "agent-api", drop=True)[0],
    )
    assert (kept["state"], kept["confirm"]) == ("present", "")
    assert (removed["state"], removed["confirm"]) == ("absent", "")
    assert (dropped["state"], dropped["confirm"]) == ("absent", "agent_api")


def test_ports_are_open_only_where_and_to_whom_they_are_needed() -> None:
    def ports(*groups: str, **more: list[str]) -> dict[int, list[str]]:
        addresses = {"all": ["10.0.0.11", "10.0.0.51"], "edge": ["10.0.0.11"], "vault": ["10.0.0.51"], **more}
        found = _wiring.open_ports(SPECS, groups, addresses, ["10.0.0.21/32"], ["192.0.2.0/24"])
        return {entry["port"]: entry.get("sources", []) for entry in found}

    assert ports("backup") == {}
    assert ports("edge") == {80: [], 443: []}
    assert ports("app") == {port: ["10.0.0.11/32"] for port in (54000, 54001, 54100, 54101)}
    assert ports("postgresql", "redis") == {5432: ["10.0.0.21/32", "10.0.0.51/32"], 6379: ["10.0.0.21/32"]}
    assert ports("vault") == {8200: ["10.0.0.11/32", "10.0.0.51/32"]}
    with_backup = {"backup": ["10.0.0.41"], "database": ["10.0.0.31"]}
    assert ports("backup", **with_backup) == {8432: ["10.0.0.31/32"]}
    assert ports("postgresql", **with_backup)[8432] == ["10.0.0.41/32"]
    assert 8432 not in ports("backup", "postgresql", **with_backup), "on one host it needs no network"
    with_standby = {"backup": ["10.0.0.41"], "database": ["10.0.0.31", "10.0.0.32"]}
    assert ports("backup", **with_standby) == {8432: ["10.0.0.31/32", "10.0.0.32/32"]}
    both = [ports(group, **with_standby) for group in ("postgresql", "postgresql_standby")]
    assert both[0] == both[1], "a standby is ready to take its primary's place"
    assert both[0][5432] == ["10.0.0.21/32", "10.0.0.51/32", "10.0.0.31/32", "10.0.0.32/32"]
    assert ports("backup", state=["10.0.0.11"]) == {8433: ["10.0.0.11/32"]}
    assert ports("registry") == {5000: ["10.0.0.21/32", "192.0.2.0/24"]}


def test_a_standby_has_the_certificates_of_its_primary() -> None:
    primary, standby = (
        _wiring.host_certificates(SPECS, [group], "data2", "10.0.0.32", "", backup=True)
        for group in ("postgresql", "postgresql_standby")
    )
    assert primary == standby
    assert [request["name"] for request in standby] == ["backup", "postgresql"]


def edge_serving(weights: dict[str, int], counters: Any) -> dict[str, Any]:
    return {"apps": {"agent-api": {"state": {"weights": weights}, "in_step": True, "counters": counters}}}


def test_status_names_what_is_wrong() -> None:
    releases = {
        "agent-api": {
            "state": {
                "live": "blue",
                "slots": {"blue": {"release": {"version": "1.4.0"}, "since": "now"}, "green": None},
            },
            "lease": None,
            "ledger": [{"n": 1}, {"n": 2}],
        }
    }
    counters = {"slots": {"blue": {"requests": {"2xx": 98, "5xx": 2}, "errors": 2, "in_flight": 3}}}
    good = {
        "apps": {"agent-api": {"state": {"weights": {"blue": 100, "green": 0}}, "in_step": True, "counters": counters}}
    }
    elsewhere = {"apps": {"agent-api": {"state": {"weights": {"blue": 0, "green": 100}}, "counters": counters}}}
    edges = {"edge1": good, "edge2": elsewhere, "edge3": _status_report.answered({"unreachable": True})}
    app = _status_report.report(["agent-api"], releases, edges, {"app1": None})[0]
    assert (app["version"], app["error_rate"], app["in_flight"]) == ("1.4.0", 0.02, 6)
    assert app["last_releases"][0] == {"n": 2}
    assert [problem.split()[0] for problem in app["problems"]] == ["edge2", "edge3", "app1"]
