"""SCRAM-SHA-256 verifiers against the vector of RFC 7677, section 3."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._scram import (
    make_verifier,
    parse_verifier,
    password_matches,
    salted_password,
    saslprep,
)

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_FIRST = "n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
AUTH_MESSAGE = ",".join([CLIENT_FIRST, SERVER_FIRST, CLIENT_FINAL]).encode()


def test_rfc_7677_vector() -> None:
    verifier = make_verifier("pencil", SALT, 4096)
    signature = hmac.new(verifier.server_key, AUTH_MESSAGE, hashlib.sha256).digest()
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    # The client's proof of the vector, undone by what the server stores, must give the client key back.
    client_signature = hmac.new(verifier.stored_key, AUTH_MESSAGE, hashlib.sha256).digest()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature))
    assert hashlib.sha256(client_key).digest() == verifier.stored_key


def test_text_is_what_postgresql_stores() -> None:
    text = str(make_verifier("pencil", SALT, 4096))
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert str(parse_verifier(text)) == text


def test_salts_differ_and_both_match() -> None:
    one, other = str(make_verifier("s3cret")), str(make_verifier("s3cret"))
    assert one != other
    assert password_matches("s3cret", one)
    assert password_matches("s3cret", other)


def test_compares_with_the_stored_iterations() -> None:
    assert password_matches("s3cret", str(make_verifier("s3cret", iterations=1000)))


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "md5b0d7e4a6b4c1f2d3e4f5a6b7c8d9e0f1",
        "s3cret",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$YQ==:YQ==",
        "SCRAM-SHA-256$4096:=$=:=",
        str(make_verifier("another")),
    ],
)
def test_no_match(stored: str | None) -> None:
    assert not password_matches("s3cret", stored)


def test_empty_password() -> None:
    with pytest.raises(ValueError, match="empty"):
        make_verifier("")
    assert not password_matches("", str(make_verifier("x")))


@pytest.mark.parametrize(
    ("raw", "prepared"),
    [
        ("I­X", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("ª", "a"),
        ("Ⅸ", "IX"),
        ("a b", "a b"),
        ("\u0007é", None),
        ("\u06271", None),
    ],
)
def test_saslprep_examples_of_rfc_4013(raw: str, prepared: str | None) -> None:
    assert saslprep(raw) == prepared


def test_a_password_that_saslprep_refuses_is_taken_as_it_is() -> None:
    raw = "\u06271"
    assert salted_password(raw, SALT, 1) == hashlib.pbkdf2_hmac("sha256", raw.encode(), SALT, 1)


def test_the_verifier_shows_no_password() -> None:
    assert "s3cret" not in repr(make_verifier("s3cret"))
