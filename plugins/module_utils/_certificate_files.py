# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The I/O of certificates: keys and certificates of a host. No Ansible; needs cryptography."""

from __future__ import annotations

import contextlib
import grp
import ipaddress
import os
import pwd
import tempfile
import traceback
from datetime import datetime, timezone
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._certificate import (
    CertificateError,
    Held,
    Request,
    uncovered,
)

# The module tells of a missing library before it uses anything here.
LIBRARY_ERROR = ""
PEM: Any = None
try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    PEM = serialization.Encoding.PEM
except ImportError:
    LIBRARY_ERROR = traceback.format_exc()


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return b""


def owner_ids(owner: str, group: str) -> tuple[int, int]:
    try:
        return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError:
        raise CertificateError(f"no user {owner} or group {group} on the host; install what brings it first") from None


def write(path: str, data: bytes, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
    """Atomic, with owner and mode before the name: nobody ever reads half of it or more than they may."""
    number, temporary = tempfile.mkstemp(prefix=".signalbox-", dir=os.path.dirname(path))
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if os.geteuid() == 0:
            os.chown(temporary, *owner)
        os.chmod(temporary, mode)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def settle(path: str, mode: int, owner: tuple[int, int] = (0, 0), check: bool = False) -> bool:
    """Owner and mode of a file that is there; True when they were not as wanted."""
    info = os.stat(path)
    wrong = (os.geteuid() == 0 and (info.st_uid, info.st_gid) != owner) or info.st_mode & 0o7777 != mode
    if wrong and not check:
        if os.geteuid() == 0:
            os.chown(path, *owner)
        os.chmod(path, mode)
    return wrong


def alternative_names(holder: x509.Certificate | x509.CertificateSigningRequest) -> frozenset[str]:
    try:
        names = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    found = [f"DNS:{name}" for name in names.get_values_for_type(x509.DNSName)]
    found += [f"IP:{ip}" for ip in names.get_values_for_type(x509.IPAddress)]
    surplus = len(names) - len(found)
    return frozenset(found + ["other"] * bool(surplus))


def public_bytes(key: Any) -> bytes:
    data: bytes = key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


def signed_by(certificate: x509.Certificate, authority: x509.Certificate | None) -> bool:
    if authority is None:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def chained(certificates: list[x509.Certificate], authority: x509.Certificate | None) -> bool:
    """Whether the first is the authority's, by way of the others that come with it."""
    for number, certificate in enumerate(certificates):
        if signed_by(certificate, authority):
            return True
        if number + 1 == len(certificates) or not signed_by(certificate, certificates[number + 1]):
            return False
    return False


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def load_key(data: bytes, where: str) -> Any:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        raise CertificateError(f"{where} is no private key in PEM without a password") from None


def load_certificates(data: bytes, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CertificateError(f"{where} is no certificate in PEM") from None


def check_given(request: Request, now: datetime) -> None:
    """Refuses a pair of the operator's that clients would."""
    certificate = load_certificates(request.certificate.encode(), request.name)[0]
    key = load_key(request.private_key.encode(), f"{request.name}: private_key")
    if public_bytes(key.public_key()) != public_bytes(certificate.public_key()):
        raise CertificateError(f"{request.name}: certificate and private_key do not belong together")
    if certificate.not_valid_after_utc <= now:
        raise CertificateError(f"{request.name}: the certificate ended on {certificate.not_valid_after_utc}")
    absent = uncovered(request, alternative_names(certificate))
    if absent:
        raise CertificateError(f"{request.name}: the certificate does not name {', '.join(absent)}")


class Store:
    """The directory with a host's certificates: <name>.crt, <name>.key and ca.crt."""

    def __init__(self, directory: str, check: bool) -> None:
        self.directory, self.check = directory, check
        self.authority_path = os.path.join(directory, "ca.crt")

    def prepare(self) -> None:
        if not self.check:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)

    def paths(self, request: Request) -> tuple[str, str]:
        base = os.path.join(self.directory, request.name)
        return base + ".crt", base + ".key"

    def authority(self) -> x509.Certificate | None:
        with contextlib.suppress(CertificateError):
            return load_certificates(read(self.authority_path), self.authority_path)[0]
        return None

    def held(self, request: Request) -> Held | None:
        certificate_path, key_path = self.paths(request)
        try:
            chain = load_certificates(read(certificate_path), certificate_path)
            key = load_key(read(key_path), key_path)
        except CertificateError:
            return None
        certificate = chain[0]
        return Held(
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            alternative_names(certificate),
            public_bytes(key.public_key()) == public_bytes(certificate.public_key()),
            chained(chain, self.authority()),
        )

    def has_key(self, request: Request) -> bool:
        path = self.paths(request)[1]
        with contextlib.suppress(CertificateError):
            return bool(load_key(read(path), path))
        return False

    def key(self, request: Request) -> Any:
        """The host's own key, made when there is none or it cannot be read; it never leaves the host."""
        path = self.paths(request)[1]
        with contextlib.suppress(CertificateError):
            return load_key(read(path), path)
        key = new_key()
        write(path, key_bytes(key), request.key_mode, owner_ids(request.owner, request.group))
        return key

    def signing_request(self, request: Request) -> str:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in request.dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in request.addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key(request), hashes.SHA256()).public_bytes(PEM).decode()

    def settle(self, request: Request) -> bool:
        """Owner and mode of a pair that is there."""
        certificate_path, key_path = self.paths(request)
        wrong = False
        if os.path.exists(key_path):
            wrong = settle(key_path, request.key_mode, owner_ids(request.owner, request.group), self.check)
        if os.path.exists(certificate_path):
            wrong = settle(certificate_path, 0o644, check=self.check) or wrong
        return wrong

    def install(self, request: Request, chain: str) -> bool:
        """The certificate for the host's own key; True when it is another than before."""
        path, key_path = self.paths(request)
        certificate = load_certificates(chain.encode(), request.name)[0]
        key = load_key(read(key_path), key_path)
        if public_bytes(key.public_key()) != public_bytes(certificate.public_key()):
            raise CertificateError(f"{request.name}: the certificate that was signed does not belong to the host's key")
        if read(path) == chain.encode():
            return False
        write(path, chain.encode(), 0o644)
        return True

    def install_authority(self, pem: str) -> bool:
        if read(self.authority_path) == pem.encode():
            return settle(self.authority_path, 0o644, check=self.check)
        write(self.authority_path, pem.encode(), 0o644)
        return True

    def install_given(self, request: Request, now: datetime) -> bool:
        """The operator's own pair, checked before it is written."""
        path, key_path = self.paths(request)
        check_given(request, now)
        pair = [line.strip() + "\n" for line in (request.private_key, request.certificate)]
        same = read(key_path) == pair[0].encode() and read(path) == pair[1].encode()
        if not same and not self.check:
            write(key_path, pair[0].encode(), request.key_mode, owner_ids(request.owner, request.group))
            write(path, pair[1].encode(), 0o644)
        return not same

    def remove(self, request: Request) -> bool:
        """The key goes first: nobody serves a certificate without one."""
        there = [path for path in reversed(self.paths(request)) if os.path.exists(path)]
        for path in there if not self.check else ():
            os.unlink(path)
        return bool(there)


def utc_now() -> datetime:
    return datetime.now(timezone.utc)
