# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of the bootstrap: which state a server is in, what may be done about it, and what operators are handed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNREACHABLE = "unreachable"
UNINITIALISED = "uninitialised"
SEALED = "sealed"
NOT_BOOTSTRAPPED = "not_bootstrapped"
READY = "ready"

# What is to be done.
NOTHING, INITIALISE, RECORD, RESET, RECOVER, FAIL = "nothing", "initialise", "record", "reset", "recover", "fail"

STARTED, FINISHED = "started", "finished"
AUTOMATIC = ("static", "transit")
_PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


class BootstrapError(Exception):
    """The bootstrap cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Seen:
    """What was found out about a server and its host."""

    reachable: bool = True
    reason: str = ""
    initialised: bool = False
    sealed: bool = False
    seal: str = "static"
    threshold: int = 0
    credential: bool = False
    login: bool = False
    login_problem: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    peers_initialised: tuple[str, ...] = ()
    unit: str = "signalbox-vault.service"
    record_path: str = "/var/lib/signalbox/vault/bootstrap.json"

    @property
    def finished(self) -> bool:
        return self.record.get("state") == FINISHED

    @property
    def never_finished(self) -> bool:
        """Proven by the record of a start without an end, and by a provisioner that never was."""
        return self.record.get("state") == STARTED and not self.credential


@dataclass(frozen=True)
class Wanted:
    """What the operator asks for."""

    seal: str = "static"
    pgp_keys: Mapping[str, str] = field(default_factory=dict)
    threshold: int = 0
    lab: bool = False
    reset_unfinished: bool = False
    recovery_shares: bool = False
    restore: bool = False


@dataclass(frozen=True)
class Verdict:
    """State, what to do, and for FAIL the message."""

    state: str
    action: str
    message: str = ""


def judge(seen: Seen, wanted: Wanted) -> Verdict:
    """One decision from all that is known."""
    if not seen.reachable:
        text = f"{seen.reason} Look at: systemctl status {seen.unit}; journalctl --unit {seen.unit}."
        return Verdict(UNREACHABLE, FAIL, text)
    if not seen.initialised:
        return _uninitialised(seen, wanted)
    if seen.sealed:
        return Verdict(SEALED, FAIL, _sealed(seen))
    if seen.login:
        if wanted.restore:
            text = (
                "It serves already, so nothing is restored over it. Restore on a fresh node, or empty this one first."
            )
            return Verdict(READY, FAIL, text)
        return Verdict(READY, NOTHING if seen.finished else RECORD)
    return _not_bootstrapped(seen, wanted)


def _uninitialised(seen: Seen, wanted: Wanted) -> Verdict:
    if seen.peers_initialised and not wanted.restore:
        text = (
            f"This node is empty, and {', '.join(seen.peers_initialised)} of vault_peers already holds a cluster: a "
            "second one must not be started beside it. It joins by itself while that cluster has an unsealed "
            "leader. Mend that cluster, or put a node that serves first in vault_peers."
        )
        return Verdict(UNINITIALISED, FAIL, text)
    if seen.finished and not wanted.restore:
        text = (
            "The storage is empty, although this host was bootstrapped on "
            f"{seen.record.get('finished', 'an unknown date')}. Restore a snapshot (entry point restore), or, if "
            f"nothing is worth keeping, remove {seen.record_path} and run again."
        )
        return Verdict(UNINITIALISED, FAIL, text)
    problems = share_problems(wanted)
    if problems:
        return Verdict(UNINITIALISED, FAIL, "; ".join(problems) + ".")
    return Verdict(UNINITIALISED, INITIALISE)


def _sealed(seen: Seen) -> str:
    if seen.seal == "shamir":
        return (
            f"It is sealed and needs {seen.threshold} of its unseal shares. Ask their holders, and run the role's "
            "entry point unseal with vault_unseal_shares."
        )
    return (
        f"It is sealed. Its seal is '{seen.seal}', so a restart unseals it: run the role's entry point unseal, or "
        f"systemctl restart {seen.unit}. If it stays sealed, journalctl --unit {seen.unit} names the reason."
    )


def _not_bootstrapped(seen: Seen, wanted: Wanted) -> Verdict:
    if seen.never_finished and wanted.reset_unfinished:
        problems = share_problems(wanted)
        return Verdict(NOT_BOOTSTRAPPED, FAIL if problems else RESET, "; ".join(problems))
    if wanted.recovery_shares:
        return Verdict(NOT_BOOTSTRAPPED, RECOVER)
    if seen.never_finished:
        text = (
            f"A bootstrap of {seen.record.get('started', 'an unknown date')} stopped half way: the server is "
            "initialised, and nobody can use it, so nothing was stored. Set vault_reset_unfinished to true for one "
            "run to empty it and start again."
        )
        return Verdict(NOT_BOOTSTRAPPED, FAIL, text)
    why = seen.login_problem if seen.credential else "the credential is not on this host"
    known = (
        "" if seen.record else f" and was initialised by something else than this role ({seen.record_path} is missing)"
    )
    text = (
        f"It serves{known}, but the provisioner cannot log in: {why} Nothing is emptied, for it may hold secrets. Give "
        "a quorum of recovery shares (with seal shamir: unseal shares) as vault_recovery_shares for one run: the "
        "provisioner is then made anew."
    )
    return Verdict(NOT_BOOTSTRAPPED, FAIL, text)


def share_problems(wanted: Wanted) -> list[str]:
    """Why a server must not be initialised with these keys."""
    count, problems = len(wanted.pgp_keys), []
    if wanted.restore:
        return []  # the snapshot brings its own
    if not count and wanted.seal == "shamir":
        problems.append(
            "vault_pgp_keys: is empty; seal shamir needs the operators' public keys, for without shares the server "
            "could never be unsealed again"
        )
    elif not count and not wanted.lab:
        problems.append(
            "vault_pgp_keys: is empty; name the operators' public keys, who get the recovery shares and the escrow "
            "of the seal key. Only a lab that may be lost does without, and says so with vault_lab: true"
        )
    if count and threshold(wanted) > count:
        problems.append(f"vault_share_threshold: {wanted.threshold} is more than the {count} keys in vault_pgp_keys")
    if count > 1 and threshold(wanted) < 2:
        problems.append("vault_share_threshold: must be 2 or more where there is more than one operator")
    for name, text in sorted(wanted.pgp_keys.items()):
        try:
            key_bytes(text)
        except ValueError as error:
            problems.append(f"vault_pgp_keys.{name}: {error}")
    return problems


def threshold(wanted: Wanted) -> int:
    """How many shares it takes: more than half of them unless said otherwise."""
    return wanted.threshold or len(wanted.pgp_keys) // 2 + 1


def key_bytes(text: str) -> bytes:
    """A public key, ASCII-armoured or in base64, as the bytes that Vault and gpg take."""
    body = text.strip()
    if "PRIVATE KEY" in body:
        raise ValueError("is a private key; never give one away")
    if body.startswith(_PGP):
        lines = body.splitlines()[1:-1]
        start = lines.index("") + 1 if "" in (lines := [line.strip() for line in lines]) else 0
        body = "".join(line for line in lines[start:] if not line.startswith("="))
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        data = b""
    # The first packet must be a public key, in the old or the new packet format.
    if not data or data[0] & 0x80 == 0 or ((data[0] & 0x3F) if data[0] & 0x40 else (data[0] >> 2) & 0x0F) != 6:
        raise ValueError("is no PGP public key, ASCII-armoured or in base64")
    return data


def key_list(keys: Mapping[str, str]) -> list[str]:
    """The keys in the order of their holders' names, as the API takes them."""
    return [base64.b64encode(key_bytes(keys[name])).decode() for name in sorted(keys)]


@dataclass(frozen=True)
class Shares:
    """Encrypted shares in the order of the holders' names."""

    kind: str
    threshold: int
    encrypted: Sequence[str]


def handouts(
    keys: Mapping[str, str], shares: Shares, cluster: str, escrow: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Operator to JSON text. Nothing in it is of use without the operator's private key."""
    texts = {}
    for name, share in zip(sorted(keys), shares.encrypted):
        document: dict[str, Any] = {
            "operator": name,
            "cluster": cluster,
            "kind": f"{shares.kind} share",
            "shares": len(keys),
            "threshold": shares.threshold,
            "share": share,
            "open_the_share": f"jq -r .share {name}.json | base64 -d | gpg --decrypt",
        }
        if escrow:
            document["seal_key"] = escrow[name]
            document["open_the_seal_key"] = f"jq -r .seal_key {name}.json | base64 -d | gpg --decrypt"
        texts[name] = json.dumps(document, indent=2) + "\n"
    return texts


def decode_root(encoded: str, one_time_pad: str) -> str:
    """The token out of the answer of generate-root."""
    data = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    return bytes(left ^ right for left, right in zip(data, one_time_pad.encode())).decode()


def approle(policy: str) -> dict[str, Any]:
    """An AppRole of the platform's own: short tokens, exactly one policy, a secret id that lasts."""
    return {
        "bind_secret_id": True,
        "secret_id_num_uses": 0,
        "secret_id_ttl": 0,
        "token_policies": [policy],
        "token_no_default_policy": True,
        "token_ttl": 900,
        "token_max_ttl": 3600,
    }


def differs(wanted: Mapping[str, Any], present: Mapping[str, Any] | None) -> bool:
    """Whether what is there lacks something of what is wanted."""
    return present is None or any(present.get(name) != value for name, value in wanted.items())
