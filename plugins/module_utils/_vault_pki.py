# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Vault as an authority between the platform's own and its hosts: its certificate, and what it signs for a host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_paths as paths
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import (
    CertificateError,
    Request,
    check_names,
)
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_files import (
    PEM,
    alternative_names,
    load_certificates,
    read,
    signed_by,
)
from ansible_collections.signalbox.platform.plugins.module_utils._vault_answers import Refusal, VaultError
from ansible_collections.signalbox.platform.plugins.module_utils._vault_server import Vault

with contextlib.suppress(ImportError):  # _certificate_files remembers the error for the module
    from cryptography import x509

MOUNT = paths.PKI_MOUNT
# The name of its signing request, as operation sign_intermediate of module certificate takes it.
NAME = "vault-pki"


def authority(path: str) -> Any:
    """The platform's authority, as this host has it."""
    return load_certificates(read(path), path)[0]


def reason_for_another(vault: Vault, root: Any, now: datetime, fraction: float) -> str | None:
    """Why Vault needs another certificate as an authority; None when the one that it has will do."""
    default = (vault.get(f"{MOUNT}/config/issuers") or {}).get("default")
    issuer = vault.get(f"{MOUNT}/issuer/{default}") if default else None
    if issuer is None or not issuer.get("key_id"):
        return "there is none"
    certificate = load_certificates(str(issuer["certificate"]).encode(), "Vault's certificate as an authority")[0]
    if not signed_by(certificate, root):
        return "the authority changed"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left = certificate.not_valid_after_utc - now
    return f"{max(left.days, 0)} of {life.days} days are left" if left < life * fraction else None


def signing_request(vault: Vault, common_name: str) -> str:
    """A new key inside Vault, which never leaves it, and the request for its certificate."""
    body = {"common_name": common_name, "key_type": "ec", "key_bits": 256}
    return str(vault.post(f"{MOUNT}/intermediate/generate/internal", body)["csr"])


def set_certificate(vault: Vault, chain: str) -> bool:
    """Import what was signed, sign with it from now on, and drop keys of requests that came to nothing.

    Certificates that an earlier one signed stay valid: it remains as an issuer.
    """
    answer = vault.post(f"{MOUNT}/intermediate/set-signed", {"certificate": chain})
    keys = {issuer: key for issuer, key in (answer.get("mapping") or {}).items() if key}
    if answer.get("imported_issuers") and not keys:
        raise VaultError(
            "The certificate is not for a key that Vault made. Remedy: sign the request of this run "
            "(operation request), and none of an earlier one."
        )
    default = (vault.get(f"{MOUNT}/config/issuers") or {}).get("default")
    changed = bool(answer.get("imported_issuers"))
    for issuer in keys:
        if issuer != default:
            vault.post(f"{MOUNT}/config/issuers", {"default": issuer})
            changed = True
    _drop_unused_keys(vault)
    return changed


def _drop_unused_keys(vault: Vault) -> None:
    issuers = [vault.get(f"{MOUNT}/issuer/{issuer}") or {} for issuer in vault.list(f"{MOUNT}/issuers")]
    used = {str(issuer.get("key_id")) for issuer in issuers}
    for key in vault.list(f"{MOUNT}/keys"):
        if key not in used:
            vault.delete(f"{MOUNT}/key/{key}")


def sign(
    vault: Vault, host: str, requests: Iterable[Request], pems: Mapping[str, str], root: Any, seconds: int
) -> dict[str, str]:
    """Name to certificate with its chain, the platform's authority last."""
    signed = {}
    for request in requests:
        pem = pems[request.name]
        try:
            csr = x509.load_pem_x509_csr(pem.encode())
        except ValueError:
            raise CertificateError(f"{request.name}: no signing request in PEM") from None
        check_names(request.name, request.names, alternative_names(csr))
        signed[request.name] = _sign(vault, host, request.name, pem, root, seconds)
    return signed


def _sign(vault: Vault, host: str, name: str, pem: str, root: Any, seconds: int) -> str:
    try:
        answer = vault.post(f"{MOUNT}/sign/{paths.host_role(host)}", {"csr": pem, "ttl": seconds})
    except Refusal as error:
        if error.status == 400:
            raise VaultError(
                f"{name}: Vault does not sign this for {host}: {'; '.join(error.errors)}. "
                "Remedy: run the playbook that lays Vault out after host names, domains or addresses changed."
            ) from None
        raise
    between = [load_certificates(text.encode(), name)[0] for text in answer["ca_chain"]]
    chain = [certificate for certificate in between if certificate.subject != certificate.issuer]
    own = load_certificates(str(answer["certificate"]).encode(), name)[0]
    return "".join(c.public_bytes(PEM).decode() for c in [own, *chain, root])
