"""JWTs: what an access token and a call token say."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from voxbus.contracts.access import ROLE_PERMISSIONS, Actor
from voxbus.contracts.auth import API_AUDIENCE, ISSUER, VOICE_AUDIENCE, CallToken, User


class Signer(Protocol):
    """Where the key that signs now comes from."""

    def signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """Its id (`kid`) and itself. Raises UNAVAILABLE when there is none."""


class TokenIssuer:
    """Signs tokens with EdDSA (RFC 8037). `iat` has milliseconds, so that a token can be told from one before a change."""

    def __init__(self, signer: Signer, *, access_ttl_s: int, clock: Callable[[], datetime]) -> None:
        self._signer = signer
        self.access_ttl_s = access_ttl_s
        self._clock = clock

    def access_token(self, user: User, session_id: str, at: datetime) -> str:
        """For the REST API. `at`: a moment before `user` was read.

        `rev` makes the token stale by the first change of access after `user` was read, whatever the clocks say.
        """
        claims = {
            "sub": user.id,
            "user_id": user.id,
            "role": user.role.value,
            "permissions": [permission.value for permission in ROLE_PERMISSIONS[user.role]],
            "sid": session_id,
            "rev": user.revision,
        }
        expires_at = self._clock() + timedelta(seconds=self.access_ttl_s)
        return self._sign(API_AUDIENCE, claims, at, expires_at)

    def call_token(self, actor: Actor, agent_id: str, ttl_s: int) -> CallToken:
        """For calls to one agent on the voice socket."""
        at = self._clock()
        expires_at = at + timedelta(seconds=ttl_s)
        claims = {"sub": actor.user_id, "user_id": actor.user_id, "agent_id": agent_id}
        token = self._sign(VOICE_AUDIENCE, claims, at, expires_at)
        return CallToken(token=token, agent_id=agent_id, expires_at=expires_at)

    def _sign(self, audience: str, claims: dict[str, Any], at: datetime, expires_at: datetime) -> str:
        key_id, key = self._signer.signing_key()
        standard = {
            "iss": ISSUER,
            "aud": audience,
            "iat": round(at.timestamp(), 3),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode({**standard, **claims}, key, algorithm="EdDSA", headers={"kid": key_id})
