# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Vault's answers mean, and what to do about a refusal. No I/O; no message ever holds what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class VaultError(Exception):
    """Something about Vault that an operator must mend; the text says how."""


class Refusal(VaultError):
    """An answer that is no success."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.status, self.errors = answer.status, answer.errors
        self.data: Mapping[str, Any] = answer.body.get("data") or {}


class Unreachable(VaultError):
    """A request without an answer; C(sent) tells whether the server may have got it."""

    def __init__(self, message: str, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of Vault."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, text: str) -> Answer:
        try:
            body = json.loads(text) if text else {}
        except ValueError:
            body = {}
        return cls(status, body if isinstance(body, dict) else {})

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def errors(self) -> tuple[str, ...]:
        found = self.body.get("errors") or ()
        return tuple(" ".join(str(error).split()) for error in found)

    @property
    def upgrading(self) -> bool:
        """A key-value mount is getting its versions, which takes a moment."""
        return self.status == 400 and any("Upgrading from non-versioned" in error for error in self.errors)

    @property
    def collided(self) -> bool:
        """Another request wrote at the same moment: OpenBao undid this one, and it may be sent again."""
        return self.status == 500 and any("transaction commit failed" in error for error in self.errors)

    @property
    def leaderless(self) -> bool:
        """A node of a cluster that is electing a leader, which takes seconds. It points at the one before, too."""
        return self.status == 307 or (
            self.status == 500 and any("active cluster node not found" in error for error in self.errors)
        )

    @property
    def out_of_service(self) -> bool:
        """What another node may do better: this one is leaderless, sealed, or has not joined yet."""
        return self.leaderless or self.status in (501, 503)


def _login_refused(said: str) -> str:
    if "CIDR" in said:
        return (
            "it refuses this host's address for its credential. Remedy: correct the host's address in the inventory "
            "and run the playbook that lays Vault out on the Vault host"
        )
    return (
        "it does not know this host's credential any more (its secret id ended or was destroyed). "
        "Remedy: enrol the host again; for the Vault host itself run the role vault"
    )


def _meaning(answer: Answer, method: str, path: str) -> str:
    said = "; ".join(answer.errors) or "no reason"
    if answer.status in (400, 403) and path.endswith("/login"):
        return f"{_login_refused(said)} ({said})"
    # A policy that lacks a path answers "1 error occurred: * permission denied".
    if answer.status == 403 and (said == "permission denied" or "invalid token" in said):
        return "the token ended or was revoked during the run. Remedy: run it again, which logs in anew"
    if answer.status == 403:
        return (
            f"permission denied for {method} {path}. Remedy: run the playbook that lays Vault out, which writes the "
            "policies; if it is the provisioner who is refused, run the role vault, which writes that one"
        )
    if answer.status == 503 or "Vault is sealed" in said:
        return (
            "it is sealed, or has no active node. Remedy: restart its service where it unseals itself, else unseal it "
            "with the shares; then look at its journal"
        )
    if answer.leaderless:
        return (
            "its cluster has no leader, or it cannot hand requests on to it. Remedy: see that most of the nodes run "
            "and reach each other's cluster port; then they elect one in seconds"
        )
    if answer.status == 501:
        return "it is not initialised. Remedy: run the role vault"
    if answer.status == 500 and said == "internal error":
        return (
            f"internal error at {method} {path}. It says so to every request when no audit device can be written. "
            "Remedy: make room where the audit log is (df -h), then look at Vault's journal"
        )
    if answer.status == 429:
        return "it refuses more requests for now. Remedy: run it again later"
    return f"it refused {method} {path} with status {answer.status}: {said}"


def refusal(answer: Answer, method: str, path: str, address: str) -> Refusal:
    """The error for an answer that is no success."""
    return Refusal(f"Vault at {address}: {_meaning(answer, method, path)}.", answer)


# What requests and the system say of a connection that never came about.
_NEVER_SENT = ("NewConnectionError", "Connection refused", "ConnectTimeout", "certificate verify failed", "No route")


def unreachable(reason: str, address: str, ca_file: str) -> Unreachable:
    """The error for a request that got no answer."""
    if "certificate has expired" in reason:
        what = "its certificate ended. Remedy: run the role certificates on the Vault host, which renews it"
    elif "CERTIFICATE_VERIFY_FAILED" in reason or "certificate verify failed" in reason:
        what = (
            f"its certificate is not what {ca_file} and its address ask for ({_tail(reason)}). "
            "Remedy: run the role certificates on the Vault host and on this one"
        )
    elif "invalid path" in reason or "CA certificate" in reason:
        what = f"{ca_file} is missing or unreadable. Remedy: run the role certificates on this host"
    elif "timed out" in reason.lower():
        what = "it took too long to answer. Remedy: look at the load of the Vault host and at Vault's journal"
    else:
        what = f"it does not answer ({_tail(reason)}). Remedy: start its service and look at its journal"
    sent = not any(word in reason for word in _NEVER_SENT)
    return Unreachable(f"Vault at {address}: {what}.", sent)


def _tail(reason: str) -> str:
    """The part of requests' nested text that says something."""
    return reason.rpartition("(Caused by ")[2].rstrip(")").strip()[-200:] or reason[-200:]
