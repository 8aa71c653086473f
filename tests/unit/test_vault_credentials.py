"""Since when every credential is what it is, asked of a real server."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_vault_layout import HOSTS, WANTED, bring_about
from vault_provisioner import provisioner
from vault_server import running

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_ages as ages
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_credentials as credentials
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_enrol as enrol
from ansible_collections.signalbox.platform.plugins.module_utils import _vault_own_keys as own

KINDS = {"database", "cache", "secrets", "clients", "platform", "hosts", "vault", "authority"}


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with running(tmp_path_factory.mktemp("vault")) as server, provisioner(server) as vault:
        bring_about(vault)
        yield vault


def found(vault):
    return {one.name: one for one in credentials.credentials(vault, WANTED)}


def test_every_credential_is_told(vault):
    own.rotate_ring(vault)
    enrol.issue(vault, "app1", False)
    told = found(vault)
    assert {one.kind for one in told.values()} == KINDS
    now = datetime.datetime.now(datetime.timezone.utc)
    for name in ("identity app1", "identity of the provisioner", "key ring of Vault", "apps/agent-api/secrets"):
        assert ages.age_days(told[name].since, now) == 0, name
    assert {f"identity {host}" for host in HOSTS} <= set(told)
    assert told["identity edge1"].since == "", "it has none yet"


def test_of_several_secret_ids_the_newest_counts(vault):
    enrol.issue(vault, "app1", False)
    before = found(vault)["identity app1"].since
    enrol.issue(vault, "app1", False)
    assert found(vault)["identity app1"].since > before


def test_a_secret_id_that_ends_while_all_are_read_is_left_out(vault, monkeypatch):
    enrol.issue(vault, "app1", False)
    enrol.issue(vault, "app1", False)
    listed = vault.list

    def list_and_end_one(path):
        accessors = listed(path)
        vault.post(f"{path.rstrip('/')}-accessor/destroy", {"secret_id_accessor": accessors[0]})
        return accessors

    monkeypatch.setattr(vault, "list", list_and_end_one)
    role = "auth/approle/role/host-app1"
    before = listed(f"{role}/secret-id/")
    assert set(vault.secret_ids(role)) == set(before[1:])


def test_certificates_as_hosts_tell_of_them():
    times = {"not_before": "2026-09-01T00:00:00+00:00", "not_after": "2026-11-30T00:00:00+00:00"}
    told = [
        {"name": "edge1 api", "given": True, **times},
        {"name": "data1 redis", "given": False, **times},
        {"name": "gone"},
    ]
    assert [(one.name, one.kind, one.until[:10]) for one in credentials.of_hosts(told)] == [
        ("certificate edge1 api", "given_certificates", "2026-11-30"),
        ("certificate data1 redis", "certificates", "2026-11-30"),
        ("certificate gone", "certificates", ""),
    ]
