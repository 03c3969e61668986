"""What admins do with users; everybody else sees themselves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from pymongo.errors import DuplicateKeyError

from voxbus.auth.accounts import check_password, checked_email
from voxbus.auth.api_key_repository import ApiKeyRepository
from voxbus.auth.failures import conflict, email_taken, forbidden, stale
from voxbus.auth.passwords import Passwords
from voxbus.auth.sessions import Sessions
from voxbus.auth.user_repository import NewUser, UserRecord, UserRepository, UserUpdate
from voxbus.contracts.access import Actor, Role
from voxbus.contracts.auth import (
    CREATE_USER,
    CreatedUser,
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    UpdateUser,
    User,
    UserChange,
    UserPage,
)
from voxbus.contracts.rpc import Done, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, not_found
from voxbus.runtime.store.documents import idempotency

log = structlog.get_logger(__name__)

_TRIES: Final = 12
_PAUSE_S: Final = 0.15
T = TypeVar("T")


class Users:
    """Use cases of admins with users."""

    def __init__(
        self, users: UserRepository, sessions: Sessions, api_keys: ApiKeyRepository, passwords: Passwords
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._api_keys = api_keys
        self._passwords = passwords

    async def get(self, request: GetUser) -> User:
        """See the contract."""
        return (await self._visible(request.actor, request.user_id)).user

    async def list(self, request: ListUsers) -> UserPage:
        """See the contract. Who is no admin finds themselves only."""
        actor = request.actor
        items, cursor = await self._users.page(request, None if actor is None or actor.is_admin else actor.user_id)
        return UserPage(items=tuple(items), next_cursor=cursor)

    async def create(self, request: CreateUser) -> CreatedUser:
        """See the contract."""
        _need_admin(request.actor)
        email = checked_email(request.email)
        check_password(request.password, email)
        key = None
        if request.idempotency_key:
            # Without the password: this hash is a fast one. `_same_password` compares it instead.
            content = {"email": email, "role": request.role.value}
            key = idempotency(request.actor, CREATE_USER, request.idempotency_key, content)
        hashed = await self._passwords.hash(request.password)
        try:
            new = NewUser(email=email, password=hashed, role=request.role, idempotency=key)
            record, replayed = await self._users.create(new)
        except DuplicateKeyError:
            raise email_taken() from None
        if replayed and not await self._passwords.matches(request.password, record.password):
            raise RequestFailedError(RequestErrorCode.KEY_REUSED, "the idempotency key was used with other content")
        if not replayed:
            log.info("user created", user_id=record.user.id, role=record.user.role, by=_name(request.actor))
        return CreatedUser(user=record.user, replayed=replayed)

    async def update(self, request: UpdateUser) -> User:
        """See the contract."""
        change, hashed = request.change, None
        for _ in range(_TRIES):
            record = await self._changeable(request.actor, request.user_id, request.expected_revision)
            email = checked_email(change.email) if change.email is not None else record.user.email
            if change.password is not None:
                check_password(change.password, email)
                hashed = hashed or await self._passwords.hash(change.password)
            update = _difference(record.user, change, email, hashed)
            if update == UserUpdate():
                return record.user
            changed = await self._apply(record, update)
            if changed:
                if update.ends_sessions:
                    await self._sessions.end_all(record.user.id)
                log.info(
                    "user updated", user_id=changed.user.id, fields=sorted(update.fields()), by=_name(request.actor)
                )
                return changed.user
        raise _busy()

    async def delete(self, request: DeleteUser) -> Done:
        """See the contract."""
        for _ in range(_TRIES):
            record = await self._changeable(request.actor, request.user_id, request.expected_revision)
            if await self._remove(record):
                await self._sessions.end_all(record.user.id)
                await self._api_keys.forget_all(record.user.id)
                log.info("user deleted", user_id=record.user.id, by=_name(request.actor))
                return Done()
        raise _busy()

    async def _visible(self, actor: Actor | None, user_id: str) -> UserRecord:
        record = await self._users.by_id(user_id) if actor is None or actor.sees(user_id) else None
        if record is None:
            raise not_found("user")
        return record

    async def _changeable(self, actor: Actor | None, user_id: str, expected_revision: int | None) -> UserRecord:
        record = await self._visible(actor, user_id)
        _need_admin(actor)
        if expected_revision is not None and record.user.revision != expected_revision:
            raise stale("user")
        return record

    async def _apply(self, record: UserRecord, update: UserUpdate) -> UserRecord | None:
        """The changed user; None: look again and try again."""
        leaves = update.role is Role.USER or update.enabled is False

        async def change(mark: str | None) -> UserRecord | None:
            return await self._users.change(record, update, mark=mark)

        try:
            return await self._guarded(record, change) if leaves else await change(None)
        except DuplicateKeyError:
            raise email_taken() from None

    async def _remove(self, record: UserRecord) -> bool:
        async def delete(mark: str | None) -> bool:
            return await self._users.delete(record, mark=mark)

        return bool(await self._guarded(record, delete))

    async def _guarded(self, record: UserRecord, step: Callable[[str | None], Awaitable[T]]) -> T | None:
        """Do what ends an admin only while others stay; None: look again and try again."""
        if not record.is_enabled_admin:
            return await step(None)
        mark = await self._may_leave(record)
        if mark is None:
            return None
        done = None
        try:
            done = await step(mark)
        finally:
            if not done:
                await self._users.unmark(record, mark)
        return done

    async def _may_leave(self, record: UserRecord) -> str | None:
        """Leave to stop being an admin, as a mark on the user; None: try again. Raises CONFLICT for the last one.

        See `UserRepository.mark_leaving`.
        """
        mark = await self._users.mark_leaving(record)
        staying, leaving = await self._users.other_admins(record) if mark else (0, 1)
        if mark and staying:
            return mark
        if mark:
            await self._users.unmark(record, mark)
        if not leaving:
            raise conflict("nobody would be left to administrate")
        await asyncio.sleep(random.uniform(0.01, _PAUSE_S))  # noqa: S311  # two who wait for each other part by chance
        return None


def _difference(user: User, change: UserChange, email: str, hashed: str | None) -> UserUpdate:
    enabled = change.enabled if change.enabled is not user.enabled else None
    return UserUpdate(
        email=email if email != user.email else None,
        role=change.role if change.role is not user.role else None,
        enabled=enabled,
        password=hashed,
        ends_sessions=hashed is not None or enabled is False,
    )


def _need_admin(actor: Actor | None) -> None:
    if actor is not None and not actor.is_admin:
        raise forbidden("users are managed by admins")


def _name(actor: Actor | None) -> str:
    return actor.user_id if actor else "platform"


def _busy() -> RequestFailedError:
    return conflict("the user is being changed by somebody else, try again", retryable=True)
