# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform's own certificate authority. No Ansible; needs cryptography."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._certificate import (
    CertificateError,
    Request,
    check_names,
)
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_files import (
    PEM,
    alternative_names,
    key_bytes,
    load_certificates,
    load_key,
    new_key,
    public_bytes,
    read,
    write,
)

with contextlib.suppress(ImportError):  # _certificate_files remembers the error for the module
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = timedelta(minutes=5)


class Authority:
    """The platform's own certificate authority, on one host."""

    def __init__(self, directory: str, common_name: str, validity_days: int) -> None:
        self.directory, self.common_name, self.validity_days = directory, common_name, validity_days
        self.created = False

    @contextlib.contextmanager
    def opened(self, now: datetime) -> Iterator[None]:
        """One signer at a time: several hosts ask at once, and the first one makes the authority."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        os.chmod(self.directory, 0o700)
        number = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            self._load(now)
            yield
        finally:
            os.close(number)

    def _load(self, now: datetime) -> None:
        key_path, path = os.path.join(self.directory, "ca.key"), os.path.join(self.directory, "ca.crt")
        if not os.path.exists(key_path):
            key = new_key()
            write(path, self._self_signed(key, now).public_bytes(PEM), 0o644)
            write(key_path, key_bytes(key), 0o600)  # last: without the key the next run starts over
            self.created = True
        self.key = load_key(read(key_path), key_path)
        self.certificate = load_certificates(read(path), path)[0]
        if public_bytes(self.key.public_key()) != public_bytes(self.certificate.public_key()):
            raise CertificateError(f"{path} does not belong to ca.key; restore both from a backup")
        if self.certificate.not_valid_after_utc <= now:
            raise CertificateError(f"{path} has ended; move {self.directory} away to start a new authority")
        if not self._may_have_an_intermediate():
            # Made before Vault could be one: the same key and name, so what it signed stays valid.
            self.certificate = self._self_signed(self.key, now, self.certificate.subject)
            write(path, self.certificate.public_bytes(PEM), 0o644)
            self.created = True

    def _may_have_an_intermediate(self) -> bool:
        constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        return constraints.path_length is None or constraints.path_length > 0

    def _self_signed(self, key: Any, now: datetime, subject: x509.Name | None = None) -> x509.Certificate:
        name = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        builder = _builder(name, name, key.public_key(), now, now + timedelta(days=self.validity_days))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        return builder.sign(key, hashes.SHA256())

    def sign(self, request: Request, pem: str, host: str, days: int, now: datetime) -> str:
        csr = _signing_request(request.name, pem)
        check_names(request.name, request.names, alternative_names(csr))
        builder = self._issued(csr, days, now)
        builder = builder.add_extension(
            csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False).sign(
            self.key, hashes.SHA256()
        )
        self._record(certificate, request.name, sorted(request.names), host)
        return certificate.public_bytes(PEM).decode() + self.pem

    def sign_intermediate(self, name: str, pem: str, host: str, days: int, now: datetime) -> str:
        """An authority that signs hosts' certificates, and no further authority."""
        csr = _signing_request(name, pem)
        builder = self._issued(csr, days, now)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.add_extension(_usage(signs_certificates=True), critical=True).sign(
            self.key, hashes.SHA256()
        )
        self._record(certificate, name, [], host)
        return certificate.public_bytes(PEM).decode() + self.pem

    def _issued(self, csr: x509.CertificateSigningRequest, days: int, now: datetime) -> x509.CertificateBuilder:
        end = min(now + timedelta(days=days), self.certificate.not_valid_after_utc)
        builder = _builder(csr.subject, self.certificate.subject, csr.public_key(), now, end)
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(authority_id, critical=False)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(PEM).decode()

    def _record(self, certificate: x509.Certificate, name: str, names: list[str], host: str) -> None:
        line = {
            "serial": f"{certificate.serial_number:x}",
            "host": host,
            "name": name,
            "names": names,
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
        with open(os.path.join(self.directory, "issued.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")


def _signing_request(name: str, pem: str) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
    except ValueError:
        raise CertificateError(f"{name}: no signing request in PEM") from None
    if not csr.is_signature_valid:
        raise CertificateError(f"{name}: the signing request's signature is not valid")
    return csr


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, end: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
