# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SCRAM-SHA-256 verifiers as PostgreSQL stores them: RFC 5802, RFC 7677, RFC 4013.

A verifier is made here, so that a password never travels in a statement that the server may log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import stringprep
import unicodedata
from dataclasses import dataclass
from typing import Callable

# Defaults of PostgreSQL: scram_iterations, and SCRAM_DEFAULT_SALT_LEN in src/include/common/scram-common.h.
ITERATIONS = 4096
SALT_BYTES = 16

_VERIFIER = re.compile(r"^SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$")

# RFC 4013 section 2.3: what a prepared string must not hold.
_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


@dataclass(frozen=True)
class Verifier:
    """What a server keeps instead of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        salt, stored, server = (
            base64.b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


def saslprep(password: str) -> str | None:
    """Prepare a password by RFC 4013; None where the profile forbids the string."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(check(char) for char in prepared for check in _PROHIBITED):
        return None
    right_to_left: list[bool] = [stringprep.in_table_d1(char) for char in prepared]
    if any(right_to_left):
        left_to_right = any(stringprep.in_table_d2(char) for char in prepared)
        if left_to_right or not (right_to_left[0] and right_to_left[-1]):
            return None
    return prepared


def _password_bytes(password: str) -> bytes:
    # PostgreSQL takes the raw bytes where SASLprep refuses the string (pg_be_scram_build_secret in auth-scram.c).
    if password.isascii():
        return password.encode()
    prepared = saslprep(password)
    return (password if prepared is None else prepared).encode()


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """Hi() of RFC 5802 section 2.2, which is PBKDF2 with one block."""
    return hashlib.pbkdf2_hmac("sha256", _password_bytes(password), salt, iterations)


def make_verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> Verifier:
    """Make the verifier of a password; the salt is random unless given."""
    if not password:
        raise ValueError("an empty password has no verifier")
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    salted = salted_password(password, salt, iterations)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return Verifier(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def parse_verifier(stored: str | None) -> Verifier | None:
    """Read pg_authid.rolpassword; None for no password, an MD5 hash or anything else."""
    match = _VERIFIER.match(stored or "")
    if match is None:
        return None
    try:
        salt, stored_key, server_key = (base64.b64decode(part, validate=True) for part in match.groups()[1:])
    except binascii.Error:
        return None
    iterations = int(match.group(1))
    return Verifier(iterations, salt, stored_key, server_key) if iterations > 0 else None


def password_matches(password: str, stored: str | None) -> bool:
    """Whether a stored verifier was made from this password."""
    verifier = parse_verifier(stored)
    if verifier is None or not password:
        return False
    wanted = make_verifier(password, verifier.salt, verifier.iterations)
    return hmac.compare_digest(wanted.stored_key, verifier.stored_key) and hmac.compare_digest(
        wanted.server_key, verifier.server_key
    )
