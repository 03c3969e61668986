"""The key pair with which this machine signs the tokens of its callers.

The private key stays in the state directory; the gateway is given the public one and never sees a secret.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from voxbus.local.errors import CommandError

AUDIENCE: Final = "voxbus-voice"
DEFAULT_SUBJECT: Final = "local"


class KeyPair:
    """An Ed25519 key pair in two PEM files."""

    def __init__(self, directory: Path) -> None:
        self.private_file = directory / "voice-private.pem"
        self.public_file = directory / "voice-public.pem"

    def ensure(self) -> None:
        """Make the pair unless it is there; the private file is readable by the user alone."""
        if self.private_file.exists():
            self._write_public(self._load().public_key())
            return
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        temporary = self.private_file.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        temporary.replace(self.private_file)
        self._write_public(private.public_key())

    def issue(self, *, agent_id: str | None, ttl: timedelta, subject: str = DEFAULT_SUBJECT) -> str:
        """A signed token for a call to `agent_id`, to any agent when that is None."""
        private = self._load()
        now = datetime.now(UTC)
        claims: dict[str, object] = {"aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + ttl}
        if agent_id is not None:
            claims["agent_id"] = agent_id
        return jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": key_id(private.public_key())})

    def _load(self) -> Ed25519PrivateKey:
        try:
            key = serialization.load_pem_private_key(self.private_file.read_bytes(), password=None)
        except FileNotFoundError:
            raise CommandError(
                f"no key at {self.private_file}", "`voxbus up` makes one; or name its directory with --state-dir"
            ) from None
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise CommandError(
                f"{self.private_file} holds no Ed25519 key", "delete the file; the next `voxbus up` makes a new one"
            )
        return key

    def _write_public(self, public: Ed25519PublicKey) -> None:
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        if not self.public_file.exists() or self.public_file.read_bytes() != pem:
            self.public_file.write_bytes(pem)


def key_id(public: Ed25519PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638, RFC 8037)."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()
    return _base64url(hashlib.sha256(canonical).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
