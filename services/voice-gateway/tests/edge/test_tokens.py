"""Which tokens are good."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from voice_client import Signer, pem

from voxbus.voice_gateway.edge.tokens import InvalidTokenError, TokenVerifier, key_id

pytestmark = pytest.mark.unit


@pytest.fixture
def verifier(signer: Signer) -> TokenVerifier:
    return TokenVerifier(pem(signer.key))


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return generate_rsa(public_exponent=65537, key_size=2048)


def test_good_token(verifier: TokenVerifier, signer: Signer) -> None:
    """A token with subject, audience and expiry is good; its claims are kept."""
    claims = verifier.verify(signer.token(campaign="spring"), "receptionist")
    assert (claims.subject, claims.agent_id, claims.all["campaign"]) == ("user-1", None, "spring")


def test_token_bound_to_an_agent(verifier: TokenVerifier, signer: Signer) -> None:
    """A token with an agent_id is good for that agent alone."""
    token = signer.token(agent_id="receptionist")
    assert verifier.verify(token, "receptionist").agent_id == "receptionist"
    with pytest.raises(InvalidTokenError, match="another agent"):
        verifier.verify(token, "nurse")


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
        ({"agent_id": 7}, "another agent"),
        ({"agent_id": ""}, "another agent"),
    ],
)
def test_bad_claims(verifier: TokenVerifier, signer: Signer, claims: dict[str, Any], message: str) -> None:
    """Each missing or wrong claim has its own words."""
    with pytest.raises(InvalidTokenError, match=message):
        verifier.verify(signer.token(**claims), "receptionist")


def test_leeway(verifier: TokenVerifier, signer: Signer) -> None:
    """Clocks may differ by half a minute, not by more."""
    now = int(time.time())
    verifier.verify(signer.token(exp=now - 20), "receptionist")
    with pytest.raises(InvalidTokenError, match="expired"):
        verifier.verify(signer.token(exp=now - 40), "receptionist")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "....", "ü.ü.ü", "e30.e30.", "\0", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"]
)
def test_not_a_token(verifier: TokenVerifier, token: str) -> None:
    """Anything at all is refused with an InvalidTokenError."""
    with pytest.raises(InvalidTokenError):
        verifier.verify(token, "receptionist")


def _unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256", "RS512", None, 7])
def test_algorithm_is_ours_to_choose(verifier: TokenVerifier, algorithm: object) -> None:
    """A token cannot choose an algorithm that is not on the list, `none` least of all."""
    payload = {"sub": "user-1", "aud": "voxbus-voice", "exp": int(time.time()) + 60}
    with pytest.raises(InvalidTokenError):
        verifier.verify(_unsigned({"alg": algorithm, "typ": "JWT"}, payload), "receptionist")


def test_tampered_payload(verifier: TokenVerifier, signer: Signer) -> None:
    """A changed payload does not fit the signature."""
    header, _, signature = signer.token(agent_id="receptionist").split(".")
    payload = _unsigned({}, {"sub": "user-1", "aud": "voxbus-voice", "exp": int(time.time()) + 60}).split(".")[1]
    with pytest.raises(InvalidTokenError, match="not signed"):
        verifier.verify(f"{header}.{payload}.{signature}", "nurse")


def test_rotation(signer: Signer, rsa_key: RSAPrivateKey) -> None:
    """With several keys a token of each is good: found by its kid, or tried with all when it has none that is known."""
    second = Signer()
    verifier = TokenVerifier(pem(signer.key, rsa_key, second.key))
    tokens = [
        signer.token(),
        second.token(),
        second.token(headers={"kid": key_id(second.key.public_key())}),
        second.token(headers={"kid": "someone's own name"}),
        signer.token(key=rsa_key, algorithm="RS256"),
        signer.token(key=rsa_key, algorithm="RS256", headers={"kid": key_id(rsa_key.public_key())}),
    ]
    for token in tokens:
        assert verifier.verify(token, "receptionist").subject == "user-1"
    with pytest.raises(InvalidTokenError, match="not signed"):
        verifier.verify(Signer().token(), "receptionist")


def test_kid_of_another_key(signer: Signer) -> None:
    """A kid that names another known key is believed, so the token is refused."""
    second = Signer()
    verifier = TokenVerifier(pem(signer.key, second.key))
    with pytest.raises(InvalidTokenError, match="not signed"):
        verifier.verify(signer.token(headers={"kid": key_id(second.key.public_key())}), "receptionist")


def test_algorithm_list(signer: Signer, rsa_key: RSAPrivateKey) -> None:
    """An algorithm that the settings leave out is refused even with a known key."""
    verifier = TokenVerifier(pem(signer.key, rsa_key), algorithms=["RS256"])
    verifier.verify(signer.token(key=rsa_key, algorithm="RS256"), "receptionist")
    with pytest.raises(InvalidTokenError, match="must be signed with RS256"):
        verifier.verify(signer.token(), "receptionist")


@pytest.mark.parametrize("algorithms", [[], ["HS256"], ["EdDSA", "none"]])
def test_secret_algorithms(signer: Signer, algorithms: list[str]) -> None:
    """Only algorithms with a public key can be set."""
    with pytest.raises(ValueError, match="algorithms"):
        TokenVerifier(pem(signer.key), algorithms=algorithms)


def test_unusable_keys() -> None:
    """No key, a broken one, a weak one and one of another kind are found at the start, not at the first call."""
    curve = generate_private_key(SECP256R1())
    weak = generate_rsa(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    broken = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    for bad in (b"", b"nonsense", broken, pem(curve), pem(weak)):
        with pytest.raises(ValueError, match=r"key"):
            TokenVerifier(bad)


def test_from_file(signer: Signer, tmp_path: Path) -> None:
    """Keys are read from a file, comments around them and all."""
    file = tmp_path / "keys.pem"
    file.write_bytes(b"# the key of May\n" + pem(signer.key))
    assert TokenVerifier.from_file(file).verify(signer.token(), "receptionist").subject == "user-1"
    with pytest.raises(OSError, match="No such file"):
        TokenVerifier.from_file(tmp_path / "missing.pem")


def test_key_id_is_the_thumbprint() -> None:
    """`kid` is the JWK thumbprint; the example of RFC 8037, appendix A.3."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    key = Ed25519PublicKey.from_public_bytes(raw)
    assert key.public_bytes(Encoding.Raw, PublicFormat.Raw) == raw
    assert key_id(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
