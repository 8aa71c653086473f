"""A host that fetches its own secrets: what it shows, and what it does when Vault, its copy or its identity is gone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import testinfra
import yaml

testinfra_hosts = ["ansible://client-app1"]

SCENARIO = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "molecule/vault_client"
VALUES = yaml.safe_load((SCENARIO / "vars/main.yml").read_text())["scenario_values"]
CACHE_URL = f"rediss://demo:{quote(VALUES['password'], safe='')}@10.0.0.9:6379/0"
# In clear, and as it stands in a URL.
CANARIES = (VALUES["API_KEY"], VALUES["password"], quote(VALUES["password"], safe=""))
PROGRAM = "/usr/local/libexec/signalbox/host-vault"
STATE = "/var/lib/signalbox/apps/demo/blue"
ENVIRONMENT = "/run/signalbox/apps/demo/blue.env"


def ansible(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    command += [str(SCENARIO / playbook), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def play(*arguments: str, playbook: str = "life.yml") -> str:
    result = ansible(playbook, *arguments)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


def changed(output: str) -> int:
    found = re.search(r"client-app1 +: .*changed=(\d+)", output)
    assert found, output
    return int(found.group(1))


@pytest.fixture(scope="module")
def server():
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    return testinfra.get_host("ansible://client-vault?force_ansible=false", ansible_inventory=inventory)


@pytest.fixture
def stopped(server):
    """Vault is down for the test."""
    server.check_output("systemctl stop bao.service")
    yield
    start(server)


def start(server) -> None:
    server.check_output("systemctl start bao.service")
    for _attempt in range(100):
        if '"sealed":false' in server.run("curl -sk https://127.0.0.1:8200/v1/sys/health").stdout:
            return
        time.sleep(0.3)
    pytest.fail("the server does not come up")


def ask(server, method: str, path: str, body: object = None, wrap: str = "", token: str = "$(cat /root/token)"):
    header = f"-H 'X-Vault-Wrap-TTL: {wrap}'" if wrap else ""
    data = f"-d '{json.dumps(body or {})}'" if method == "POST" else ""
    command = f'curl -sk -X {method} -H "X-Vault-Token: {token}" {header} {data} https://127.0.0.1:8200/v1/{path}'
    said = server.check_output(command)
    return json.loads(said) if said else {}


def address(host) -> str:
    return host.check_output("hostname --ip-address").split()[0]


def served(host, seconds: float = 0) -> str:
    """What the slot answers; empty when it does not within the time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = host.run(f"curl -s -m 2 http://{address(host)}:54000/health")
        if answer.stdout or time.monotonic() > deadline:
            return answer.stdout.split(" ")[0]
        time.sleep(0.5)


WANTED = hashlib.sha256(f"{VALUES['API_KEY']} {CACHE_URL}".encode()).hexdigest()


def reboot(host) -> None:
    subprocess.run(["docker", "restart", "--time", "20", "client-app1"], check=True, capture_output=True)
    for _attempt in range(120):
        if host.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"):
            return
        time.sleep(0.5)
    pytest.fail("the host does not come up")


def journal(host, unit: str) -> str:
    return host.check_output(f"journalctl --quiet --no-pager --boot --output cat --unit {unit}")


def failed_units(host) -> str:
    return host.run("systemctl --failed --no-legend --plain").stdout


def test_the_slot_runs_with_what_vault_holds_and_nothing_shows_it(host):
    output = play("-vvv", "--diff")
    assert served(host, 20) == WANTED
    again = play("-vvv", "--diff")
    assert changed(again) == 0
    assert not [canary for canary in CANARIES if canary in output + again]


def test_no_value_is_on_a_disk_in_the_engine_or_in_a_process_list(host, server):
    places = "/var/lib /etc /var/log /var/tmp /var/cache /root /home /tmp /usr/local /opt /srv"
    for canary in CANARIES:
        assert host.run(f"grep -rlF --exclude-dir=overlay2 -- '{canary}' {places}").stdout == ""
        assert host.run(f"grep -rlF -- '{canary}' /var/lib/docker/overlay2").stdout == ""
        assert canary not in host.check_output("docker inspect demo-blue")
        assert host.run(f"journalctl --quiet --no-pager | grep -cF -- '{canary}'").stdout.strip() == "0"
        assert canary not in host.check_output("ps axww -o args")
        assert server.run(f"grep -cF -- '{canary}' /var/log/bao-audit.log").stdout.strip() == "0"
    assert CANARIES[0] in host.file(ENVIRONMENT).content_string  # the search would find it
    assert host.check_output(f"stat --file-system --format %T {ENVIRONMENT}") == "tmpfs"


def test_others_than_root_read_nothing(host):
    for path in (ENVIRONMENT, f"{STATE}/environment.sealed", f"{STATE}/environment.sources"):
        assert host.run(f"runuser -u nobody -- cat {path}").rc != 0
    assert host.run("runuser -u nobody -- ls /etc/credstore.encrypted").rc != 0
    assert host.run(f"echo '{{}}' | runuser -u nobody -- {PROGRAM} fetch").rc != 0
    sources = host.file(f"{STATE}/environment.sources")
    assert (sources.mode, json.loads(sources.content_string)["keep_seconds"]) == (0o400, 604800)


def test_a_command_gets_its_secrets_and_its_output_is_struck_out(host):
    output = play("-e", "run=true", "-vv")
    assert f'"stdout": "{len(CACHE_URL)}\\nit is ********' in output
    failing = ansible("life.yml", "-e", "run=true", "-e", "run_exit=4", "-vv")
    assert failing.returncode != 0
    assert "it is ********" in failing.stdout
    assert not [canary for canary in (*CANARIES, VALUES["RUN_KEY"]) if canary in output + failing.stdout]
    assert host.run("ls /run/signalbox/apps/demo").stdout.split() == ["blue.env"]


def issue(server) -> dict[str, str]:
    path = "auth/approle/role/host-client-app1"
    role_id = ask(server, "GET", f"{path}/role-id")["data"]["role_id"]
    wrapped = ask(server, "POST", f"{path}/secret-id", wrap="120s")["wrap_info"]["token"]
    return {"role_id": role_id, "wrapping_token": wrapped, "creation_path": f"{path}/secret-id"}


def test_a_stolen_secret_id_is_an_alarm(host, server):
    given = issue(server)
    assert ask(server, "POST", "sys/wrapping/unwrap", token=given["wrapping_token"])["data"]["secret_id"]
    said = host.run(f"echo '{json.dumps(given)}' | {PROGRAM} enrol")
    assert said.rc == 17
    assert "ALARM" in said.stderr
    assert "Destroy every secret id" in said.stderr
    assert ask(server, "POST", "sys/wrapping/unwrap", token=given["wrapping_token"])["errors"]
    assert host.run(f"{PROGRAM} check").rc == 0  # what the host had is kept


def test_vault_is_down_and_a_running_app_does_not_mind(host, stopped):
    before = host.check_output("docker inspect --format '{{.Id}}' demo-blue")
    assert served(host) == WANTED
    host.check_output("docker restart --time 1 demo-blue")
    assert served(host, 20) == WANTED
    assert host.run(f"{PROGRAM} check").rc == 11
    for arguments in ((), ("-e", "prove=false")):  # at preflight, and at the slot itself
        refused = ansible("life.yml", *arguments)
        assert refused.returncode != 0
        assert "does not answer" in refused.stdout
        assert "Remedy: start its service" in refused.stdout
    assert host.check_output("docker inspect --format '{{.Id}}' demo-blue") == before


def test_vault_is_down_and_a_warm_slot_is_taken_as_it_is(host, stopped):
    host.check_output("docker stop --time 1 demo-blue")
    play("-e", "prove=false", "-e", "reuse=true")
    assert served(host, 20) == WANTED


def test_vault_is_down_and_a_reboot_brings_the_slot_back(host, stopped):
    reboot(host)
    assert served(host, 30) == WANTED
    assert failed_units(host) == ""


def test_a_sealed_server_is_called_sealed(host, server):
    ask(server, "POST", "sys/seal")
    said = host.run(f"{PROGRAM} check")
    server.check_output("systemctl restart bao.service")
    start(server)
    assert (said.rc, "is sealed" in said.stderr) == (12, True)


def test_a_refresh_renews_the_copy_and_changes_no_value(host, server):
    before = host.file(f"{STATE}/environment.sealed").mtime
    running = host.file(ENVIRONMENT).content_string
    kept = {"API_KEY": VALUES["API_KEY"], "RUN_KEY": VALUES["RUN_KEY"]}
    ask(server, "POST", "signalbox/data/apps/demo/secrets", {"data": {**kept, "API_KEY": "canary-another"}})
    time.sleep(1)
    host.check_output("systemctl start signalbox-vault-refresh.service")
    ask(server, "POST", "signalbox/data/apps/demo/secrets", {"data": kept})
    assert host.file(f"{STATE}/environment.sealed").mtime > before
    assert host.file(ENVIRONMENT).content_string == running
    assert "which a release brings: API_KEY" in journal(host, "signalbox-vault-refresh.service")
    assert "canary" not in journal(host, "signalbox-vault-refresh.service")


def test_the_copy_is_too_old_and_vault_gives_another(host):
    play("-e", "keep_seconds=3")
    time.sleep(4)
    reboot(host)
    assert served(host, 30) == WANTED
    assert "demo-blue: its environment comes from Vault" in journal(host, "signalbox-environment.service")
    assert failed_units(host) == ""


def test_the_copy_is_too_old_and_vault_is_down(host, server):
    time.sleep(4)
    server.check_output("systemctl stop bao.service")
    try:
        reboot(host)
        assert "signalbox-environment.service" in failed_units(host)
        said = journal(host, "signalbox-environment.service")
        assert "time passed" in said
        assert "does not answer" in said
        assert not host.file(ENVIRONMENT).exists
        assert host.check_output("docker inspect --format '{{.State.Running}}' demo-blue") == "false"
        assert served(host) == ""
    finally:
        start(server)
    # Nobody does anything: the next try finds Vault again.
    assert served(host, 100) == WANTED
    assert failed_units(host) == ""
    play()


def test_an_identity_that_was_revoked_fails_loudly_and_renews_nothing(host, server):
    accessors = ask(server, "LIST", "auth/approle/role/host-client-app1/secret-id")["data"]["keys"]
    for accessor in accessors:
        body = {"secret_id_accessor": accessor}
        ask(server, "POST", "auth/approle/role/host-client-app1/secret-id-accessor/destroy", body)
    before = host.file(f"{STATE}/environment.sealed").mtime
    assert host.run("systemctl start signalbox-vault-refresh.service").rc != 0
    assert "signalbox-vault-refresh.service" in failed_units(host)
    assert "refuses this host's identity" in journal(host, "signalbox-vault-refresh.service")
    assert host.file(f"{STATE}/environment.sealed").mtime == before
    assert served(host) == WANTED
    play(playbook="converge.yml")
    host.check_output("systemctl start signalbox-vault-refresh.service")
    assert host.file(f"{STATE}/environment.sealed").mtime > before


def test_an_identity_is_renewed_on_demand_and_the_old_one_destroyed(host, server):
    before = json.loads(host.check_output(f"{PROGRAM} check"))["secret_id_accessor"]
    play("-e", "scenario_renew=true", playbook="converge.yml")
    after = json.loads(host.check_output(f"{PROGRAM} check"))
    assert after["secret_id_accessor"] != before
    assert after["age_seconds"] < 600
    listed = ask(server, "LIST", "auth/approle/role/host-client-app1/secret-id")["data"]["keys"]
    assert listed == [after["secret_id_accessor"]]


def test_a_vault_host_that_issues_nothing_says_why(server):
    credential = "/etc/credstore.encrypted/signalbox-vault-provisioner"
    server.check_output(f"mv {credential} {credential}.aside")
    refused = ansible("converge.yml", "-e", "scenario_renew=true")
    server.check_output(f"mv {credential}.aside {credential}")
    assert refused.returncode != 0
    assert "client-vault issued no identity: /etc/credstore.encrypted/signalbox-vault-provisioner" in refused.stdout


def test_a_certificate_is_renewed_by_vault(host):
    tls = "/etc/signalbox/tls"
    host.check_output(f"chmod 0640 {tls}/probe.key")
    key = host.file(f"{tls}/probe.key").sha256sum
    host.check_output("systemctl start signalbox-vault-certificates.service")
    assert host.file(f"{tls}/probe.key").sha256sum == key  # nothing was due
    host.check_output(f"rm {tls}/probe.crt")
    host.check_output("systemctl start signalbox-vault-certificates.service")
    verify = "openssl verify -x509_strict -purpose sslserver"
    assert host.check_output(f"cd {tls} && {verify} -CAfile ca.crt -untrusted probe.crt probe.crt").endswith("OK")
    assert host.file(f"{tls}/probe.key").sha256sum != key
    assert host.file(f"{tls}/probe.key").mode == 0o640
    assert host.check_output(f"openssl pkey -in {tls}/probe.key -pubout") == host.check_output(
        f"openssl x509 -in {tls}/probe.crt -noout -pubkey"
    )
    assert host.check_output(f"find {tls} -name '.*' -mindepth 1") == ""


def test_timers_wait_for_their_time(host):
    for timer in ("signalbox-vault-refresh", "signalbox-vault-certificates", "signalbox-environment"):
        assert host.service(f"{timer}.timer").is_enabled
        assert host.service(f"{timer}.timer").is_running
