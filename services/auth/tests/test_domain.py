"""Rules: emails, passwords, permissions, secrets, keys."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import PyJWK
from pydantic import SecretStr

from voxbus.auth.domain import effective_permissions, key_permissions_problem, normalise_email, password_problem
from voxbus.auth.key_files import UnreadableKeyError, private_pem, public_jwk, read_key, thumbprint
from voxbus.auth.secret_tokens import new_api_key, new_refresh_token, parse_api_key, parse_refresh_token
from voxbus.contracts.access import ROLE_PERMISSIONS, Permission, Role
from voxbus.contracts.base import new_id

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann.Lee@Example.ORG ", "ann.lee@example.org"),
        ("ann@xn--bcher-kva.example", "ann@bücher.example"),
        ("ann@BÜCHER.example", "ann@bücher.example"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("admin@voxbus.local", "admin@voxbus.local"),
    ],
)
def test_an_email_has_one_spelling(typed: str, kept: str) -> None:
    """Case, surrounding spaces, IDNA and Unicode composition make no difference."""
    assert normalise_email(typed) == kept


@pytest.mark.parametrize("typed", ["", "ann", "ann@", "@example.org", "a b@example.org", "ann@localhost", "ann@x..org"])
def test_what_is_no_email_is_refused(typed: str) -> None:
    """A reason is given for people."""
    with pytest.raises(ValueError, match=r"\w"):
        normalise_email(typed)


@pytest.mark.parametrize(
    "password",
    [
        "short", "passwordpassword", "123456789012", "210987654321", "aaaaaaaaaaaa", "abcabcabcabc", "qwertyuiop123",
        "Password2026!", "1q2w3e4r5t6y", "!!letmein!!2024", "Ann.Lee is my name", "ａａａａａａａａａａａａ", "9876543210987654",
    ],
)  # fmt: skip
def test_guessable_passwords_are_refused(password: str) -> None:
    """Short ones, well-known ones with decoration, repetitions, sequences, and those with the user's name."""
    assert password_problem(password, "ann.lee@example.org")


@pytest.mark.parametrize(
    "password",
    ["a long walk along the harbour", "dragon739104628851", "k2j4h5g6f7d8", "пароль от почты", "jo plays the tuba"],
)
def test_no_kinds_of_characters_are_asked_for(password: str) -> None:
    """Length is enough, and a short name in the email is no obstacle."""
    assert password_problem(password, "jo@example.org") is None


def test_a_key_can_do_no_more_than_its_maker() -> None:
    """Permissions beyond the actor's are refused, and `account` always."""
    held = ROLE_PERMISSIONS[Role.USER]
    assert key_permissions_problem([Permission.AGENTS_READ], held) is None
    assert "users:write" in str(key_permissions_problem([Permission.USERS_WRITE], held))
    assert "account" in str(key_permissions_problem([Permission.ACCOUNT], held))


def test_a_key_loses_what_its_owner_loses() -> None:
    """An admin's key is a user's key once the admin is a user."""
    given = [Permission.USERS_WRITE, Permission.AGENTS_READ]
    assert set(effective_permissions(given, Role.ADMIN)) == set(given)
    assert effective_permissions(given, Role.USER) == (Permission.AGENTS_READ,)


def test_secret_tokens_come_back_in_their_parts() -> None:
    """The text of a token is parsed to the record and to a secret that fits its digest only."""
    for new, parse, record_id in (
        (new_refresh_token, parse_refresh_token, new_id("sess")),
        (new_api_key, parse_api_key, new_id("key")),
    ):
        token, other = new(record_id), new(record_id)
        assert parse(token.text) == token
        assert token.fits(token.digest)
        assert not token.fits(other.digest)
        assert token.secret not in repr(token)


@pytest.mark.parametrize("text", ["", "vxr_", "vxk_key_0_x", "vxr_sess_" + "0" * 20 + "_" + "é" * 43, "Bearer x"])
def test_what_is_no_token_is_none(text: str) -> None:
    """Garbage does not raise."""
    assert parse_refresh_token(text) is None
    assert parse_api_key(text) is None


def test_a_refresh_token_is_no_api_key() -> None:
    """The prefixes keep the two apart."""
    assert parse_api_key(new_refresh_token(new_id("sess")).text) is None


def test_private_keys_are_encrypted_by_the_passphrase() -> None:
    """Only the same passphrase reads it; a plain one is read with or without."""
    key, passphrase = Ed25519PrivateKey.generate(), SecretStr("a passphrase")
    encrypted, plain = private_pem(key, passphrase), private_pem(key, None)
    assert "ENCRYPTED" in encrypted
    for pem, secret in ((encrypted, passphrase), (plain, None), (plain, passphrase)):
        assert thumbprint(read_key(pem, secret).public_key()) == thumbprint(key.public_key())
    for wrong in (None, SecretStr("another")):
        with pytest.raises(UnreadableKeyError):
            read_key(encrypted, wrong)


def test_the_jwk_of_rfc_8037_has_its_thumbprint() -> None:
    """The example of RFC 8037, appendices A.1 to A.3."""
    d = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    jwk = public_jwk(Ed25519PrivateKey.from_private_bytes(d).public_key())
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert PyJWK(jwk).algorithm_name == "EdDSA"
