"""Which tokens are good."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from voice_client import FixedKeys, Signer, pem

from voxbus.contracts.auth import API_AUDIENCE, VOICE_AUDIENCE
from voxbus.voice_gateway.edge.tokens import (
    CallTokens,
    InvalidTokenError,
    KeySet,
    UnknownKeyError,
    key_id,
    key_of_jwk,
    keys_of_pem,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def keys(signer: Signer) -> KeySet:
    return KeySet(keys_of_pem(pem(signer.key)))


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return generate_rsa(public_exponent=65537, key_size=2048)


def test_good_token(keys: KeySet, signer: Signer) -> None:
    """A token with subject, audience and expiry is good; its claims are kept."""
    claims = keys.verify(signer.token(campaign="spring"), VOICE_AUDIENCE)
    assert (claims["sub"], claims["campaign"]) == ("user-1", "spring")


async def test_token_for_any_agent(signer: Signer) -> None:
    """A call token without an agent_id is good for every agent."""
    claims = await CallTokens(FixedKeys(signer.key)).verify(signer.token(campaign="spring"), "nurse")
    assert (claims.subject, claims.agent_id, claims.all["campaign"]) == ("user-1", None, "spring")


async def test_token_bound_to_an_agent(signer: Signer) -> None:
    """A token with an agent_id is good for that agent alone."""
    tokens = CallTokens(FixedKeys(signer.key))
    assert (await tokens.verify(signer.token(agent_id="receptionist"), "receptionist")).agent_id == "receptionist"
    for other in ("receptionist", 7, ""):
        with pytest.raises(InvalidTokenError, match="another agent"):
            await tokens.verify(signer.token(agent_id=other), "nurse")


def test_each_audience_has_its_tokens(keys: KeySet, signer: Signer) -> None:
    """A token for calls is refused by the API, and the other way round."""
    keys.verify(signer.token(aud=API_AUDIENCE), API_AUDIENCE)
    with pytest.raises(InvalidTokenError, match="not meant for the API"):
        keys.verify(signer.token(), API_AUDIENCE)
    with pytest.raises(InvalidTokenError, match="not meant for voice calls"):
        keys.verify(signer.token(aud=API_AUDIENCE), VOICE_AUDIENCE)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": 1}, "the token has expired"),
        ({"exp": None}, "the token has no claim exp"),
        ({"sub": None}, "the token has no claim sub"),
        ({"sub": ""}, "the token has no subject"),
        ({"aud": None}, "the token has no claim aud|not meant for voice"),
        ({"aud": "voxbus-api"}, "not meant for voice calls"),
        ({"exp": "soon"}, "not valid"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
    ],
)
def test_bad_claims(keys: KeySet, signer: Signer, claims: dict[str, Any], message: str) -> None:
    """Each missing or wrong claim has its own words."""
    with pytest.raises(InvalidTokenError, match=message):
        keys.verify(signer.token(**claims), VOICE_AUDIENCE)


def test_leeway(keys: KeySet, signer: Signer) -> None:
    """Clocks may differ by half a minute, not by more."""
    now = int(time.time())
    keys.verify(signer.token(exp=now - 20), VOICE_AUDIENCE)
    with pytest.raises(InvalidTokenError, match="expired"):
        keys.verify(signer.token(exp=now - 40), VOICE_AUDIENCE)


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "....", "ü.ü.ü", "e30.e30.", "\0", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"]
)
def test_not_a_token(keys: KeySet, token: str) -> None:
    """Anything at all is refused with an InvalidTokenError."""
    with pytest.raises(InvalidTokenError):
        keys.verify(token, VOICE_AUDIENCE)


def _unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256", "RS512", None, 7])
def test_algorithm_is_ours_to_choose(keys: KeySet, algorithm: object) -> None:
    """A token cannot choose an algorithm that is not on the list, `none` least of all."""
    payload = {"sub": "user-1", "aud": "voxbus-voice", "exp": int(time.time()) + 60}
    with pytest.raises(InvalidTokenError):
        keys.verify(_unsigned({"alg": algorithm, "typ": "JWT"}, payload), VOICE_AUDIENCE)


def test_tampered_payload(keys: KeySet, signer: Signer) -> None:
    """A changed payload does not fit the signature."""
    header, _, signature = signer.token(agent_id="receptionist").split(".")
    payload = _unsigned({}, {"sub": "user-1", "aud": "voxbus-voice", "exp": int(time.time()) + 60}).split(".")[1]
    with pytest.raises(InvalidTokenError, match="not signed"):
        keys.verify(f"{header}.{payload}.{signature}", VOICE_AUDIENCE)


def test_rotation(signer: Signer, rsa_key: RSAPrivateKey) -> None:
    """With several keys a token of each is good: found by its kid, or tried with all when it has none that is known."""
    second = Signer()
    keys = KeySet(keys_of_pem(pem(signer.key, rsa_key, second.key)))
    tokens = [
        signer.token(),
        second.token(),
        second.token(headers={"kid": key_id(second.key.public_key())}),
        second.token(headers={"kid": "someone's own name"}),
        signer.token(key=rsa_key, algorithm="RS256"),
        signer.token(key=rsa_key, algorithm="RS256", headers={"kid": key_id(rsa_key.public_key())}),
    ]
    for token in tokens:
        assert keys.verify(token, VOICE_AUDIENCE)["sub"] == "user-1"
    with pytest.raises(InvalidTokenError, match="not signed"):
        keys.verify(Signer().token(), VOICE_AUDIENCE)


def test_kid_of_another_key(signer: Signer) -> None:
    """A kid that names another known key is believed, so the token is refused."""
    second = Signer()
    keys = KeySet(keys_of_pem(pem(signer.key, second.key)))
    with pytest.raises(InvalidTokenError, match="not signed"):
        keys.verify(signer.token(headers={"kid": key_id(second.key.public_key())}), VOICE_AUDIENCE)


def test_algorithm_list(signer: Signer, rsa_key: RSAPrivateKey) -> None:
    """An algorithm that the settings leave out is refused even with a known key."""
    keys = KeySet(keys_of_pem(pem(signer.key, rsa_key)), algorithms=["RS256"])
    keys.verify(signer.token(key=rsa_key, algorithm="RS256"), VOICE_AUDIENCE)
    with pytest.raises(InvalidTokenError, match="must be signed with RS256"):
        keys.verify(signer.token(), VOICE_AUDIENCE)


@pytest.mark.parametrize("algorithms", [[], ["HS256"], ["EdDSA", "none"]])
def test_secret_algorithms(signer: Signer, algorithms: list[str]) -> None:
    """Only algorithms with a public key can be set."""
    with pytest.raises(ValueError, match="algorithms"):
        KeySet(keys_of_pem(pem(signer.key)), algorithms=algorithms)


def test_unusable_keys() -> None:
    """No key, a broken one, a weak one and one of another kind are found at the start, not at the first call."""
    curve = generate_private_key(SECP256R1())
    weak = generate_rsa(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    broken = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    for bad in (b"", b"nonsense", broken, pem(curve), pem(weak)):
        with pytest.raises(ValueError, match=r"key"):
            keys_of_pem(bad)


def test_comments_around_keys(signer: Signer) -> None:
    """A PEM file may say whose keys it holds."""
    keys = KeySet(keys_of_pem(b"# the key of May\n" + pem(signer.key)))
    keys.verify(signer.token(), VOICE_AUDIENCE)


def test_keys_as_jwk(signer: Signer, rsa_key: RSAPrivateKey) -> None:
    """Keys of both kinds are read from their JWK; private, weak and other ones are refused."""
    jwks = [OKPAlgorithm.to_jwk(signer.key.public_key(), True), RSAAlgorithm.to_jwk(rsa_key.public_key(), True)]
    keys = KeySet([key_of_jwk(jwk) for jwk in jwks])
    keys.verify(signer.token(), VOICE_AUDIENCE)
    keys.verify(signer.token(key=rsa_key, algorithm="RS256"), VOICE_AUDIENCE)
    weak = generate_rsa(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - to be refused
    private = OKPAlgorithm.to_jwk(signer.key, True)
    bad: list[dict[str, Any]] = [
        private,
        RSAAlgorithm.to_jwk(weak, True),
        {"kty": "oct", "k": "AAAA"},
        {},
        {"kty": "RSA"},
    ]
    for jwk in [*bad, {**jwks[0], "x": "?"}, {**jwks[0], "crv": "Ed448"}]:
        with pytest.raises(ValueError, match="key"):
            key_of_jwk(jwk)


def test_unknown_key_is_told_apart(keys: KeySet) -> None:
    """A token that names a key which is not there may be good with newer keys; one that names none is not."""
    stranger = Signer()
    for token, named in ((stranger.token(headers={"kid": "next"}), True), (stranger.token(), False)):
        with pytest.raises(UnknownKeyError) as caught:
            keys.verify(token, VOICE_AUDIENCE)
        assert caught.value.named is named


def test_key_id_is_the_thumbprint() -> None:
    """`kid` is the JWK thumbprint; the example of RFC 8037, appendix A.3."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    key = Ed25519PublicKey.from_public_bytes(raw)
    assert key.public_bytes(Encoding.Raw, PublicFormat.Raw) == raw
    assert key_id(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
