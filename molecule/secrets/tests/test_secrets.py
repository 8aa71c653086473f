"""What Vault may do in PostgreSQL, and what a host's certificate from Vault is worth; after the scenario's life."""

from __future__ import annotations

import sys
from pathlib import Path

import testinfra

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".collections"))

from ansible_collections.signalbox.platform.plugins.module_utils._scram import password_matches

VAULT = testinfra.get_host("docker://secrets-vault")
DATA = testinfra.get_host("docker://secrets-data")
TLS = "/etc/signalbox/tls"


def sql(statement: str) -> str:
    return DATA.check_output("runuser --user=postgres -- psql --no-align --tuples-only --command=%s", statement)


def address(host) -> str:
    return host.check_output("hostname --all-ip-addresses").split()[0]


def test_vault_may_set_passwords_and_nothing_else() -> None:
    powers = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    assert sql(f"SELECT {powers} FROM pg_roles WHERE rolname = 'vault'") == "f|t|f|f|f"
    members = sql(
        "SELECT g.rolname, m.admin_option, m.inherit_option, m.set_option FROM pg_auth_members m "
        "JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'vault' ORDER BY 1"
    )
    assert members.splitlines() == [f"agent_api_{role}|t|f|f" for role in ("blue", "green", "owner")]


def test_as_vault_one_can_be_nobody_and_read_nothing() -> None:
    for statement in (
        "SET ROLE agent_api_owner",
        "SET ROLE agent_api_blue",
        "ALTER ROLE postgres PASSWORD 'mine'",
        "ALTER ROLE vault SUPERUSER",
        "GRANT pg_read_all_data TO vault",
        "CREATE TABLE mine (id int)",
    ):
        result = DATA.run(
            "runuser --user=postgres -- psql --set=ON_ERROR_STOP=1 --command=%s --command=%s",
            "SET SESSION AUTHORIZATION vault",
            statement,
        )
        assert "permission denied" in result.stderr or "must" in result.stderr, (statement, result.stderr)
    assert sql("SELECT has_database_privilege('vault', 'agent_api', 'CONNECT')") == "f"


def test_vault_comes_over_tls_and_from_its_own_address_alone() -> None:
    lines = DATA.file("/etc/postgresql/17/main/pg_hba.conf").content_string.splitlines()
    assert [line for line in lines if " vault " in line] == [
        f"hostssl postgres vault {address(VAULT)}/32 scram-sha-256"
    ]
    connection = f"host={address(DATA)} dbname=postgres user=vault sslmode=require"
    assert "pg_hba.conf rejects" in DATA.run("psql %s --command='SELECT 1'", connection).stderr


def test_vault_holds_one_session_at_most_a_few() -> None:
    assert int(sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'vault'")) <= 4


def test_nobody_knows_vault_s_password_any_more() -> None:
    """The one that went through the play was changed at once."""
    first = VAULT.file("/root/first-password").content_string
    verifier = sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'vault'")
    assert verifier.startswith("SCRAM-SHA-256$")
    assert not password_matches(first, verifier)


def test_a_certificate_from_vault_holds_under_the_platform_s_authority() -> None:
    verify = f"openssl verify -x509_strict -CAfile {TLS}/ca.crt -untrusted {TLS}/internal.crt {TLS}/internal.crt"
    assert DATA.check_output(verify).endswith("OK")
    assert "Signalbox Vault" in DATA.check_output(f"openssl x509 -in {TLS}/internal.crt -noout -issuer")
    assert VAULT.run("test -e /var/lib/signalbox/ca/ca.key").rc == 0


def test_no_password_reached_a_log() -> None:
    first = VAULT.file("/root/first-password").content_string
    for host in (VAULT, DATA):
        assert first not in host.check_output("journalctl --boot --no-pager --output=cat")
    assert first not in VAULT.check_output("cat /var/log/openbao/audit.log")
