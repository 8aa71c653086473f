"""The layout of Vault on a real server: brought about once, then unchanged; and who may do what there, tried."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vault_provisioner import Identity, credential, provisioner
from vault_server import running

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_catalogue as catalogue
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_policies as policies
from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import normalise_apps
from ansible_collections.signalbox.platform.plugins.module_utils._slot_environment import secret_sources
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_layout import layout
from ansible_collections.signalbox.platform.plugins.module_utils._vault_plan import (
    Keys,
    State,
    given_paths,
    missing,
    plan,
    refuse,
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
        },
        "plain": {
            "image": "registry.test/plain",
            "port": 54100,
            "domains": ["plain.example.com"],
            "health": HEALTH,
            "secrets": {"SALT": {"generate": 16}},
        },
    }
)
# As a spec with keys of clients has them.
CLIENTS = {**SPECS, "agent-api": {**SPECS["agent-api"], "clients": {"secret": "API_KEY"}}}
GROUPS = {
    "app": ["app1", "app2"],
    "edge": ["edge1"],
    "postgresql": ["data1"],
    "redis": ["data1"],
    "registry": ["mon1"],
    "monitoring": ["mon1"],
    "backup": ["backup1"],
    "vault": ["vault1"],
}
HOSTS = ("app1", "app2", "edge1", "data1", "mon1", "backup1", "vault1")
ADDRESSES = {host: f"127.0.0.{number}" for number, host in enumerate(HOSTS, 11)}
WANTED = layout(CLIENTS, GROUPS, ADDRESSES, "registry.test")


def bring_about(vault: Any, wanted: Any = WANTED, given: Any = None) -> list[str]:
    done: list[str] = []
    state = catalogue.read(vault, wanted)
    catalogue.carry_out(vault, plan(state, wanted, given), given or {}, done)
    return done


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("vault")) as server, provisioner(server) as vault:
        bring_about(vault)
        yield server


@pytest.fixture
def vault(server):
    with provisioner(server) as vault:
        yield vault


# The rules, without a server.


def test_vault_certifies_no_name_whose_certificate_comes_from_elsewhere() -> None:
    files = {"certificate_path": "a.crt", "key_path": "a.key"}

    def names(source: str) -> list[str]:
        specs = {**SPECS, "plain": {**SPECS["plain"], "tls": {"source": source, **files}}}
        return layout(specs, GROUPS, ADDRESSES)["hosts"]["edge1"]["certificates"]["dns"]

    own = ["api.example.com", "edge.signalbox.internal", "edge1"]
    assert names("authority") == [*own, "plain.example.com"]
    assert names("acme") == names("given") == own


def test_what_is_generated_and_what_is_given():
    assert WANTED["secrets"] == {
        "apps/agent-api/secrets": {"generate": {"API_KEY": 48}, "given": ["UPSTREAM_TOKEN"]},
        "apps/agent-api/cache/blue": {"generate": {"password": 40}, "given": []},
        "apps/agent-api/cache/green": {"generate": {"password": 40}, "given": []},
        "apps/agent-api/clients": {"generate": {"current": 48}, "given": []},
        "apps/plain/secrets": {"generate": {"SALT": 16}, "given": []},
        "platform/registry": {"generate": {"pull": 40, "push": 40}, "given": []},
        "platform/redis": {"generate": {"monitor": 40}, "given": []},
        "platform/backup": {"generate": {"cipher": 40}, "given": []},
    }
    assert WANTED["static_roles"] == ["agent_api_blue", "agent_api_green", "agent_api_owner"]


def test_a_standby_adds_a_password():
    found = layout(CLIENTS, {**GROUPS, "postgresql_standby": ["app2"]}, ADDRESSES, "registry.test")
    assert found["secrets"]["platform/postgresql"] == {"generate": {"replication": 40}, "given": []}
    assert found["reads"]["postgresql"] == {"replication": {"path": "platform/postgresql", "key": "replication"}}


def test_ansible_reads_only_what_it_sets_itself():
    assert {scope: sorted(names) for scope, names in WANTED["reads"].items()} == {
        "agent-api": ["cache_blue", "cache_green"],
        "registry": ["pull", "push"],
        "redis": ["monitor"],
        "backup": ["cipher"],
    }


def test_no_clients_no_rights_for_the_edge():
    without = layout(SPECS, GROUPS, ADDRESSES)["hosts"]["edge1"]["policy"]
    assert "signalbox/data" not in without
    assert 'path "signalbox/data/apps/agent-api/clients"' in WANTED["hosts"]["edge1"]["policy"]


def test_a_policy_is_what_its_secret_sources_say():
    granted = {
        line.split('"')[1] for line in WANTED["hosts"]["app1"]["policy"].splitlines() if line.startswith('path "')
    }
    sources = [
        s for spec in CLIENTS.values() for role in paths.DATABASE_ROLES for s in secret_sources(spec, role).values()
    ]
    wanted = {
        f"database/static-creds/{s['role']}" if s["kind"] == "database" else f"signalbox/data/{s['path']}"
        for s in sources
    }
    assert granted == wanted | {grant.path for grant in policies.SELF} | {"pki/sign/host-app1"}


def test_a_removed_app_keeps_its_secrets_unless_they_are_to_go():
    gone = layout(CLIENTS, GROUPS, ADDRESSES, removed="agent-api")
    assert gone["removed"] == {"secrets": [], "static_roles": WANTED["static_roles"]}
    assert gone["static_roles"] == []
    assert "agent" not in gone["hosts"]["app1"]["policy"]
    purged = layout(CLIENTS, GROUPS, ADDRESSES, removed="agent-api", purge=True)["removed"]["secrets"]
    assert purged == [path for path in sorted(WANTED["secrets"]) if path.startswith("apps/agent-api/")]


def test_given_values_find_their_place_or_are_refused_together():
    given = {"agent-api": {"UPSTREAM_TOKEN": "u", "cache_blue": "c", "database_blue": "passed over"}, "redis": None}
    assert given_paths(WANTED, given) == {
        "apps/agent-api/secrets": {"UPSTREAM_TOKEN": "u"},
        "apps/agent-api/cache/blue": {"password": "c"},
    }
    with pytest.raises(VaultError, match=r"agent-api\.UPSTREM_TOKEN, other\.X"):
        given_paths(WANTED, {"agent-api": {"UPSTREM_TOKEN": "u"}, "other": {"X": "x"}})


def test_a_value_that_is_there_is_never_planned():
    state = State(secrets={"apps/plain/secrets": Keys(3, frozenset({"SALT"}))})
    words = [step.description for step in plan(state, WANTED, {"apps/plain/secrets": {"SALT": "mine"}})]
    assert not any("apps/plain/secrets" in word for word in words)
    overwritten = plan(state, WANTED, {"apps/plain/secrets": {"SALT": "mine"}}, overwrite=True)
    assert "write apps/plain/secrets: SALT" in [step.description for step in overwritten]


def test_a_place_that_is_taken_is_refused():
    with pytest.raises(VaultError, match="signalbox/ is a mount of type cubbyhole"):
        refuse(State(mounts={"signalbox": "cubbyhole"}))


# On the server.


def test_twice_is_unchanged(vault):
    state = catalogue.read(vault, WANTED)
    assert [step.description for step in plan(state, WANTED)] == []
    assert missing(state, WANTED) == ["apps/agent-api/secrets UPSTREAM_TOKEN"]


def test_generated_values_have_their_length_and_differ(vault):
    values = [value for path in WANTED["secrets"] for value in catalogue.read_values(vault, path).values()]
    assert sorted(map(len, values)) == [16, 40, 40, 40, 40, 40, 40, 48, 48]
    assert len(set(values)) == len(values)
    assert all(value.isalnum() for value in values)


def test_drift_is_mended_and_nothing_else_touched(server, vault):
    root = server.client()
    before = catalogue.read_values(vault, "apps/plain/secrets")
    root.sys.create_or_update_policy("host-app2", 'path "signalbox/*" { capabilities = ["read"] }')
    root.write_data("auth/approle/role/host-app2", data={"token_ttl": 60})
    root.write_data("pki/roles/host-edge1", data={"allow_any_name": True})
    root.sys.create_or_update_policy("host-gone", 'path "signalbox/*" { capabilities = ["read"] }')
    root.write_data("auth/approle/role/host-gone", data={"token_policies": "host-gone"})
    root.sys.create_or_update_policy("operators", 'path "sys/health" { capabilities = ["read"] }')
    assert sorted(bring_about(vault)) == [
        "remove AppRole host-gone",
        "remove policy host-gone",
        "write AppRole host-app2",
        "write certificate role host-edge1",
        "write policy host-app2",
    ]
    assert bring_about(vault) == []
    assert "operators" in root.sys.list_policies()["data"]["policies"]
    assert catalogue.read_values(vault, "apps/plain/secrets") == before


def test_given_values_join_generated_ones_and_deleted_ones_come_back(server, vault):
    before = catalogue.read_values(vault, "apps/agent-api/secrets")
    given = {"apps/agent-api/secrets": {"UPSTREAM_TOKEN": "brought", "API_KEY": "not taken"}}
    assert bring_about(vault, given=given) == ["write apps/agent-api/secrets: UPSTREAM_TOKEN"]
    assert catalogue.read_values(vault, "apps/agent-api/secrets") == {**before, "UPSTREAM_TOKEN": "brought"}
    server.client().secrets.kv.v2.delete_latest_version_of_secret("apps/plain/secrets", mount_point="signalbox")
    assert bring_about(vault) == ["generate apps/plain/secrets: SALT"]
    again = catalogue.changed(
        vault, catalogue.read(vault, WANTED), {"apps/agent-api/secrets": {"UPSTREAM_TOKEN": "brought"}}
    )
    assert again == {}


def test_two_writers_cannot_undo_each_other(vault):
    seen = catalogue.read_keys(vault, "apps/plain/secrets")
    catalogue.write_keys(vault, "apps/plain/secrets", {"SALT": "first writer's"}, seen)
    with pytest.raises(VaultError, match="written by somebody else"):
        catalogue.write_keys(vault, "apps/plain/secrets", {"SALT": "second writer's"}, seen)
    assert catalogue.read_values(vault, "apps/plain/secrets")["SALT"] == "first writer's"
    with pytest.raises(Refusal, match="check-and-set parameter required"):
        vault.post("signalbox/data/apps/plain/secrets", {"data": {"SALT": "no version named"}})


def test_a_purged_app_is_gone_with_its_versions(server, vault):
    specs = {**CLIENTS, "old": {**SPECS["plain"], "name": "old"}}
    bring_about(vault, layout(specs, GROUPS, ADDRESSES, "registry.test"))
    done = bring_about(vault, layout(specs, GROUPS, ADDRESSES, "registry.test", removed="old", purge=True))
    assert "remove apps/old/secrets with all its versions" in done
    assert server.client().secrets.kv.v2.list_secrets("apps", mount_point="signalbox")["data"]["keys"] == [
        "agent-api/",
        "plain/",
    ]


# Who may do what. An identity logs in from its own address with a secret id that came wrapped.


def identity(server: Any, vault: Any, host: str) -> Identity:
    role = f"auth/approle/role/{paths.host_role(host)}"
    wrapped = vault.wrapped(f"{role}/secret-id", {}, policies.WRAP_SECONDS)
    assert wrapped["creation_path"] == f"{role}/secret-id"
    who = Identity(server, ADDRESSES[host], wrapped["token"])
    secret_id = who.ask("POST", "sys/wrapping/unwrap").json()["data"]["secret_id"]
    second = who.ask("POST", "sys/wrapping/unwrap")
    assert second.status_code == 400, "a wrapping token opens once"
    role_id = vault.get(f"{role}/role-id")["role_id"]
    assert who.login(role_id, secret_id).ok
    stolen = Identity(server, "127.0.0.99").login(role_id, secret_id)
    assert stolen.status_code in (400, 403), "only from its own address"
    return who


READS = {
    "app1": [
        "signalbox/data/apps/agent-api/secrets",
        "signalbox/data/apps/agent-api/cache/blue",
        "signalbox/data/apps/agent-api/cache/green",
        "signalbox/data/apps/plain/secrets",
    ],
    "edge1": ["signalbox/data/apps/agent-api/clients", "signalbox/data/apps/agent-api/secrets"],
    "data1": [],
    "mon1": ["sys/metrics", "sys/storage/raft/autopilot/state"],
    "backup1": [],
    "vault1": [],
}
# What nobody but those named may do; each entry is (method, path, body).
FORBIDDEN: list[tuple[str, str, Any]] = [
    *(
        ("GET", f"signalbox/{part}/{path}", None)
        for path in WANTED["secrets"]
        for part in ("data", "metadata", "subkeys")
    ),
    *(("POST", f"signalbox/data/{path}", {"data": {"X": "y"}, "options": {"cas": 99}}) for path in WANTED["secrets"]),
    *(("DELETE", f"signalbox/{part}/{path}", None) for path in WANTED["secrets"] for part in ("data", "metadata")),
    *(("LIST", f"signalbox/metadata/{path}", None) for path in ("", "apps", "platform")),
    *(("GET", f"database/static-creds/{role}", None) for role in WANTED["static_roles"]),
    *(("POST", f"database/rotate-role/{role}", {}) for role in WANTED["static_roles"]),
    ("GET", "database/config/postgresql", None),
    ("LIST", "database/static-roles", None),
    ("GET", "database/static-roles/agent_api_blue", None),
    *(("POST", f"pki/sign/host-{host}", {"csr": "none"}) for host in HOSTS),
    *(("POST", f"pki/issue/host-{host}", {"common_name": host}) for host in HOSTS),
    ("POST", "pki/sign-verbatim", {"csr": "none"}),
    ("POST", "pki/sign-verbatim/host-app1", {"csr": "none"}),
    ("POST", "pki/intermediate/generate/exported", {"common_name": "x"}),
    ("POST", "pki/root/generate/internal", {"common_name": "x"}),
    ("LIST", "pki/roles", None),
    ("GET", "pki/roles/host-app1", None),
    ("POST", "pki/revoke", {"serial_number": "00"}),
    *(("POST", f"auth/approle/role/host-{host}/secret-id", {}) for host in HOSTS),
    *(("GET", f"auth/approle/role/host-{host}/{part}", None) for host in HOSTS for part in ("role-id", "")),
    *(("LIST", f"auth/approle/role/host-{host}/secret-id", None) for host in HOSTS),
    ("LIST", "auth/approle/role", None),
    ("GET", "auth/approle/role/signalbox-provisioner/role-id", None),
    ("POST", "auth/approle/role/signalbox-provisioner/secret-id", {}),
    ("POST", "auth/token/create", {}),
    ("LIST", "auth/token/accessors", None),
    ("LIST", "sys/policies/acl", None),
    ("GET", "sys/policies/acl/signalbox-provisioner", None),
    ("POST", "sys/policies/acl/host-app1", {"policy": 'path "*" { capabilities = ["sudo"] }'}),
    ("GET", "sys/mounts", None),
    ("GET", "sys/auth", None),
    ("POST", "sys/mounts/mine", {"type": "kv"}),
    ("GET", "sys/audit", None),
    ("POST", "sys/audit-hash/file", {"input": "x"}),
    ("GET", "sys/metrics", None),
    ("GET", "sys/storage/raft/autopilot/state", None),
    ("GET", "sys/storage/raft/configuration", None),
    ("GET", "sys/storage/raft/snapshot", None),
    ("POST", "sys/seal", {}),
    ("POST", "sys/rotate", {}),
    ("GET", "sys/raw/core/cluster", None),
    ("POST", "sys/leases/revoke-prefix/auth/approle/login", {}),
    ("POST", "sys/wrapping/wrap", {"x": "y"}),
    ("LIST", "identity/entity/id", None),
    ("GET", "cubbyhole/mine", None),
]
ALLOWED = {
    "app1": {
        *(("GET", path) for path in READS["app1"]),
        *(("GET", f"database/static-creds/{role}") for role in WANTED["static_roles"]),
        ("POST", "pki/sign/host-app1"),
    },
    "edge1": {*(("GET", path) for path in READS["edge1"]), ("POST", "pki/sign/host-edge1")},
    "data1": {("POST", "pki/sign/host-data1")},
    "mon1": {*(("GET", path) for path in READS["mon1"]), ("POST", "pki/sign/host-mon1")},
    "backup1": {("POST", "pki/sign/host-backup1")},
    "vault1": {("POST", "pki/sign/host-vault1")},
}


@pytest.mark.parametrize("host", sorted(READS))
def test_a_host_reads_what_it_needs(server, vault, host):
    who = identity(server, vault, host)
    for path in READS[host]:
        assert who.ask("GET", path).status_code == 200, path
    assert who.ask("GET", "auth/token/lookup-self").json()["data"]["policies"] == [paths.host_role(host)]


@pytest.mark.parametrize("host", sorted(READS))
def test_a_host_can_do_nothing_else(server, vault, host):
    who = identity(server, vault, host)
    tried = {(method, path): who.ask(method, path, body).status_code for method, path, body in FORBIDDEN}
    assert {what for what, status in tried.items() if status != 403} == ALLOWED[host]


def test_the_provisioner_reads_no_database_password_and_gets_no_secret_id_in_clear(server, vault):
    sealed = json.loads(credential(server))
    who = Identity(server)
    who.login(sealed["role_id"], sealed["secret_id"])
    refused = [
        ("GET", "database/static-creds/agent_api_blue", None),
        ("POST", "auth/approle/role/host-app1/secret-id", {}),
        ("POST", "auth/approle/role/host-app1/custom-secret-id", {"secret_id": "guessed"}),
        ("POST", "auth/token/create", {}),
        ("GET", "sys/storage/raft/snapshot", None),
        ("POST", "pki/intermediate/generate/exported", {"common_name": "x"}),
        ("POST", "pki/root/generate/exported", {"common_name": "x"}),
        ("POST", "sys/mounts/mine", {"type": "kv"}),
        ("DELETE", "sys/mounts/signalbox", None),
        ("GET", "sys/raw/core/cluster", None),
    ]
    assert {path: who.ask(method, path, body).status_code for method, path, body in refused} == {
        path: 403 for _method, path, _body in refused
    }
    too_long = who.ask("POST", "auth/approle/role/host-app1/secret-id", {}, X_Vault_Wrap_TTL="3600")
    assert too_long.status_code == 403


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (policies.SNAPSHOT_POLICY, ("GET", "sys/storage/raft/snapshot")),
        (policies.HEALTH_POLICY, ("GET", "sys/metrics")),
    ],
    ids=["snapshot", "health"],
)
def test_an_identity_of_one_purpose_does_that_alone(server, text, may):
    root = server.client()
    root.sys.create_or_update_policy("one-purpose", text)
    token = root.auth.token.create(policies=["one-purpose"], no_default_policy=True)["auth"]["client_token"]
    who = Identity(server, token=token)
    assert who.ask(*may).status_code == 200
    also = {("GET", "sys/metrics"), ("GET", "sys/storage/raft/autopilot/state"), ("GET", "sys/storage/raft/snapshot")}
    others = [(method, path, body) for method, path, body in FORBIDDEN if (method, path) not in also]
    assert {path for method, path, body in others if who.ask(method, path, body).status_code != 403} == set()


def test_the_provisioner_s_token_ends_with_the_work(server):
    with provisioner(server) as vault:
        token = vault._client.token
    assert Identity(server, token=token).ask("GET", "auth/token/lookup-self").status_code == 403


def test_no_value_is_in_the_plan_or_the_audit_log(server, vault):
    value = catalogue.read_values(vault, "platform/redis")["monitor"]
    assert value not in server.audit_file.read_text()
    assert value not in repr(catalogue.read(vault, WANTED))
