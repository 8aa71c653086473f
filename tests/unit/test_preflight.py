"""The checks before an operation: what each refuses, where, and with which words."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import parse_apps
from ansible_collections.signalbox.platform.plugins.module_utils._preflight import OPERATIONS, Situation, Verdict, check
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_inventory import Host, Inventory
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_options import NAMES, OPTIONS, check_options
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_variables import (
    Setting,
    Variables,
    names_of_ini,
    names_of_yaml,
)
from ansible_collections.signalbox.platform.plugins.module_utils._spec_errors import Problem, lay_out_numbered
from ansible_collections.signalbox.platform.plugins.module_utils._spec_expressions import default_compiler
from ansible_collections.signalbox.platform.plugins.plugin_utils._given_certificates import faults
from ansible_collections.signalbox.platform.plugins.plugin_utils._inventory_files import variables_of_all
from ansible_collections.signalbox.platform.plugins.plugin_utils._origin import origin_of

APPS = yaml.safe_load(
    """
agent-api:
  image: registry.example.com/agent-api
  port: 54000
  domains: [api.example.com]
  health: {path: /health}
  secrets: {API_KEY: {generate: 48}, WEBHOOK_KEY: {}}
  database: {env: DATABASE_URL, url: "postgresql://{user}:{password}@{host}:{port}/{name}"}
  cache: {env: REDIS_URL}
web:
  image: web
  port: 54010
  domains: [www.example.com]
  health: {path: /up}
"""
)
GROUPS = {
    "all": ["a1", "a2", "d1", "e1", "laptop"],
    "ungrouped": ["laptop"],
    "app": ["a1", "a2"],
    "edge": ["e1"],
    "registry": ["d1"],
    "postgresql": ["d1"],
    "redis": ["d1"],
}
HOSTS = {"a1": "10.0.0.1", "a2": "10.0.0.2", "d1": "10.0.0.3", "e1": "10.0.0.4"}
SECRETS = {
    "agent-api": [
        "API_KEY",
        "WEBHOOK_KEY",
        *(f"database_{role}" for role in ("owner", "blue", "green")),
        "cache_blue",
        "cache_green",
    ],
    "web": [],
    "registry": ["pull", "push"],
    "redis": ["monitor"],
    "backup": ["cipher"],
}
REGISTRY = {"address": "registry.example.com", "username": "pull"}
WIRING = ("redis_users", "container_engine_registries", "signalbox_secrets_file", "edge_apps")


def without(scope: str, name: str) -> dict[str, list[str]]:
    """The secrets, but for one."""
    return {**SECRETS, scope: [one for one in SECRETS[scope] if one != name]}


def set_for_all(name: str) -> Variables:
    return Variables((Setting("region", "all.yml:1"), Setting(name, "all.yml:2")), WIRING)


def situation(**changes: Any) -> Situation:
    """A deploy that nothing is wrong with, changed. `groups` and `hosts` are merged; None takes an entry away."""
    groups = _merged(GROUPS, changes.pop("groups", {}))
    addresses = _merged(HOSTS, changes.pop("hosts", {}))
    hosts = {name: one if isinstance(one, Host) else Host(one) for name, one in addresses.items()}
    inventory = Inventory(groups, hosts, changes.pop("limit", ""), changes.pop("play_hosts", GROUPS["all"]))
    given: dict[str, Any] = {
        "operation": "deploy",
        "app": "agent-api",
        "version": "1.4.2",
        "secrets": SECRETS,
        "registry": REGISTRY,
        **changes,
    }
    return Situation(apps=given.pop("apps", APPS), inventory=inventory, **given)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = {**copy.deepcopy(base), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def run(**changes: Any) -> Verdict:
    return check(situation(**changes), default_compiler())


def only(name: str) -> dict[str, Any]:
    return {name: APPS[name]}


def tls(source: str, **more: str) -> dict[str, Any]:
    return {"agent-api": {**APPS["agent-api"], "tls": {"source": source, **more}}}


DIGEST = "sha256:" + "a" * 64

CASES: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("version missing", {"version": None}, "-e version", ["missing", "-e version=1.4.2"]),
    ("version empty", {"version": ""}, "-e version", ["missing"]),
    ("version latest", {"version": "latest"}, "-e version", ["latest", "rollback", "Name the release"]),
    ("version is a float", {"version": 1.10}, "-e version", ["number 1.1", "1.10", "quotes"]),
    ("version is a number", {"version": 7}, "-e version", ["number 7", "text"]),
    ("version with image", {"version": "agent-api:1.0"}, "-e version", ["not a version", "-e version=1.0"]),
    ("version with dash first", {"version": "-1"}, "-e version", ["not a version", "128"]),
    ("version too long", {"version": "a" * 129}, "-e version", ["not a version", "128"]),
    ("version with newline", {"version": "1.0\n"}, "-e version", ["not a version"]),
    ("version with plus", {"version": "1.0+build"}, "-e version", ["not a version"]),
    ("digest too short", {"version": "sha256:abc"}, "-e version", ["64 hexadecimal"]),
    ("rollback to latest", {"operation": "rollback", "version": "latest"}, "-e version", ["latest"]),
    ("strategy unknown", {"strategy": "blue_gren"}, "-e strategy", ["Did you mean blue_green?"]),
    ("strategy canary", {"strategy": "canary"}, "-e strategy", ["not available in this version", "blue_green"]),
    ("strategy rolling", {"strategy": "rolling"}, "-e strategy", ["not available in this version"]),
    ("strategy maintenance", {"strategy": "maintenance"}, "-e strategy", ["not available in this version"]),
    ("strategy is a boolean", {"strategy": True}, "-e strategy", ["boolean true"]),
    ("app missing", {"app": None}, "-e app", ["missing", "agent-api, web", "-e app=agent-api"]),
    ("app unknown", {"app": "agent_api"}, "-e app", ["agent_api", "Did you mean agent-api?"]),
    ("app not a name", {"app": 12}, "-e app", ["number 12", "quotes"]),
    ("app of remove", {"operation": "remove", "app": None, "apps": only("web")}, "-e app", ["missing"]),
    ("app of site unknown", {"operation": "site", "app": "wbe"}, "-e app", ["Did you mean web?"]),
    ("no apps", {"apps": {}, "app": None}, "signalbox_apps", ["no app", "docs/app-spec.md"]),
    ("apps is a list", {"apps": []}, "signalbox_apps", ["a list, not a mapping"]),
    ("spec broken", {"apps": {**APPS, "web": {}}}, "signalbox_apps.web.image", ["missing"]),
    ("versoin", {"extra_vars": ("versoin",), "version": None}, "-e versoin", ["Did you mean -e version?"]),
    ("Version", {"extra_vars": ("Version",), "version": None}, "-e Version", ["Did you mean -e version?"]),
    ("apps for app", {"extra_vars": ("apps",), "app": None}, "-e apps", ["Did you mean -e app?"]),
    ("startegy", {"extra_vars": ("startegy",)}, "-e startegy", ["Did you mean -e strategy?"]),
    ("slots", {"extra_vars": ("slots",)}, "-e slots", ["Did you mean -e slot?"]),
    ("tag for version", {"extra_vars": ("tag",), "version": None}, "-e tag", ["Did you mean -e version?"]),
    ("own option", {"extra_vars": ("reson",), "options": ("reason",)}, "-e reson", ["Did you mean -e reason?"]),
    ("signalbox_app", {"extra_vars": ("signalbox_app",)}, "-e signalbox_app", ["signalbox_apps"]),
    ("no group edge", {"groups": {"edge": None}}, "group edge", ["missing", "requests enter"]),
    ("group app is empty", {"groups": {"app": []}}, "group app", ["no hosts", "the apps run"]),
    ("no postgresql", {"groups": {"postgresql": None}}, "group postgresql", ["agent-api has a database"]),
    ("no redis", {"groups": {"redis": None}}, "group redis", ["agent-api has a cache"]),
    ("no registry", {"app": "web", "groups": {"registry": None}}, "group registry", ["web", "registry.example.com"]),
    ("postgres", {"groups": {"postgresql": None, "postgres": ["d1"]}}, "group postgresql", ["Rename it to postgresql"]),
    ("db", {"groups": {"postgresql": None, "db": ["d1"]}}, "group postgresql", ["Is group db meant?"]),
    ("edges", {"groups": {"edge": None, "edges": ["e1"]}}, "group edge", ["Is group edges meant?"]),
    ("apps group", {"groups": {"app": None, "apps": ["a1"]}}, "group app", ["Is group apps meant?"]),
    ("monitorng", {"groups": {"monitorng": ["d1"]}}, "group monitorng", ["no role", "Did you mean monitoring?"]),
    ("backups", {"groups": {"backups": ["d1"]}}, "group backups", ["Did you mean backup?"]),
    ("no address", {"hosts": {"a2": None}}, "host a2: signalbox_address", ["missing", "10.0.0.11"]),
    ("host name", {"hosts": {"a2": "a2.local"}}, "host a2: signalbox_address", ["not an IP address: a2.local"]),
    ("network", {"hosts": {"a2": "10.0.0.2/24"}}, "host a2: signalbox_address", ["network", "alone: 10.0.0.2"]),
    ("address is a float", {"hosts": {"a2": 10.1}}, "host a2: signalbox_address", ["number 10.1"]),
    ("same address", {"hosts": {"a2": "10.0.0.1"}}, "host a2: signalbox_address", ["a1 has already", "its own"]),
    ("loopback", {"hosts": {"a2": "127.0.0.1"}}, "host a2: signalbox_address", ["127.0.0.1", "to itself"]),
    ("any address", {"hosts": {"a2": "0.0.0.0"}}, "host a2: signalbox_address", ["0.0.0.0", "no host"]),
    ("link-local", {"hosts": {"a2": "fe80::1"}}, "host a2: signalbox_address", ["fe80::1", "no host"]),
    (
        "undefined",
        {"hosts": {"a2": Host(fault="'x' is undefined")}},
        "host a2: signalbox_address",
        ["'x' is undefined"],
    ),
    ("limit on app", {"limit": "e1", "play_hosts": ["e1"]}, "--limit e1", ["leaves out a1, a2", "Leave --limit out"]),
    ("limit on edge", {"limit": "app", "play_hosts": ["a1", "a2"]}, "--limit app", ["leaves out e1", "deploy"]),
    (
        "ACME at two edges",
        {"apps": tls("acme"), "groups": {"edge": ["e1", "a1"]}},
        "signalbox_apps.agent-api.tls.source",
        ["2 edges", "may ask another", "one edge"],
    ),
    (
        "given certificate of no use",
        {"operation": "site", "certificate_faults": {"agent-api": "cannot be served: it ended"}},
        "signalbox_apps.agent-api.tls",
        ["it ended", "names every domain"],
    ),
    ("old core", {"core_version": "2.18.9"}, "control node", ["2.18.9", "2.19"]),
    ("no pglast", {"has_pglast": False}, "control node", ["pglast", "requirements.txt"]),
    ("no jmespath", {"has_jmespath": False}, "control node", ["jmespath", "pip install jmespath"]),
    (
        "secret by hand",
        {"secrets": without("agent-api", "WEBHOOK_KEY")},
        "signalbox_secrets.agent-api.WEBHOOK_KEY",
        ["no value", "vault file"],
    ),
    (
        "secret to generate",
        {"secrets": without("agent-api", "cache_green")},
        "signalbox_secrets.agent-api.cache_green",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "secret for site by hand",
        {"operation": "site", "app": None, "secrets": {}},
        "signalbox_secrets.agent-api.WEBHOOK_KEY",
        ["no value"],
    ),
    (
        "secret for site to generate",
        {"operation": "site", "app": None, "secrets": without("agent-api", "database_owner")},
        "signalbox_secrets.agent-api.database_owner",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "registry's account for the operator",
        {"operation": "site", "app": None, "secrets": without("registry", "push")},
        "signalbox_secrets.registry.push",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "registry's account for app hosts",
        {"operation": "rollback", "version": None, "secrets": without("registry", "pull")},
        "signalbox_secrets.registry.pull",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "account at a registry of somebody else",
        {"groups": {"registry": None}, "secrets": without("registry", "pull")},
        "signalbox_secrets.registry.pull",
        ["no value", "vault file"],
    ),
    (
        "cache's monitor",
        {"operation": "site", "app": None, "secrets": without("redis", "monitor")},
        "signalbox_secrets.redis.monitor",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "backup's passphrase",
        {"operation": "site", "app": None, "groups": {"backup": ["d1"]}, "secrets": without("backup", "cipher")},
        "signalbox_secrets.backup.cipher",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "two backup hosts",
        {"groups": {"backup": ["d1", "e1"]}},
        "group backup",
        ["has 2 hosts", "Keep d1 and take e1 out"],
    ),
    (
        "backup without a host for it",
        {"operation": "backup", "app": None},
        "group backup",
        ["has no hosts", "playbooks/site.yml"],
    ),
    (
        "drill without a database",
        {"operation": "drill", "app": None, "apps": {}, "groups": {"postgresql": None, "backup": ["e1"]}},
        "group postgresql",
        ["has no hosts", "its first host is backed up"],
    ),
    (
        "standby that is the primary",
        {"groups": {"postgresql_standby": ["d1"]}},
        "group postgresql_standby",
        ["has d1, which is in postgresql as well"],
    ),
    (
        "standby without a primary",
        {"app": "web", "groups": {"postgresql": None, "postgresql_standby": ["e1"]}},
        "group postgresql_standby",
        ["group postgresql has 0", "follows the one primary"],
    ),
    (
        "standby that keeps the backups",
        {"groups": {"postgresql_standby": ["e1"], "backup": ["e1"]}},
        "group postgresql_standby",
        ["has e1, which keeps the backups as well"],
    ),
    (
        "primary that keeps the backups, with a standby",
        {"groups": {"postgresql_standby": ["e1"], "backup": ["d1"]}},
        "group postgresql_standby",
        ["d1 keeps the backups itself"],
    ),
    (
        "promotion without a standby",
        {"operation": "promote", "app": None},
        "group postgresql_standby",
        ["has no hosts", "Swap"],
    ),
    (
        "password of the replication",
        {"operation": "site", "app": None, "groups": {"postgresql_standby": ["e1"]}},
        "signalbox_secrets.postgresql.replication",
        ["no value", "playbooks/secrets.yml"],
    ),
    (
        "variable of a role for all",
        {"variables": set_for_all("redis_users")},
        "variable redis_users",
        ["no effect", "group_vars/redis.yml"],
    ),
    (
        "variable of the longer role's name for all",
        {"variables": set_for_all("container_engine_registries")},
        "variable container_engine_registries",
        ["no effect", "group_vars/app.yml"],
    ),
    (
        "variable of the platform for all",
        {"variables": set_for_all("signalbox_secrets_file")},
        "variable signalbox_secrets_file",
        ["no effect", "group below all"],
    ),
]


def test_table_is_long_enough() -> None:
    assert len(CASES) >= 60
    assert len({name for name, *_rest in CASES}) == len(CASES)


@pytest.mark.parametrize(("changes", "where", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_mistakes(changes: dict[str, Any], where: str, words: list[str]) -> None:
    verdict = run(**changes)
    found = [problem for problem in verdict.problems if problem.path == where]
    assert len(found) == 1, verdict.problems
    assert found[0].what
    assert found[0].remedy
    text = f"{found[0].what} {found[0].remedy}"
    assert [word for word in words if word not in text] == [], text


@pytest.mark.parametrize("name", ["versoin", "Version", "tag", "apps for app", "postgres", "edges", "no group edge"])
def test_one_mistake_is_reported_once(name: str) -> None:
    changes = next((case[1] for case in CASES if case[0] == name or case[0].startswith(name)), {})
    assert len(run(**changes).problems) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version": DIGEST},
        {"version": "v1.4.2-rc.1_build"},
        {"version": "_" + "a" * 127},
        {"strategy": "blue_green"},
        {"strategy": ""},
        {"operation": "rollback", "version": None},
        {"operation": "rollback", "strategy": "canary"},
        {"operation": "status", "app": None, "version": None},
        {"operation": "site", "app": None, "version": "latest"},
        {"operation": "site", "app": None, "version": None, "variables": set_for_all("redis_version")},
        {
            "operation": "site",
            "app": None,
            "groups": {"registry": None},
            "apps": only("agent-api"),
            "secrets": {name: SECRETS[name] for name in ("agent-api", "redis")},
        },
        {"app": "web", "secrets": {"web": []}},
        {"registry": {"address": "registry.example.com"}, "secrets": without("registry", "pull")},
        {"registry": None, "secrets": without("registry", "pull")},
        {"operation": "status", "app": None, "secrets": {}},
        {"operation": "remove", "version": None, "secrets": {}},
        {"secrets": None},
        {"app": "web", "groups": {"postgresql": None, "redis": None}},
        {"groups": {"registry": None}},
        {"extra_vars": ("app", "version", "awx_job_id", "tower_user_name", "ansible_user", "region", "tag", "slot")},
        {"extra_vars": ("signalbox_apps", "redis_version", "postgresql_version", "application", "environment")},
        {"groups": {"postgres": ["d1"], "edges": ["e1"], "eu_west": ["a1"], "webservers": ["a1"]}},
        {"groups": {"monitorng": []}},
        {"operation": "site", "app": None, "limit": "a1", "play_hosts": ["a1"]},
        {"limit": "all:!laptop", "play_hosts": ["a1", "a2", "d1", "e1"]},
        {"limit": "", "play_hosts": ["a1"]},
        {"hosts": {"a1": "fd00::1"}},
        {"core_version": "2.19.0"},
        {"core_version": "3.0.0.dev0"},
    ],
)
def test_nothing_wrong(changes: dict[str, Any]) -> None:
    assert run(**changes).problems == ()


def test_one_app_needs_no_name() -> None:
    verdict = run(app=None, apps=only("agent-api"), secrets=None)
    assert (verdict.problems, verdict.app) == ((), "agent-api")


def test_status_of_no_app_is_of_all() -> None:
    verdict = run(operation="status", app=None, secrets=None)
    assert verdict.app is None
    assert list(verdict.apps) == ["agent-api", "web"]


def test_one_host_is_a_platform() -> None:
    groups = {name: ["a1"] for name in GROUPS}
    assert run(groups=groups, play_hosts=["a1"]).problems == ()
    assert run(groups=groups, play_hosts=["a1"], hosts={"a1": "127.0.0.1"}).problems == ()


def test_public_address_of_a_data_service_is_a_warning() -> None:
    verdict = run(hosts={"d1": "8.8.8.8", "e1": "8.8.4.4"})
    assert verdict.problems == ()
    assert [warning.path for warning in verdict.warnings] == ["host d1: signalbox_address"]
    assert "postgresql, redis, registry would listen on it" in verdict.warnings[0].what


def test_hosts_outside_the_platform_need_no_address() -> None:
    assert run(hosts={"laptop": "nonsense"}).problems == ()


def test_everything_at_once_in_one_numbered_message() -> None:
    verdict = run(
        version=None,
        app="agent_api",
        groups={"edge": None},
        apps={**APPS, "web": {**APPS["web"], "port": "x"}},
        hosts={"a1": None},
    )
    lines = verdict.message.splitlines()
    assert lines[0] == "Preflight for deploy found 5 mistakes; nothing was touched."
    assert [line.split(":")[0] for line in lines[1::2]] == [
        "1. -e version",
        "2. -e app",
        "3. signalbox_apps.web.port",
        "4. group edge",
        "5. host a1",
    ]
    assert all(line.startswith("   remedy: ") for line in lines[2::2])


def test_headline_names_the_app() -> None:
    assert run(version=None).headline == "Preflight for deploy of agent-api found 1 mistake; nothing was touched."


def test_numbers_are_aligned_and_origins_shown() -> None:
    problems = [
        Problem(f"p{number}", "is wrong", "Mend it", "all.yml:3" if number == 9 else "") for number in range(11)
    ]
    lines = lay_out_numbered("x", problems).splitlines()
    assert lines[1:3] == [" 1. p0: is wrong", "    remedy: Mend it"]
    assert "10. p9: is wrong\n    remedy: Mend it\n    written in all.yml:3" in "\n".join(lines)


def test_secret_values_are_never_read() -> None:
    assert "hunter2" not in run(apps={"web": {**APPS["web"], "secrets": {"A": "hunter2"}}}, app="web").message


def test_origin_is_that_of_the_innermost_key_written_down(tmp_path: Any) -> None:
    loader = pytest.importorskip("ansible.parsing.dataloader").DataLoader()
    path = tmp_path / "all.yml"
    path.write_text("apps:\n  a.b:\n    port: true\n    smoke:\n      - path: /\n      - {path: x}\n")
    value = loader.load_from_file(str(path))["apps"]
    assert origin_of(value, "apps.a.b.port", "apps").endswith("all.yml:3")
    assert origin_of(value, "apps.a.b.smoke[1].path", "apps").endswith("all.yml:6")
    assert origin_of(value, "apps.a.b.smoke[7]", "apps").endswith("all.yml:4")
    assert origin_of(value, "apps.a.b.health.path", "apps").endswith("all.yml:2")
    assert origin_of(value, "group app", "apps") == ""


def test_given_certificates_are_looked_at_on_the_control_node(tmp_path: Path) -> None:
    """Paths from the inventory's directory; a key that ansible-vault encrypted is decrypted."""
    loader = pytest.importorskip("ansible.parsing.dataloader").DataLoader()
    loader.set_vault_secrets([("default", VaultSecret(b"hunter2"))])

    def pair(name: str, days: int, domain: str) -> None:
        subject = ("-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{domain}", "-days", str(days))
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / f"{name}.key")
        command = ["openssl", "req", "-x509", *key, *subject, "-out", tmp_path / f"{name}.crt"]
        subprocess.run(command, check=True, capture_output=True)

    def found(certificate: str, key: str) -> str:
        given = tls("given", certificate_path=certificate, key_path=key)
        return faults(loader, parse_apps(given)[0], str(tmp_path)).get("agent-api", "")

    pair("good", 5, "api.example.com")
    pair("other", 5, "www.example.com")
    assert found("good.crt", "good.key") == ""
    plain = (tmp_path / "good.key").read_bytes()
    (tmp_path / "good.key").write_bytes(VaultLib(loader._vault.secrets).encrypt(plain))
    assert found("good.crt", str(tmp_path / "good.key")) == ""
    assert "do not belong together" in found("other.crt", "good.key")
    assert "does not name DNS:api.example.com" in found("other.crt", "other.key")
    assert f"{tmp_path}/nowhere.crt cannot be read: it is not there" in found("nowhere.crt", "good.key")
    loader.set_vault_secrets([])
    assert "good.key cannot be read" in found("good.crt", "good.key")


def test_a_variable_names_its_place() -> None:
    assert [problem.origin for problem in run(variables=set_for_all("edge_apps")).problems] == ["all.yml:2"]


def test_variables_of_all_in_inventory_files() -> None:
    assert names_of_yaml({"all": {"vars": {"a": 1, "b": 2}, "children": {"edge": {"vars": {"c": 3}}}}}) == ["a", "b"]
    assert [names_of_yaml(one) for one in (None, [], {"all": None}, {"all": {"vars": []}}, {"plugin": "x"})] == [[]] * 5
    text = "h1 x=1\n[all:vars]\n# y=1\na = 1\n b=2\n[edge:vars]\nc=3\n"
    assert names_of_ini(text) == [("a", 4), ("b", 5)]


def test_files_of_an_inventory_are_read(tmp_path: Any) -> None:
    loader = pytest.importorskip("ansible.parsing.dataloader").DataLoader()
    files = {
        "play/group_vars/all/one.yml": "redis_users: []\n",
        "play/group_vars/all/two.yml": "edge_apps: []\n",
        "inventory/group_vars/all.yml": "region: x\nredis_users: []\n",
        "inventory/group_vars/edge.yml": "edge_apps: []\n",
        "inventory/hosts.yml": "all: {vars: {edge_apps: []}}\n",
        "inventory/hosts": "[all:vars]\nedge_apps=1\n",
        "inventory/broken.yml": "- [\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    sources = [str(tmp_path / "inventory"), "host1,", str(tmp_path / "inventory/hosts")]
    found = variables_of_all(loader, sources, str(tmp_path / "play"))
    assert set(found.wiring) == {"redis_users", "edge_apps"}
    places = {setting.name: setting.where.rpartition("/")[2] for setting in found.inventory}
    assert places == {"region": "all.yml:1", "redis_users": "all.yml:2", "edge_apps": "hosts:2"}
    assert {problem.path for problem in run(variables=found).problems} == {"variable redis_users", "variable edge_apps"}


UTC = datetime.timezone.utc
MOMENT = "2026-11-23T14:05:00+00:00"
# Operation, options as -e or JSON gives them, the option that is refused, words of the message.
REFUSED: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("deploy", {"bake_seconds": "5m"}, "bake_seconds", ["'5m'", "whole number of seconds", "86400", "such as 300"]),
    ("deploy", {"bake_seconds": ""}, "bake_seconds", ["an empty text"]),
    ("deploy", {"bake_seconds": None}, "bake_seconds", ["is empty"]),
    ("deploy", {"bake_seconds": "-1"}, "bake_seconds", ["'-1'"]),
    ("deploy", {"bake_seconds": 1.5}, "bake_seconds", ["number 1.5"]),
    ("deploy", {"bake_seconds": True}, "bake_seconds", ["boolean true"]),
    ("deploy", {"bake_seconds": 86401}, "bake_seconds", ["86401", "0 to 86400"]),
    ("deploy", {"bake_seconds": "1_0"}, "bake_seconds", ["1_0"]),
    ("deploy", {"bake_seconds": "٣"}, "bake_seconds", ["not a whole number"]),
    ("deploy", {"bake_seconds": [5]}, "bake_seconds", ["a list"]),
    ("deploy", {"rehearse": "ture"}, "rehearse", ["Did you mean true?"]),
    ("deploy", {"accept_migration": "true"}, "accept_migration", ["'true'", "undetermined", "hold"]),
    ("deploy", {"accept_migration": "undetermind"}, "accept_migration", ["Did you mean undetermined?"]),
    ("rollback", {"lock_wait_seconds": "5 min"}, "lock_wait_seconds", ["5 min", "seconds alone"]),
    ("restore", {"timeline": "0x3", "kind": "latest"}, "timeline", ["0x3", "decimal"]),
    ("deploy", {"require_backup": "flase"}, "require_backup", ["'flase'", "neither true nor false", "mean false?"]),
    ("deploy", {"require_backup": ""}, "require_backup", ["an empty text", "Write true or false"]),
    ("deploy", {"require_traffic": "ture"}, "require_traffic", ["Did you mean true?"]),
    ("deploy", {"require_traffic": 2}, "require_traffic", ["number 2"]),
    ("deploy", {"require_traffic": 1.0}, "require_traffic", ["number 1.0"]),
    ("deploy", {"wait_for_drain": None}, "wait_for_drain", ["is empty"]),
    ("deploy", {"wait_for_drain": "y"}, "wait_for_drain", ["'y'"]),
    ("remove", {"drop_database": "t"}, "drop_database", ["'t'"]),
    ("deploy", {"cut_streams": "yes please"}, "cut_streams", ["yes please"]),
    ("rotate", {"both_slots": ["true"]}, "both_slots", ["a list"]),
    ("backup", {"accept_smaller": "maybe"}, "accept_smaller", ["'maybe'"]),
    ("restore", {"exclusive": "flse", "kind": "latest"}, "exclusive", ["mean false?"]),
    ("restore", {"undo": "1.0"}, "undo", ["'1.0'"]),
    ("restore", {"forget": "none"}, "forget", ["'none'"]),
    ("rebuild", {"without_state": "tru"}, "without_state", ["mean true?"]),
    ("backup", {"kind": "ful"}, "kind", ["'ful'", "Did you mean full?"]),
    ("backup", {"kind": "latest"}, "kind", ["full, diff, incr"]),
    ("drill", {"kind": "full"}, "kind", ["'full'"]),
    ("restore", {"kind": "random"}, "kind", ["'random'"]),
    ("restore", {"kind": "time", "at": "yesterday"}, "at", ["yesterday", "not a moment", MOMENT]),
    ("restore", {"kind": "time", "at": "2026-11-23T14:05:00"}, "at", ["no time zone", MOMENT]),
    ("restore", {"kind": "time", "at": datetime.date(2026, 11, 23)}, "at", ["the date 2026-11-23"]),
    ("restore", {"kind": "time"}, "at", ["is missing", MOMENT]),
    ("restore", {"at": MOMENT}, "at", ["kind is missing", "kind=time"]),
    ("restore_table", {"kind": "latest", "at": MOMENT}, "at", ["kind is latest"]),
    ("restore", {"kind": "xid", "at": "0x1"}, "at", ["kind is xid", "pg_current_xact_id"]),
    ("restore", {"kind": "lsn", "at": "3000028"}, "at", ["kind is lsn", "0/3000028"]),
    ("restore", {"kind": "name", "at": "a b"}, "at", ["kind is name"]),
    ("restore", {"kind": "name", "at": True}, "at", ["boolean true"]),
    ("drill", {"at": MOMENT}, "at", ["kind is missing"]),
    ("restore_repository", {"at": "14:05"}, "at", ["not a moment"]),
    ("rebuild", {"before": "now"}, "before", ["not a moment"]),
    ("revoke", {"since": "2026-11-22T02:00:00+02:00"}, "since", ["moment in UTC", "14:05:00Z"]),
    ("revoke", {"since": "2026-13-22T02:00:00Z"}, "since", ["moment in UTC"]),
    ("revoke", {"leaked": "hunter2 !"}, "leaked", ["not shown", "secret/NAME"]),
    ("secret", {"secret": "hunter2"}, "secret", ["not shown", "SCOPE/NAME"]),
    ("secret", {"secret": 5, "to": "x"}, "secret", ["not shown"]),
    ("secret", {"to": "a\nb"}, "to", ["line break"]),
    ("rotate", {"credentials": "slot,clients"}, "credentials", ["Did you mean slots?"]),
    (
        "rotate",
        {"credentials": ""},
        "credentials",
        ["clients, vault, hosts, certificates, redis, registry, slots, due"],
    ),
    ("rotate", {"credentials": ["slots"]}, "credentials", ["a list"]),
    ("restore_table", {"tables": ["a", "b"]}, "tables", ["a list", "commas"]),
    ("masked_copy", {"database": 7}, "database", ["number 7", "quotes"]),
    ("refresh_staging", {"from": None}, "from", ["is empty"]),
    ("rebuild", {"lost": {}}, "lost", ["a mapping"]),
    ("restore", {"overwrite": True, "kind": "latest"}, "overwrite", ["boolean true"]),
    ("status", {"status_file": 1}, "status_file", ["number 1"]),
    ("promote", {"accept_lag": "some"}, "accept_lag", ["'some'"]),
    ("plan_migration", {"accept_no_downgrade": "ye"}, "accept_no_downgrade", ["mean yes?"]),
    ("plan_migration", {"require_run_now": "flase"}, "require_run_now", ["mean false?"]),
    ("plan_migration", {"report": ["a"]}, "report", ["a list"]),
]


@pytest.mark.parametrize(("operation", "values", "name", "words"), REFUSED)
def test_bad_values_are_refused(operation: str, values: dict[str, Any], name: str, words: list[str]) -> None:
    problems = list(check_options(operation, values, tuple(values)))
    assert [problem.path for problem in problems] == [f"-e {name}"]
    text = f"{problems[0].what} {problems[0].remedy}"
    assert [word for word in words if word not in text] == [], text
    assert "hunter2" not in text


def test_every_option_is_seen_to_be_refused() -> None:
    assert {name for _operation, _values, name, _words in REFUSED} == set(NAMES)
    kinds = {option.operations for option in OPTIONS if option.name in ("kind", "at")}
    assert all(any(operation in operations for operation, *_rest in REFUSED) for operations in kinds)


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("deploy", {}),
        *[("deploy", {"bake_seconds": value}) for value in (0, "0", 300, "300", "007", 86400)],
        *[("deploy", {"require_backup": value}) for value in (True, False, 1, 0, "1", "0", "True", "OFF", "yes", "no")],
        *[("deploy", {"accept_migration": value}) for value in ("", "undetermined", "hold")],
        ("deploy", {"kind": 5, "database": {"host": "x"}, "to": [], "secret": "hunter2", "at": 5}),
        ("backup", {"kind": ""}),
        ("backup", {"kind": "full"}),
        ("drill", {"kind": "random"}),
        ("drill", {"kind": "time", "at": "2026-11-23 14:05:00Z"}),
        ("restore", {"kind": "time", "at": datetime.datetime(2026, 11, 23, tzinfo=UTC), "timeline": "3"}),
        ("restore", {"kind": "xid", "at": 815, "before": MOMENT, "exclusive": "true"}),
        ("restore", {"kind": "name", "at": "agent-api.1.4.0.20261123T140500Z"}),
        ("restore", {"kind": "lsn", "at": "0/3000028"}),
        ("restore", {"kind": "latest", "at": "", "overwrite": "data1"}),
        ("restore", {"undo": "true"}),
        ("restore_repository", {"at": MOMENT}),
        ("revoke", {"leaked": "secret/API_KEY", "since": "2026-11-22T00:00:00Z"}),
        ("revoke", {"leaked": "host/app-1.example.com"}),
        ("rotate", {"credentials": "slots, clients,due"}),
        ("secret", {"secret": "agent-api/API_KEY", "to": "/media/stick/key"}),
        ("status", {"status_file": ""}),
    ],
)
def test_good_values_pass(operation: str, values: dict[str, Any]) -> None:
    assert list(check_options(operation, values, tuple(values))) == []


def test_values_are_part_of_the_one_message_and_tell_their_source() -> None:
    values = {"bake_seconds": "5m", "require_backup": "flase"}
    verdict = run(version=None, values=values, extra_vars=("bake_seconds",))
    places = ["-e version", "variable require_backup", "-e bake_seconds"]
    assert [problem.path for problem in verdict.problems] == places


def test_misspelt_option_is_found() -> None:
    assert [problem.remedy for problem in run(extra_vars=("bake_second",)).problems] == [
        "Did you mean -e bake_seconds?"
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
words = st.text(max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    asked=st.fixed_dictionaries(dict.fromkeys(("app", "version", "strategy"), anything)),
    values=st.dictionaries(st.sampled_from(NAMES), anything),
    names=st.lists(words, max_size=3),
    address=anything,
    groups=st.dictionaries(words, st.lists(words, max_size=2), max_size=3),
)
def test_any_input_yields_only_problems(
    operation: str, asked: Any, values: Any, names: Any, address: Any, groups: Any
) -> None:
    base = situation(groups=groups, hosts={"a1": Host(address)})
    verdict = check(
        dataclasses.replace(base, operation=operation, extra_vars=tuple(names), values=values, **asked),
        default_compiler(),
    )
    assert all(problem.path and problem.what and problem.remedy for problem in verdict.problems)
    assert len(verdict.message.splitlines()) == 1 + 2 * len(verdict.problems)


def test_keys_of_clients_need_a_vault() -> None:
    apps = copy.deepcopy(APPS)
    apps["agent-api"]["clients"] = {"secret": "API_KEY"}
    problems = run(apps=apps).problems
    assert [problem.path for problem in problems] == ["signalbox_apps.agent-api.clients"]
    assert "needs Vault" in problems[0].what
    assert run(apps=apps, groups={"vault": ["d1"]}).problems == ()
