"""Lays the scenario's server out: a host with a policy of its own, its secrets, an intermediate of the authority."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import hvac

ADDRESS, HOST = sys.argv[1:]
CA = Path("/etc/signalbox/tls/ca.crt")
AUTHORITY = "/var/lib/signalbox/ca"
POLICY = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "signalbox/data/apps/demo/*" { capabilities = ["read"] }
path "pki/sign/host-%s" { capabilities = ["update"] }
"""
PROVISIONER = 'path "auth/*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }\n' + POLICY
EXTENSIONS = "basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"


def wait(client: hvac.Client) -> None:
    for _attempt in range(60):
        try:
            health = client.sys.read_health_status(method="GET")
            if isinstance(health, dict) or health.status_code == 501:
                return
        except Exception:  # not up yet
            pass
        time.sleep(0.5)
    raise SystemExit("the server does not come up")


def seal(name: str, content: dict[str, str]) -> None:
    path = f"/etc/credstore.encrypted/{name}"
    Path(path).parent.mkdir(mode=0o700, exist_ok=True)
    command = ["systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "-", path]
    subprocess.run(command, input=json.dumps(content).encode(), check=True)


def intermediate(client: hvac.Client) -> None:
    client.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "8760h"})
    made = client.write_data("pki/intermediate/generate/internal", data={"common_name": "Vault", "key_type": "ec"})
    Path("/root/i.csr").write_text(made["data"]["csr"])
    Path("/root/i.ext").write_text(EXTENSIONS)
    command = [
        "openssl",
        "x509",
        "-req",
        "-in",
        "/root/i.csr",
        "-CA",
        f"{AUTHORITY}/ca.crt",
        "-CAkey",
        f"{AUTHORITY}/ca.key",
    ]
    command += [
        "-days",
        "300",
        "-CAcreateserial",
        "-CAserial",
        "/root/i.srl",
        "-extfile",
        "/root/i.ext",
        "-out",
        "/root/i.crt",
    ]
    subprocess.run(command, check=True)
    chain = Path("/root/i.crt").read_text() + CA.read_text()
    client.write_data("pki/intermediate/set-signed", data={"certificate": chain})
    names = {"allowed_domains": HOST, "allow_bare_domains": True, "allow_ip_sans": True, "key_type": "ec", "ttl": "72h"}
    client.write_data(f"pki/roles/host-{HOST}", data=names)


def main() -> None:
    client = hvac.Client(url=ADDRESS, verify=str(CA), timeout=30)
    wait(client)
    made = client.sys.initialize(recovery_shares=1, recovery_threshold=1)
    client.token = made["root_token"]
    Path("/root/token").write_text(made["root_token"])  # the scenario's own, for its faults
    wait(client)
    client.sys.enable_auth_method("approle")
    client.sys.enable_secrets_engine("kv", path="signalbox", options={"version": "2"})
    intermediate(client)
    client.sys.create_or_update_policy(f"host-{HOST}", POLICY % HOST)
    client.sys.create_or_update_policy("signalbox-provisioner", PROVISIONER % HOST)
    for role in (f"host-{HOST}", "signalbox-provisioner"):
        settings = {
            "token_policies": [role],
            "token_no_default_policy": True,
            "token_ttl": "10m",
            "secret_id_ttl": "720h",
        }
        client.write_data(f"auth/approle/role/{role}", data=settings)
    role_id = client.read("auth/approle/role/signalbox-provisioner/role-id")["data"]["role_id"]
    secret_id = client.write_data("auth/approle/role/signalbox-provisioner/secret-id", data={})["data"]["secret_id"]
    seal("signalbox-vault-provisioner", {"role_id": role_id, "secret_id": secret_id})
    values = json.load(sys.stdin)
    kv = client.secrets.kv.v2
    own = {name: values[name] for name in ("API_KEY", "RUN_KEY")}
    kv.create_or_update_secret("apps/demo/secrets", own, mount_point="signalbox")
    kv.create_or_update_secret("apps/demo/cache/blue", {"password": values["password"]}, mount_point="signalbox")
    Path("/root/laid-out").touch()


main()
