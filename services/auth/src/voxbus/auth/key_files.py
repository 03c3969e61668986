"""Ed25519 keys as text: private ones as PEM, public ones as JWK."""

from __future__ import annotations

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import JsonValue, SecretStr


class UnreadableKeyError(Exception):
    """A private key cannot be read. The message holds nothing of it."""


def private_pem(key: Ed25519PrivateKey, passphrase: SecretStr | None) -> str:
    """PKCS #8, encrypted when there is a passphrase."""
    encryption: KeySerializationEncryption = NoEncryption()
    if passphrase:
        encryption = BestAvailableEncryption(passphrase.get_secret_value().encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def read_key(pem: str, passphrase: SecretStr | None) -> Ed25519PrivateKey:
    """A private key; one that was kept before there was a passphrase is read without it. Raises UnreadableKeyError."""
    encrypted = "ENCRYPTED" in pem.partition("\n")[0]
    if encrypted and passphrase is None:
        raise UnreadableKeyError("it is encrypted, and VOXBUS_SIGNING_KEY_PASSPHRASE is not set")
    password = passphrase.get_secret_value().encode() if encrypted and passphrase else None
    try:
        key = load_pem_private_key(pem.encode(), password)
    except ValueError:
        raise UnreadableKeyError("VOXBUS_SIGNING_KEY_PASSPHRASE does not fit") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnreadableKeyError("it is no Ed25519 key")
    return key


def public_jwk(key: Ed25519PublicKey) -> dict[str, JsonValue]:
    """RFC 8037, with `kid`, `use` and `alg`."""
    return {"kty": "OKP", "crv": "Ed25519", "x": _x(key), "kid": thumbprint(key), "use": "sig", "alg": "EdDSA"}


def thumbprint(key: Ed25519PublicKey) -> str:
    """RFC 7638."""
    canonical = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": _x(key)}, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _x(key: Ed25519PublicKey) -> str:
    return _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
