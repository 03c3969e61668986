"""The collection `users`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from pymongo import ReturnDocument

from voxbus.auth.outgoing import Outgoing
from voxbus.contracts.access import Role
from voxbus.contracts.auth import ListUsers, User
from voxbus.contracts.auth_events import UserCreated, UserDeleted, UserUpdated
from voxbus.contracts.base import new_id
from voxbus.runtime.store import DocumentStore, outbox, paging
from voxbus.runtime.store.documents import create_once, now

USERS: Final = "users"
_LIVE: Final[dict[str, Any]] = {"deleted": {"$ne": True}}
_ADMINS: Final[dict[str, Any]] = {"role": Role.ADMIN.value, "enabled": True, **_LIVE}
_MARK_LIFE: Final = timedelta(seconds=10)
_SORTS: Final = {"created_at": "created_at", "email": "email"}


@dataclass(frozen=True)
class UserRecord:
    """A user with what only auth knows of them."""

    user: User
    password: str = field(repr=False)
    """The hash."""
    session_epoch: int
    """Sessions of an earlier epoch are void …"""
    kept_session: str | None
    """… but for this one."""

    def accepts(self, session_id: str, epoch: int) -> bool:
        """Whether a session begun in `epoch` is still good."""
        return self.user.enabled and (epoch >= self.session_epoch or session_id == self.kept_session)

    @property
    def is_enabled_admin(self) -> bool:
        """Whether they can administrate now."""
        return self.user.enabled and self.user.role is Role.ADMIN


@dataclass(frozen=True)
class NewUser:
    """What a user is made of."""

    email: str
    password: str = field(repr=False)
    role: Role
    idempotency: dict[str, str] | None = None


@dataclass(frozen=True)
class UserUpdate:
    """A change of a user; what is None stays."""

    email: str | None = None
    role: Role | None = None
    enabled: bool | None = None
    password: str | None = field(default=None, repr=False)
    """The hash."""
    ends_sessions: bool = False
    kept_session: str | None = None
    """The session that goes on all the same."""

    def fields(self) -> dict[str, Any]:
        """What changes in the document."""
        values = {"email": self.email, "role": self.role and self.role.value, "enabled": self.enabled}
        return {name: value for name, value in {**values, "password": self.password}.items() if value is not None}

    def event(self, user: User) -> UserUpdated:
        """What others are told when `user` changes so."""
        role = user.role if self.role is None else self.role
        enabled = user.enabled if self.enabled is None else self.enabled
        access_changed = role is not user.role or enabled is not user.enabled or self.ends_sessions
        return UserUpdated(
            user_id=user.id, role=role, enabled=enabled, access_changed=access_changed, revision=user.revision + 1
        )


class UserRepository:
    """Reads and writes users. Every change takes the record it is based on, and answers None when that is out of date."""

    def __init__(self, store: DocumentStore, outgoing: Outgoing) -> None:
        self._users = store.collection(USERS)
        self._outgoing = outgoing

    async def by_id(self, user_id: str) -> UserRecord | None:
        """The user of an id."""
        found = await self._users.find_one({"_id": user_id, **_LIVE})
        return _record(found) if found else None

    async def by_email(self, email: str) -> UserRecord | None:
        """The user of a normalised email."""
        found = await self._users.find_one({"email": email, **_LIVE})
        return _record(found) if found else None

    async def has_admin(self) -> bool:
        """Whether anybody can administrate now."""
        return await self._users.count_documents(_ADMINS, limit=1) > 0

    async def page(self, request: ListUsers, only: str | None) -> tuple[list[User], str | None]:
        """A page of users; `only`: of this one."""
        where: dict[str, Any] = dict(_LIVE)
        if only is not None:
            where["_id"] = only
        if request.role is not None:
            where["role"] = request.role.value
        if request.enabled is not None:
            where["enabled"] = request.enabled
        if request.email:
            where["email"] = {"$regex": re.escape(request.email.strip().lower())}
        found, cursor = await paging.find_page(
            self._users, where=where, request=request, sorts=_SORTS, default="-created_at"
        )
        return [_user(document) for document in found], cursor

    async def create(self, new: NewUser) -> tuple[UserRecord, bool]:
        """Keep a new user, or answer the one its idempotency key made before (then the second is True).

        Raises DuplicateKeyError when the email is taken.
        """
        created = now()
        user_id = new_id("user")
        document: dict[str, Any] = {
            "_id": user_id,
            "revision": 1,
            "created_at": created,
            "updated_at": created,
            "email": new.email,
            "password": new.password,
            "role": new.role.value,
            "enabled": True,
            "last_login_at": None,
            "session_epoch": 0,
            "kept_session": None,
            "outbox": [self._outgoing.entry(user_id, UserCreated(user_id=user_id, role=new.role))],
        }
        if new.idempotency:
            document["idempotency"] = new.idempotency
        kept, replayed = await create_once(self._users, document)
        self._outgoing.nudge(USERS, kept["_id"])
        return _record(kept), replayed

    async def change(self, record: UserRecord, change: UserUpdate, *, mark: str | None = None) -> UserRecord | None:
        """Apply a change with its event. `mark`: only while this mark of `mark_leaving` stands."""
        user = record.user
        fields = change.fields()
        update: dict[str, Any] = {
            "$set": {**fields, "updated_at": now()},
            "$inc": {"revision": 1},
            "$push": {"outbox": self._outgoing.entry(user.id, change.event(user))},
        }
        if change.ends_sessions:
            update["$inc"]["session_epoch"] = 1
            update["$set"]["kept_session"] = change.kept_session
        return await self._apply(record, update, mark)

    async def delete(self, record: UserRecord, *, mark: str | None = None) -> bool:
        """Leave a tombstone, which goes when its event is published; the email is free at once."""
        user_id = record.user.id
        update = outbox.deletion(self._outgoing.event(user_id, UserDeleted(user_id=user_id)))
        update["$unset"] |= {"email": "", "password": ""}
        deleted = await self._users.update_one(self._unchanged(record, mark), update)
        self._outgoing.nudge(USERS, user_id)
        return deleted.modified_count == 1

    async def logged_in(self, record: UserRecord, new_hash: str | None) -> None:
        """Note a login, and a hash of the same password with today's parameters. Not a change: the revision stays."""
        await self._users.update_one({"_id": record.user.id, **_LIVE}, {"$set": {"last_login_at": now()}})
        if new_hash:
            fits = {"_id": record.user.id, "password": record.password}
            await self._users.update_one(fits, {"$set": {"password": new_hash}})

    async def mark_leaving(self, record: UserRecord) -> str | None:
        """Announce that an admin is about to be no admin; None when the record is out of date or already marked.

        The mark, which `other_admins` does not count, and the look at the others after it make sure that two admins who remove
        each other at the same moment don't both succeed, without a lock: at least one sees the other's mark.
        """
        mark = new_id("mark")
        unmarked = {"$or": [{"leaving": None}, {"leaving.at": {"$lt": now() - _MARK_LIFE}}]}
        update = {"$set": {"leaving": {"mark": mark, "at": now()}}}
        marked = await self._users.update_one({**self._unchanged(record, None), **unmarked}, update)
        return mark if marked.modified_count else None

    async def unmark(self, record: UserRecord, mark: str) -> None:
        """Take a mark back."""
        await self._users.update_one({"_id": record.user.id, "leaving.mark": mark}, {"$unset": {"leaving": ""}})

    async def other_admins(self, record: UserRecord) -> tuple[int, int]:
        """How many enabled admins there are beside this one: those who stay, and those marked as leaving."""
        # A mark whose process died is taken away before it is ignored, so that its owner, if it lives after all, fails.
        old = {"leaving.at": {"$lt": now() - _MARK_LIFE}}
        await self._users.update_many({**_ADMINS, **old}, {"$unset": {"leaving": ""}})
        others = {**_ADMINS, "_id": {"$ne": record.user.id}}
        staying = await self._users.count_documents({**others, "leaving": None}, limit=1)
        return staying, await self._users.count_documents({**others, "leaving": {"$ne": None}}, limit=1)

    async def _apply(self, record: UserRecord, update: dict[str, Any], mark: str | None) -> UserRecord | None:
        if mark:
            update["$unset"] = {"leaving": ""}
        changed = await self._users.find_one_and_update(
            self._unchanged(record, mark), update, return_document=ReturnDocument.AFTER
        )
        self._outgoing.nudge(USERS, record.user.id)
        return _record(changed) if changed else None

    def _unchanged(self, record: UserRecord, mark: str | None) -> dict[str, Any]:
        filters: dict[str, Any] = {"_id": record.user.id, "revision": record.user.revision, **_LIVE}
        return {**filters, "leaving.mark": mark} if mark else filters


def _record(document: Mapping[str, Any]) -> UserRecord:
    return UserRecord(
        user=_user(document),
        password=document["password"],
        session_epoch=document["session_epoch"],
        kept_session=document["kept_session"],
    )


def _user(document: Mapping[str, Any]) -> User:
    return User(
        id=document["_id"],
        email=document["email"],
        role=document["role"],
        enabled=document["enabled"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        last_login_at=document["last_login_at"],
        revision=document["revision"],
    )
