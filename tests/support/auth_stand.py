"""The use cases of auth on a real store, in the test's own process, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voxbus.auth.accounts import Accounts
from voxbus.auth.admins import Admins
from voxbus.auth.api_key_repository import ApiKeyRepository
from voxbus.auth.api_keys import ApiKeys
from voxbus.auth.migrations import MIGRATIONS
from voxbus.auth.outgoing import Outgoing
from voxbus.auth.passwords import Passwords
from voxbus.auth.session_repository import SessionRepository
from voxbus.auth.sessions import Sessions
from voxbus.auth.settings import AuthSettings
from voxbus.auth.signing_key_repository import SigningKeyRepository
from voxbus.auth.signing_keys import SigningKeys
from voxbus.auth.tokens import TokenIssuer
from voxbus.auth.user_repository import UserRepository
from voxbus.auth.users import Users
from voxbus.contracts.access import ROLE_PERMISSIONS, Actor, Role
from voxbus.contracts.auth import Session, SignUp, User
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import RequestError
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.documents import now
from voxbus.runtime.store.migrations import migrate

PASSWORD = "a long walk along the harbour"
CHEAP = {"argon2_memory_kib": 1024, "argon2_time_cost": 1, "argon2_parallelism": 1}


class Clock:
    """The time of the use cases: now, and what the test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return now() + self.ahead


class CountedPasswords(Passwords):
    """Passwords that count what they do."""

    def __init__(self, settings: AuthSettings) -> None:
        super().__init__(settings)
        self.checked: list[str] = []
        """The hash of each check, whatever became of it."""

    def _verify(self, hashed: str, password: str) -> bool:
        self.checked.append(hashed)
        return super()._verify(hashed, password)


@dataclass
class AuthStand:
    """One process's worth of auth."""

    store: DocumentStore
    settings: AuthSettings
    clock: Clock
    passwords: CountedPasswords
    user_repository: UserRepository
    users: Users
    accounts: Accounts
    api_keys: ApiKeys
    keys: SigningKeys
    tokens: TokenIssuer
    admins: Admins

    async def sign_up(self, email: str, password: str = PASSWORD) -> Session:
        """A new user, logged in."""
        return await self.accounts.sign_up(SignUp(email=email, password=password))

    async def admin(self, email: str = "root@example.org") -> Actor:
        """A new admin."""
        return actor_of((await self.admins.create(email, PASSWORD)).user)

    async def events(self, collection: str, document_id: str) -> list[str]:
        """The subjects that wait in a document."""
        document = await self.store.collection(collection).find_one({"_id": document_id})
        return [entry["subject"] for entry in document["outbox"]] if document else []


def actor_of(user: User, session_id: str | None = None) -> Actor:
    """Who a logged-in user is to the services."""
    return Actor(user_id=user.id, role=user.role, permissions=ROLE_PERMISSIONS[user.role], session_id=session_id)


def someone(role: Role = Role.USER) -> Actor:
    """Somebody auth never heard of."""
    return Actor(user_id=new_id("user"), role=role, permissions=ROLE_PERMISSIONS[role])


@asynccontextmanager
async def auth_stand(mongo_url: str, database: str | None = None, **options: Any) -> AsyncIterator[AuthStand]:
    """A stand on a database of its own, or beside another one on the same."""
    fixed = {"mongo_url": mongo_url, "mongo_database": database or new_id("auth")}
    settings = AuthSettings(**{**fixed, **CHEAP, **options})
    store = DocumentStore(settings, "auth")
    clock = Clock()
    outgoing = Outgoing("/auth/test", lambda _collection, _id: None)
    users, api_keys = UserRepository(store, outgoing), ApiKeyRepository(store, outgoing)
    passwords = CountedPasswords(settings)
    keys = SigningKeys(SigningKeyRepository(store, outgoing), settings, clock)
    tokens = TokenIssuer(keys, access_ttl_s=settings.access_ttl_s, clock=clock)
    sessions = Sessions(SessionRepository(store), users, tokens, settings, clock)
    try:
        await migrate(store, "auth", MIGRATIONS)
        await keys.start()
        yield AuthStand(
            store=store,
            settings=settings,
            clock=clock,
            passwords=passwords,
            user_repository=users,
            users=Users(users, sessions, api_keys, passwords),
            accounts=Accounts(users, sessions, passwords, signup_enabled=settings.signup_enabled, clock=clock),
            api_keys=ApiKeys(api_keys, users, clock),
            keys=keys,
            tokens=tokens,
            admins=Admins(users, passwords),
        )
        if database is None:
            await store.database.client.drop_database(store.database.name)
    finally:
        await keys.stop()
        passwords.close()
        await store.stop()


async def refusal(request: Awaitable[Any]) -> RequestError:
    """The failure of a request that must fail."""
    try:
        result = await request
    except RequestFailedError as error:
        return error.error
    raise AssertionError(f"it was answered: {type(result).__name__}")
