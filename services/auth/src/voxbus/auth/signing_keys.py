"""The keys that sign tokens: which one signs now, which ones are published, when the next one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pymongo.errors import PyMongoError

from voxbus.auth.failures import forbidden
from voxbus.auth.key_files import UnreadableKeyError, private_pem, public_jwk, read_key, thumbprint
from voxbus.auth.settings import AuthSettings
from voxbus.auth.signing_key_repository import SigningKeyRepository, StoredKey
from voxbus.contracts.auth import GetJwks, JwkSet, RotateKeys
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

log = structlog.get_logger(__name__)

KEPT_AFTER: Final = timedelta(hours=2)
"""After its successor has begun to sign: the longest life of a token, 1 h, and as much for clocks and processes that lag."""


@dataclass(frozen=True)
class _Key:
    stored: StoredKey
    private: Ed25519PrivateKey | None
    """None: it cannot be read here, and verifies only."""


class SigningKeys:
    """The keys as this process knows them, never older than `signing_key_check_s` while the store answers.

    Keys are kept in the store, so that all processes sign with the same ones. A new key is published for `signing_key_lead_s`
    before it signs, and an old one stays published until its last token has expired: nobody is logged out.
    """

    def __init__(self, repository: SigningKeyRepository, settings: AuthSettings, clock: Callable[[], datetime]) -> None:
        self._repository = repository
        self._passphrase = settings.signing_key_passphrase
        self._life = timedelta(days=settings.signing_key_days)
        self._lead = timedelta(seconds=settings.signing_key_lead_s)
        self._check_s = settings.signing_key_check_s
        self._clock = clock
        self._keys: list[_Key] = []
        self._reading = asyncio.Lock()
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys, make the first one where there is none, and begin to watch. Raises UnreadableKeyError."""
        await self.reload()
        if not self._keys:
            await self._add_next(self._clock())
        if all(key.private is None for key in self._keys):
            raise UnreadableKeyError("no signing key can be read with VOXBUS_SIGNING_KEY_PASSPHRASE as it is set here")
        self._task = asyncio.create_task(self._watch(), name="signing-keys")

    async def stop(self) -> None:
        """Watch no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_again(self) -> None:
        """Another process changed the keys: read them soon."""
        self._look.set()

    def signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """The newest key whose time has come. Raises UNAVAILABLE when there is none."""
        at = self._clock()
        readable = [(key.stored, key.private) for key in self._keys if key.private is not None]
        if not readable:
            raise RequestFailedError(RequestErrorCode.UNAVAILABLE, "there is no signing key", retryable=True)
        due = [(stored, private) for stored, private in readable if stored.signs_from <= at]
        stored, private = due[-1] if due else readable[0]
        return stored.id, private

    async def jwks(self, _: GetJwks) -> JwkSet:
        """The public keys, of this moment while the store answers: who asks was often just told that they changed."""
        try:
            await self.reload()
        except PyMongoError as error:
            log.warning("signing keys not read, answering those known", error=type(error).__name__)
        return self._published()

    async def rotate(self, request: RotateKeys) -> JwkSet:
        """See the contract. While the next key waits for its time there is no other: all are answered with that one."""
        if request.actor is not None and not request.actor.is_admin:
            raise forbidden("signing keys are rotated by admins")
        await self.reload()
        at = self._clock()
        # Else whoever rotates in a loop makes more keys than the message to the gateways holds.
        if all(key.stored.signs_from <= at for key in self._keys):
            await self._add_next(at + self._lead)
        return self._published()

    async def tend(self) -> None:
        """Read the keys, make the next one when it is time, and remove those nobody needs."""
        await self.reload()
        at = self._clock()
        if self._keys and at >= self._keys[-1].stored.signs_from + self._life - self._lead:
            await self._add_next(at + self._lead)
        await self._retire(at)

    async def reload(self) -> None:
        """Read the keys from the store."""
        async with self._reading:  # so that what was read first never replaces what was read later
            known = {key.stored.id: key for key in self._keys}
            self._keys = [known.get(stored.id) or self._read(stored) for stored in await self._repository.all()]

    async def _add_next(self, signs_from: datetime) -> None:
        private = Ed25519PrivateKey.generate()
        key = StoredKey(
            id=thumbprint(private.public_key()),
            generation=self._keys[-1].stored.generation + 1 if self._keys else 1,
            private_pem=private_pem(private, self._passphrase),
            public_jwk=public_jwk(private.public_key()),
            signs_from=signs_from,
        )
        if await self._repository.add(key, self._ids(self._keys)):
            log.info("signing key made", key_id=key.id, generation=key.generation, signs_from=signs_from.isoformat())
        await self.reload()

    async def _retire(self, at: datetime) -> None:
        for key, successor in zip(self._keys, self._keys[1:], strict=False):
            if at >= successor.stored.signs_from + KEPT_AFTER:
                left = [other for other in self._keys if other.stored.generation > key.stored.generation]
                await self._repository.retire(key.stored.id, self._ids(left))
                log.info("signing key retired", key_id=key.stored.id, generation=key.stored.generation)
                self._keys = left

    async def _watch(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._look.wait(), self._check_s)
            except TimeoutError:
                pass
            self._look.clear()
            try:
                await self.tend()
            except PyMongoError as error:
                log.debug("signing keys not read", error=type(error).__name__)
            except Exception:
                log.exception("tending the signing keys failed")  # the next round may succeed; the known keys go on

    def _read(self, stored: StoredKey) -> _Key:
        try:
            return _Key(stored, read_key(stored.private_pem, self._passphrase))
        except UnreadableKeyError as error:
            log.error("signing key unreadable", key_id=stored.id, reason=str(error))  # noqa: TRY400
            return _Key(stored, None)

    def _published(self) -> JwkSet:
        return JwkSet(keys=tuple(key.stored.public_jwk for key in self._keys))

    def _ids(self, keys: Sequence[_Key]) -> list[str]:
        return [key.stored.id for key in keys]
