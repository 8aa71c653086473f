"""Keys of clients and Vault's own keys on a real server: each step, its repetition, and what is refused afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_vault_layout import ADDRESSES, CLIENTS, GROUPS, bring_about, identity
from vault_provisioner import Identity, provisioner
from vault_server import running

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_catalogue as catalogue
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_own_keys as own
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._client_keys import ClientKeyError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_layout import layout
from ansible_collections.signalbox.platform.plugins.modules.vault_client_keys import carry_out

RECORD = paths.app_clients("agent-api")


@pytest.fixture
def server(tmp_path):
    with running(tmp_path / "vault") as server, provisioner(server) as vault:
        bring_about(vault, layout(CLIENTS, GROUPS, ADDRESSES))
        yield server


@pytest.fixture
def vault(server):
    with provisioner(server) as vault:
        yield vault


def step(vault, operation, check=False, **options):
    params = {"app": "agent-api", "secret": "API_KEY", "overlap_seconds": 3600, "revoked": "current", **options}
    return carry_out(vault, {**params, "operation": operation}, check)


def keys(vault):
    return catalogue.read_values(vault, RECORD)


def test_the_first_keys_accept_what_clients_used_so_far(vault):
    generated = keys(vault)
    assert set(generated) == {"current"}
    own_key = catalogue.read_values(vault, "apps/agent-api/secrets")["API_KEY"]
    assert step(vault, "begin", check=True)["changed"]
    assert keys(vault) == generated
    assert step(vault, "begin") | {"previous_expires": ""} == {
        "changed": True,
        "phase": "overlap",
        "previous_expires": "",
    }
    begun = keys(vault)
    assert (begun["current"], begun["previous"]) == (generated["current"], own_key)
    assert not step(vault, "begin")["changed"]
    assert keys(vault) == begun
    assert bring_about(vault, layout(CLIENTS, GROUPS, ADDRESSES)) == [], "the layout keeps the record"


def test_a_rotation_and_each_step_twice(vault):
    step(vault, "begin")
    assert not step(vault, "stage")["changed"], "while a former key is accepted no further one is made"
    step(vault, "revoke", revoked="previous")
    first = keys(vault)["current"]
    assert step(vault, "stage")["phase"] == "publish"
    staged = keys(vault)
    assert not step(vault, "stage")["changed"], "a killed run's key is used"
    assert step(vault, "publish")["phase"] == "overlap"
    assert (keys(vault)["current"], keys(vault)["previous"]) == (staged["next"], first)
    assert not step(vault, "publish")["changed"]


def test_a_former_key_ends_with_its_time(vault):
    step(vault, "begin", overlap_seconds=0)
    assert step(vault, "stage")["phase"] == "publish"
    assert keys(vault)["previous"] == ""


def test_a_leaked_key_is_replaced_at_once(vault):
    step(vault, "begin")
    before = keys(vault)
    step(vault, "revoke")
    assert keys(vault)["current"] not in before.values()
    assert keys(vault)["previous"] == before["previous"], "the other one stays"
    step(vault, "revoke", revoked="previous")
    assert keys(vault)["previous"] == ""
    assert not step(vault, "revoke", revoked="previous")["changed"]


def test_the_apps_own_key_and_all_of_them_are_taken_from_clients(vault):
    step(vault, "begin")
    before = keys(vault)
    step(vault, "revoke", revoked="own")
    assert (keys(vault)["current"], keys(vault)["previous"]) == (before["current"], "")
    assert not step(vault, "revoke", revoked="own")["changed"]
    step(vault, "stage")
    staged = keys(vault)
    step(vault, "revoke", revoked="all")
    assert not set(filter(None, keys(vault).values())) & set(staged.values())
    assert step(vault, "begin")["changed"] is False, "nothing that was refused comes back"


def test_the_first_keys_before_there_is_a_record(server, vault):
    server.client().secrets.kv.v2.delete_metadata_and_all_versions(RECORD, mount_point="signalbox")
    assert step(vault, "begin", check=True)["changed"]


def test_an_own_key_that_no_client_may_have_is_refused_with_the_remedy(server, vault):
    kv = server.client().secrets.kv.v2
    kv.patch("apps/agent-api/secrets", {"API_KEY": "short"}, mount_point="signalbox")
    with pytest.raises(ClientKeyError, match=r"API_KEY so far.*Remedy"):
        step(vault, "begin")


def test_an_app_without_keys_is_refused_with_the_remedy(vault):
    with pytest.raises(ClientKeyError, match=r"site\.yml"):
        step(vault, "stage", app="plain")


def test_an_edge_reads_the_keys_and_an_app_host_does_not(server, vault):
    step(vault, "begin")
    path = f"signalbox/data/{RECORD}"
    assert identity(server, vault, "edge1").ask("GET", path).ok
    assert identity(server, vault, "app1").ask("GET", path).status_code == 403


def test_vaults_own_keys(vault):
    term = own.rotate_ring(vault)
    assert own.rotate_ring(vault) == term + 1


def test_the_provisioner_gets_a_new_secret_id_and_the_old_ones_end(server, vault):
    kept, proven = [], []

    def prove(role_id, secret_id):
        assert not kept, "proven before it is kept"
        proven.append(Identity(server).login(role_id, secret_id).ok)

    earlier = own.renew_provisioner(vault, prove, kept.append)
    assert proven == [True]
    assert earlier >= 1
    again = own.renew_provisioner(vault, lambda *_given: None, kept.append)
    assert again == 1
    assert Identity(server).login(**kept[1]).ok
    assert Identity(server).login(**kept[0]).status_code == 400


def test_a_provisioner_killed_before_it_kept_its_credential_keeps_the_one_it_had(server, vault):
    kept = []
    own.renew_provisioner(vault, lambda *_given: None, kept.append)

    def killed(_credential):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.renew_provisioner(vault, lambda *_given: None, killed)
    assert Identity(server).login(**kept[0]).ok
    assert own.renew_provisioner(vault, lambda *_given: None, kept.append) == 2
