"""The collection `signing_keys`: one document for each key that signs, did, or will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue
from pymongo.errors import DuplicateKeyError

from voxbus.auth.outgoing import Outgoing
from voxbus.contracts.auth_events import SigningKeysChanged
from voxbus.runtime.store import DocumentStore, outbox
from voxbus.runtime.store.documents import now

SIGNING_KEYS: Final = "signing_keys"
_LIVE: Final[dict[str, Any]] = {"deleted": {"$ne": True}}


@dataclass(frozen=True)
class StoredKey:
    """A key as it is kept."""

    id: str
    """The thumbprint of the public key."""
    generation: int
    """1, 2, …: two processes cannot both make the next one."""
    private_pem: str = field(repr=False)
    """PKCS #8, encrypted where there is a passphrase."""
    public_jwk: dict[str, JsonValue]
    signs_from: datetime
    """It signs from then until the next generation does."""


class SigningKeyRepository:
    """Reads and writes signing keys."""

    def __init__(self, store: DocumentStore, outgoing: Outgoing) -> None:
        self._keys = store.collection(SIGNING_KEYS)
        self._outgoing = outgoing

    async def all(self) -> list[StoredKey]:
        """Every key, the oldest first."""
        found = await self._keys.find(_LIVE).sort("generation", 1).to_list()
        return [
            StoredKey(
                id=document["_id"],
                generation=document["generation"],
                private_pem=document["private_pem"],
                public_jwk=document["public_jwk"],
                signs_from=document["signs_from"],
            )
            for document in found
        ]

    async def add(self, key: StoredKey, known: Sequence[str]) -> bool:
        """Keep a new key and tell it together with those `known`; False: another process made this generation."""
        created = now()
        document = {
            "_id": key.id,
            "revision": 1,
            "created_at": created,
            "updated_at": created,
            "generation": key.generation,
            "private_pem": key.private_pem,
            "public_jwk": key.public_jwk,
            "signs_from": key.signs_from,
            "outbox": [self._outgoing.entry(key.id, SigningKeysChanged(key_ids=(*known, key.id)))],
        }
        try:
            await self._keys.insert_one(document)
        except DuplicateKeyError:
            return False
        self._outgoing.nudge(SIGNING_KEYS, key.id)
        return True

    async def retire(self, key_id: str, left: Sequence[str]) -> None:
        """Remove a key whose last token has expired, and tell those `left`."""
        update = outbox.deletion(self._outgoing.event(key_id, SigningKeysChanged(key_ids=tuple(left))))
        update["$unset"]["private_pem"] = ""
        await self._keys.update_one({"_id": key_id, **_LIVE}, update)
        self._outgoing.nudge(SIGNING_KEYS, key_id)
