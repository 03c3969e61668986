"""Tokens of callers: JWTs that somebody else signed and that are verified with public keys alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from pydantic import JsonValue

PublicKey = Ed25519PublicKey | RSAPublicKey
AUDIENCE: Final = "voxbus-voice"
LEEWAY_S: Final = 30
_KEY_TYPES: Final[dict[str, type[PublicKey]]] = {"EdDSA": Ed25519PublicKey, "RS256": RSAPublicKey}
_MIN_RSA_BITS: Final = 2048
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class InvalidTokenError(Exception):
    """The token is not good. The message is for the client: it quotes nothing of the token."""


@dataclass(frozen=True)
class Claims:
    """What a verified token says."""

    subject: str
    agent_id: str | None
    """The only agent the token is good for; None: any."""
    all: Mapping[str, JsonValue]


class TokenVerifier:
    """Verifies tokens: EdDSA (Ed25519) or RS256, with `aud`, `exp` and `sub`.

    With several keys (rotation) the token's `kid`, the key's JWK thumbprint (RFC 7638), picks one; a token without a
    known `kid` is tried with each.
    """

    def __init__(self, pem: bytes, *, algorithms: Sequence[str] = ("EdDSA", "RS256"), audience: str = AUDIENCE) -> None:
        """`pem` holds one or more public keys. Raises ValueError when it holds none, or one that cannot be used."""
        unknown = set(algorithms) - set(_KEY_TYPES)
        if unknown or not algorithms:
            raise ValueError(
                f"token algorithms can be {', '.join(_KEY_TYPES)}, not {', '.join(sorted(unknown)) or 'none'}"
            )
        self._algorithms = tuple(algorithms)
        self._audience = audience
        self._keys = {key_id(key): key for key in _load_keys(pem)}

    @classmethod
    def from_file(
        cls, path: Path, *, algorithms: Sequence[str] = ("EdDSA", "RS256"), audience: str = AUDIENCE
    ) -> TokenVerifier:
        """Read the keys from a PEM file. Raises OSError and ValueError."""
        return cls(path.read_bytes(), algorithms=algorithms, audience=audience)

    def verify(self, token: str, agent_id: str) -> Claims:
        """The claims of a token for a call to `agent_id`. Raises InvalidTokenError."""
        claims = self._decode(token)
        bound_to = claims.get("agent_id")
        if bound_to is not None and bound_to != agent_id:
            raise InvalidTokenError("the token is for another agent")
        if not claims["sub"]:
            raise InvalidTokenError("the token has no subject")
        return Claims(subject=claims["sub"], agent_id=bound_to, all=claims)

    def _decode(self, token: str) -> dict[str, Any]:
        problem = InvalidTokenError("the token is not signed by a key this gateway knows")
        for algorithm, key in self._candidates(token):
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    leeway=LEEWAY_S,
                    options={"require": ["exp", "sub", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, OverflowError) as error:
                problem = InvalidTokenError(_explain(error))
                break
        raise problem

    def _candidates(self, token: str) -> list[tuple[str, PublicKey]]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise InvalidTokenError("the token is not a JWT") from None
        algorithm = header.get("alg")
        if algorithm not in self._algorithms:
            raise InvalidTokenError(f"the token must be signed with {' or '.join(self._algorithms)}")
        named = self._keys.get(str(header.get("kid")))
        keys = [named] if named is not None else list(self._keys.values())
        return [(algorithm, key) for key in keys if isinstance(key, _KEY_TYPES[algorithm])]


def key_id(key: PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638)."""
    if isinstance(key, Ed25519PublicKey):
        jwk, members = OKPAlgorithm.to_jwk(key, as_dict=True), ("crv", "kty", "x")
    else:
        jwk, members = RSAAlgorithm.to_jwk(key, as_dict=True), ("e", "kty", "n")
    canonical = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def _load_keys(pem: bytes) -> list[PublicKey]:
    keys: list[PublicKey] = []
    for block in _PEM.findall(pem):
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("a public key of the PEM cannot be read") from None
        if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
            raise ValueError("token keys are Ed25519 or RSA public keys")  # noqa: TRY004 - it is the PEM's content
        if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
            raise ValueError(f"an RSA key has {key.key_size} bits; {_MIN_RSA_BITS} are the least")
        keys.append(key)
    if not keys:
        raise ValueError("the PEM holds no public key (BEGIN PUBLIC KEY)")
    return keys


def _explain(error: Exception) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "the token has expired"
    if isinstance(error, jwt.ImmatureSignatureError):
        return "the token is not valid yet"
    if isinstance(error, jwt.InvalidAudienceError):
        return "the token is not meant for voice calls"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no claim {error.claim}"
    return "the token is not valid"
