"""Secrets that clients keep: refresh tokens and API keys. The store holds their SHA-256 only.

A token is `{prefix}{id}_{secret}`; the id finds the record, the secret has 256 random bits, so a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from voxbus.contracts.auth import API_KEY_PREFIX

REFRESH_PREFIX: Final = "vxr_"
_SECRET_BYTES: Final = 32
_PARTS: Final = re.compile(r"(?P<id>[a-z]+_[0-9a-f]{20})_(?P<secret>[A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class SecretToken:
    """A token in its parts."""

    prefix: str
    record_id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """What the client gets."""
        return f"{self.prefix}{self.record_id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What the store keeps: hex of SHA-256."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def fits(self, digest: str) -> bool:
        """Whether `digest` is of this token, in constant time."""
        return hmac.compare_digest(self.digest, digest)


def new_refresh_token(session_id: str) -> SecretToken:
    """A fresh token for a session."""
    return SecretToken(REFRESH_PREFIX, session_id, secrets.token_urlsafe(_SECRET_BYTES))


def new_api_key(key_id: str) -> SecretToken:
    """A fresh secret for an API key."""
    return SecretToken(API_KEY_PREFIX, key_id, secrets.token_urlsafe(_SECRET_BYTES))


def parse_refresh_token(text: str) -> SecretToken | None:
    """The parts of a refresh token, or None when it is none."""
    return _parse(REFRESH_PREFIX, text)


def parse_api_key(text: str) -> SecretToken | None:
    """The parts of an API key, or None when it is none."""
    return _parse(API_KEY_PREFIX, text)


def _parse(prefix: str, text: str) -> SecretToken | None:
    parts = _PARTS.fullmatch(text.removeprefix(prefix)) if text.startswith(prefix) else None
    return SecretToken(prefix, parts["id"], parts["secret"]) if parts else None
