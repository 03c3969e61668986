"""Hashes of passwords: argon2id, in threads, few at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from voxbus.auth.domain import normalise_password
from voxbus.auth.settings import AuthSettings
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

_PATIENCE_S: Final = 1.5
"""With the time of a hash, below the time after which the sender of a request stops waiting: a later answer helps nobody."""
_MOST_AT_ONCE: Final = 16
"""Running and waiting; fewer than the requests a process works on, so that logins never hold up the rest."""
T = TypeVar("T")


class Passwords:
    """Makes and checks hashes.

    Each takes a tenth of a second and `argon2_memory_kib` on purpose, so they run in a few threads of their own: a burst of
    logins waits its turn, and beyond 16 of them, or 1.5 s, is told to come back: RequestFailedError (UNAVAILABLE, retryable).
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        # One uses `parallelism` cores already.
        concurrency = settings.argon2_concurrency or max(1, (os.cpu_count() or 1) // settings.argon2_parallelism)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="argon2")
        self._free = asyncio.Semaphore(concurrency)
        self._at_once = 0
        # Checked when there is no user, so that the answer takes as long as with one.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash to keep, with its parameters and salt in it."""
        return await self._run(partial(self._hasher.hash, normalise_password(password)))

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether `hashed` is of this password. None (there is no such user): takes as long, and is False."""
        right = await self._run(partial(self._verify, hashed or self._nobody, normalise_password(password)))
        return right and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            return False  # a hash in the store that is none lets nobody in

    async def _run(self, work: Callable[[], T]) -> T:
        if self._at_once >= _MOST_AT_ONCE:
            raise _busy()
        self._at_once += 1
        try:
            await asyncio.wait_for(self._free.acquire(), _PATIENCE_S)
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            finally:
                self._free.release()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._at_once -= 1


def _busy() -> RequestFailedError:
    message = "too many passwords are being checked, try again"
    return RequestFailedError(RequestErrorCode.UNAVAILABLE, message, retryable=True)
