"""Tokens: JWTs that somebody else signed and that are verified with public keys alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from pydantic import JsonValue

from voxbus.contracts.auth import API_AUDIENCE, VOICE_AUDIENCE

PublicKey = Ed25519PublicKey | RSAPublicKey
ALGORITHMS: Final = ("EdDSA", "RS256")
LEEWAY_S: Final = 30
_KEY_TYPES: Final[dict[str, type[PublicKey]]] = {"EdDSA": Ed25519PublicKey, "RS256": RSAPublicKey}
_MIN_RSA_BITS: Final = 2048
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_MEANT_FOR: Final = {VOICE_AUDIENCE: "voice calls", API_AUDIENCE: "the API"}


class InvalidTokenError(Exception):
    """The token is not good. The message is for the client: it quotes nothing of the token."""


class UnknownKeyError(InvalidTokenError):
    """None of the keys signed it. `named`: it names a key that is not among them, so that newer keys may help."""

    def __init__(self, *, named: bool) -> None:
        super().__init__("the token is not signed by a key this gateway knows")
        self.named = named


class TokenKeys(Protocol):
    """What verifies tokens: signature, `exp` and `aud`; `sub` is there."""

    async def verify(self, token: str, audience: str) -> Mapping[str, JsonValue]:
        """The claims. Raises InvalidTokenError, and RequestFailedError while it cannot be known."""
        ...


@dataclass(frozen=True)
class Claims:
    """What a verified call token says."""

    subject: str
    agent_id: str | None
    """The only agent the token is good for; None: any."""
    all: Mapping[str, JsonValue]


class CallTokens:
    """Tokens for calls."""

    def __init__(self, keys: TokenKeys, audience: str = VOICE_AUDIENCE) -> None:
        self._keys = keys
        self._audience = audience

    async def verify(self, token: str, agent_id: str) -> Claims:
        """The claims of a token for a call to `agent_id`. Raises what `TokenKeys.verify` raises."""
        claims = await self._keys.verify(token, self._audience)
        bound_to = claims.get("agent_id")
        if bound_to is not None and bound_to != agent_id:
            raise InvalidTokenError("the token is for another agent")
        return Claims(subject=str(claims["sub"]), agent_id=bound_to, all=claims)


class KeySet:
    """Public keys by their names, EdDSA (Ed25519) or RS256. Immutable.

    A token's `kid`, the key's JWK thumbprint (RFC 7638), picks one; a token without a known `kid` is tried with each.
    """

    def __init__(self, keys: Iterable[PublicKey] = (), *, algorithms: Sequence[str] = ALGORITHMS) -> None:
        """Raises ValueError for an algorithm that is not one of `ALGORITHMS`."""
        unknown = set(algorithms) - set(_KEY_TYPES)
        if unknown or not algorithms:
            raise ValueError(
                f"token algorithms can be {', '.join(_KEY_TYPES)}, not {', '.join(sorted(unknown)) or 'none'}"
            )
        self._algorithms = tuple(algorithms)
        self._keys = {key_id(key): key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def ids(self) -> frozenset[str]:
        """The names of all."""
        return frozenset(self._keys)

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a token for `audience`. Raises InvalidTokenError."""
        algorithm, kid = self._header(token)
        named = self._keys.get(kid) if kid is not None else None
        for key in [named] if named is not None else self._keys.values():
            if not isinstance(key, _KEY_TYPES[algorithm]):
                continue
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=audience,
                    leeway=LEEWAY_S,
                    options={"require": ["exp", "sub", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, OverflowError) as error:
                raise InvalidTokenError(_explain(error, audience)) from None
            if not claims["sub"]:
                raise InvalidTokenError("the token has no subject")
            return claims
        raise UnknownKeyError(named=kid is not None and named is None)

    def _header(self, token: str) -> tuple[str, str | None]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise InvalidTokenError("the token is not a JWT") from None
        algorithm = header.get("alg")
        if algorithm not in self._algorithms:
            raise InvalidTokenError(f"the token must be signed with {' or '.join(self._algorithms)}")
        kid = header.get("kid")
        return algorithm, kid if isinstance(kid, str) else None


def key_id(key: PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638)."""
    if isinstance(key, Ed25519PublicKey):
        jwk, members = OKPAlgorithm.to_jwk(key, as_dict=True), ("crv", "kty", "x")
    else:
        jwk, members = RSAAlgorithm.to_jwk(key, as_dict=True), ("e", "kty", "n")
    canonical = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()


def keys_of_pem(pem: bytes) -> list[PublicKey]:
    """The public keys of a PEM file. Raises ValueError when it holds none, or one that cannot be used."""
    keys: list[PublicKey] = []
    for block in _PEM.findall(pem):
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("a public key of the PEM cannot be read") from None
        keys.append(_usable(key))
    if not keys:
        raise ValueError("the PEM holds no public key (BEGIN PUBLIC KEY)")
    return keys


def key_of_jwk(jwk: Mapping[str, JsonValue]) -> PublicKey:
    """The public key of a JWK (RFC 7517). Raises ValueError when it cannot be used."""
    kind = jwk.get("kty")
    if kind not in ("OKP", "RSA") or "d" in jwk:
        raise ValueError("token keys are Ed25519 or RSA public keys")
    try:
        key = OKPAlgorithm.from_jwk(dict(jwk)) if kind == "OKP" else RSAAlgorithm.from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError("a key cannot be read") from None
    return _usable(key)


def _usable(key: object) -> PublicKey:
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise ValueError("token keys are Ed25519 or RSA public keys")  # noqa: TRY004 - it is the content of a file
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"an RSA key has {key.key_size} bits; {_MIN_RSA_BITS} are the least")
    return key


def _explain(error: Exception, audience: str) -> str:
    if isinstance(error, jwt.ExpiredSignatureError):
        return "the token has expired"
    if isinstance(error, jwt.ImmatureSignatureError):
        return "the token is not valid yet"
    if isinstance(error, jwt.InvalidAudienceError):
        return f"the token is not meant for {_MEANT_FOR.get(audience, 'this')}"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no claim {error.claim}"
    return "the token is not valid"
