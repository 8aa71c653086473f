# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of certificates: what is asked for, when to renew, what may be signed. No I/O, no Ansible, no cryptography."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

RENEW_FRACTION = 1 / 3
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
RESERVED = ("ca",)


class CertificateError(ValueError):
    """A mistake in a request, a certificate or a key; the text says how to mend it and never holds a key."""


@dataclass(frozen=True)
class Request:
    name: str
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    owner: str = "root"
    group: str = "root"
    key_mode: int = 0o600
    reload: tuple[str, ...] = ()
    certificate: str = ""
    private_key: str = field(default="", repr=False)
    placeholder: bool = False  # a first certificate, until something else puts its own in the place

    @property
    def names(self) -> frozenset[str]:
        return frozenset([f"DNS:{name}" for name in self.dns] + [f"IP:{address}" for address in self.addresses])

    @property
    def given(self) -> bool:
        """The operator's own pair instead of one from the authority."""
        return bool(self.certificate)

    @property
    def common_name(self) -> str:
        """For people only: clients compare the alternative names; the field holds 64 characters."""
        return next((name for name in (*self.dns, *self.addresses) if len(name) <= 64), self.name[:64])


@dataclass(frozen=True)
class Held:
    """A certificate that is on the host."""

    not_before: datetime
    not_after: datetime
    names: frozenset[str]
    key_matches: bool
    authority_matches: bool  # signed by the authority whose certificate is on the host


def dns_name(value: object, where: str) -> str:
    text = str(value).lower().rstrip(".")
    labels = text.split(".")
    if labels[0] == "*" and len(labels) > 2:
        labels = labels[1:]
    if len(text) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise CertificateError(f"{where}: {value!r} is not a DNS name")
    return text


def address(value: object, where: str) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise CertificateError(f"{where}: {value!r} is not an IP address") from None


def key_mode(value: object, where: str) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise CertificateError(f'{where}: key_mode {value!r} is not quoted octal text; write it as "0640"')
    mode = int(value, 8)
    if mode & 0o037:
        raise CertificateError(f"{where}: key_mode {value} lets others than owner and group's readers at the key")
    return mode


def parse_request(item: Mapping[str, Any]) -> Request:
    name = str(item.get("name", ""))
    where = f"request {name!r}"
    if not NAME.fullmatch(name) or name in RESERVED:
        raise CertificateError(f"{where}: the name may hold a-z, 0-9, dot, dash and underscore, and must not be 'ca'")
    certificate, private_key = str(item.get("certificate") or ""), str(item.get("private_key") or "")
    if bool(certificate) != bool(private_key):
        raise CertificateError(f"{where}: certificate and private_key belong together; give both or neither")
    request = Request(
        name=name,
        dns=tuple(dict.fromkeys(dns_name(value, where) for value in item.get("dns") or ())),
        addresses=tuple(dict.fromkeys(address(value, where) for value in item.get("addresses") or ())),
        owner=str(item.get("owner") or "root"),
        group=str(item.get("group") or "root"),
        key_mode=key_mode(item.get("key_mode") or "0600", where),
        reload=tuple(str(unit) for unit in item.get("reload") or ()),
        certificate=certificate,
        private_key=private_key,
        placeholder=bool(item.get("placeholder")),
    )
    if not request.names and not request.given:
        raise CertificateError(f"{where}: give at least one name in dns or addresses")
    return request


def parse_requests(items: Iterable[Mapping[str, Any]]) -> list[Request]:
    requests = [parse_request(item) for item in items]
    names = [request.name for request in requests]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CertificateError(f"requested twice: {', '.join(twice)}; each name is one certificate")
    return requests


def reason_to_renew(request: Request, held: Held | None, now: datetime, fraction: float = RENEW_FRACTION) -> str | None:
    """Why a new certificate is needed; None when the one that is held will do."""
    if held is None:
        return "there is none"
    if not held.key_matches:
        return "it does not belong to the key"
    if request.placeholder:
        return None
    if not held.authority_matches:
        return "the authority changed"
    if held.names != request.names:
        return "the names changed"
    left, life = held.not_after - now, held.not_after - held.not_before
    if left < life * fraction:
        return f"{max(left.days, 0)} of {life.days} days are left"
    return None


def check_names(name: str, requested: frozenset[str], found: frozenset[str]) -> None:
    """A signing request must ask for exactly what the play requested: the host does not choose its names."""
    if requested != found:
        surplus = ", ".join(sorted(found - requested)) or "none"
        absent = ", ".join(sorted(requested - found)) or "none"
        raise CertificateError(
            f"{name}: the signing request does not match what was requested (too many: {surplus}; absent: {absent})"
        )


def covers(pattern: str, name: str) -> bool:
    """Whether a name in a certificate serves a wanted one; a wildcard stands for exactly one label."""
    if pattern.startswith("DNS:*.") and name.startswith("DNS:"):
        return pattern[6:] == name[4:].partition(".")[2]
    return pattern == name


def uncovered(request: Request, names: frozenset[str]) -> list[str]:
    return sorted(name for name in request.names if not any(covers(pattern, name) for pattern in names))
