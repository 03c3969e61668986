"""Keys for machines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from auth_stand import AuthStand, actor_of, refusal

from voxbus.auth import api_keys
from voxbus.contracts.access import Actor, Permission, Role
from voxbus.contracts.auth import (
    CreateApiKey,
    DeleteUser,
    ListApiKeys,
    NewApiKey,
    RevokeApiKey,
    UpdateUser,
    UserChange,
    VerifyApiKey,
)
from voxbus.contracts.rpc import RequestErrorCode

pytestmark = pytest.mark.integration

READ = (Permission.AGENTS_READ, Permission.CALLS_START)


async def user(auth: AuthStand, name: str = "ann") -> Actor:
    """A new user."""
    return actor_of((await auth.sign_up(f"{name}@example.org")).user)


async def make(auth: AuthStand, actor: Actor | None, **fields: Any) -> NewApiKey:
    """A new key."""
    return await auth.api_keys.create(CreateApiKey(actor=actor, **{"name": "CI", "permissions": READ, **fields}))


async def bad(auth: AuthStand, secret: str) -> bool:
    """Whether the key is refused as any bad one."""
    error = await refusal(auth.api_keys.verify(VerifyApiKey(secret=secret)))
    return (error.code, error.message) == (RequestErrorCode.UNAUTHENTICATED, "the API key is not valid")


async def test_a_key_stands_for_its_owner(auth: AuthStand) -> None:
    """With the permissions it was given and the owner's role; the store keeps its hash only."""
    actor = await user(auth)
    made = await make(auth, actor)
    verified = await auth.api_keys.verify(VerifyApiKey(secret=made.secret))
    assert verified.actor == Actor(user_id=actor.user_id, role=Role.USER, permissions=READ, api_key_id=made.key.id)
    assert made.secret.startswith(f"vxk_{made.key.id}_")
    assert made.secret.endswith(made.key.hint)
    document = await auth.store.collection("api_keys").find_one({"_id": made.key.id})
    assert made.secret[-43:] not in str(document)
    assert made.secret not in repr(made)


async def test_nobody_has_keys_without_end(auth: AuthStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has a rate limit of its own, so they are counted; one that is revoked makes room."""
    monkeypatch.setattr(api_keys, "MAX_KEYS", 2)
    actor = await user(auth)
    first, _ = [await make(auth, actor) for _ in range(2)]
    assert (await refusal(make(auth, actor))).code is RequestErrorCode.CONFLICT
    await make(auth, await user(auth, "bob"))
    await auth.api_keys.revoke(RevokeApiKey(actor=actor, api_key_id=first.key.id))
    await make(auth, actor)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"permissions": (Permission.USERS_WRITE,)}, "/permissions"),
        ({"permissions": (Permission.ACCOUNT,)}, "/permissions"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "/expires_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "/expires_at"),  # noqa: DTZ001
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(auth: AuthStand, fields: dict[str, Any], path: str) -> None:
    """More than its maker may do, `account`, an end in the past or without a time zone."""
    error = await refusal(make(auth, await user(auth), **fields))
    assert (error.code, error.problems[0].path) == (RequestErrorCode.INVALID, path)


async def test_a_key_belongs_to_somebody(auth: AuthStand) -> None:
    """The platform itself has none."""
    assert (await refusal(make(auth, None))).code is RequestErrorCode.UNAUTHENTICATED


async def test_the_secret_is_shown_once(auth: AuthStand) -> None:
    """A repeated create is a conflict, and no second key is made."""
    actor = await user(auth)
    await make(auth, actor, idempotency_key="k1")
    assert (await refusal(make(auth, actor, idempotency_key="k1"))).code is RequestErrorCode.CONFLICT
    assert len((await auth.api_keys.list(ListApiKeys(actor=actor))).items) == 1
    other = await refusal(make(auth, actor, idempotency_key="k1", name="other"))
    assert other.code is RequestErrorCode.KEY_REUSED


async def test_wrong_revoked_and_expired_keys_are_refused_alike(auth: AuthStand) -> None:
    """UNAUTHENTICATED, always with the same words."""
    actor = await user(auth)
    made = await make(auth, actor)
    short = await make(auth, actor, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert await bad(auth, "vxk_nothing")
    assert await bad(auth, made.secret[:-1] + ("A" if made.secret[-1] != "A" else "B"))
    assert await bad(auth, f"vxk_key_{'0' * 20}_{'A' * 43}")
    auth.clock.ahead = timedelta(hours=1, seconds=1)
    assert await bad(auth, short.secret)
    await auth.api_keys.verify(VerifyApiKey(secret=made.secret))
    await auth.api_keys.revoke(RevokeApiKey(actor=actor, api_key_id=made.key.id))
    assert await bad(auth, made.secret)
    assert await auth.events("api_keys", made.key.id) == ["voxbus.event.api_key.revoked.v1"]


async def test_a_key_is_as_good_as_its_owner(auth: AuthStand) -> None:
    """It loses what a former admin lost, stops when the owner is disabled, and goes with them."""
    await auth.admin("other@example.org")
    admin = await auth.admin()
    made = await make(auth, admin, permissions=(Permission.USERS_READ, Permission.AGENTS_READ))
    await auth.users.update(UpdateUser(user_id=admin.user_id, change=UserChange(role=Role.USER)))
    verified = await auth.api_keys.verify(VerifyApiKey(secret=made.secret))
    assert (verified.actor.role, verified.actor.permissions) == (Role.USER, (Permission.AGENTS_READ,))
    await auth.users.update(UpdateUser(user_id=admin.user_id, change=UserChange(enabled=False)))
    assert await bad(auth, made.secret)
    await auth.users.update(UpdateUser(user_id=admin.user_id, change=UserChange(enabled=True)))
    await auth.users.delete(DeleteUser(user_id=admin.user_id))
    assert await bad(auth, made.secret)
    assert await auth.store.collection("api_keys").count_documents({}) == 0


async def test_use_is_noted_once_a_minute(auth: AuthStand) -> None:
    """A key in use costs the store no write for each request."""
    made = await make(auth, await user(auth))
    seen = []
    for _ in range(3):
        await auth.api_keys.verify(VerifyApiKey(secret=made.secret))
        seen.append((await auth.api_keys.list(ListApiKeys(user_id=made.key.user_id))).items[0].last_used_at)
    assert seen[0] is not None
    assert seen == [seen[0]] * 3
    old = seen[0] - timedelta(minutes=2)
    await auth.store.collection("api_keys").update_one({"_id": made.key.id}, {"$set": {"last_used_at": old}})
    await auth.api_keys.verify(VerifyApiKey(secret=made.secret))
    last = (await auth.api_keys.list(ListApiKeys(user_id=made.key.user_id))).items[0].last_used_at
    assert last is not None
    assert last >= seen[0]


async def test_keys_are_seen_by_their_owner_and_admins(auth: AuthStand) -> None:
    """Others find none, and cannot revoke them: not found."""
    ann, bob, admin = await user(auth), await user(auth, "bob"), await auth.admin()
    key = (await make(auth, ann)).key
    lists = {
        "ann": ListApiKeys(actor=ann),
        "bob": ListApiKeys(actor=bob),
        "bob of ann": ListApiKeys(actor=bob, user_id=ann.user_id),
        "bob of all": ListApiKeys(actor=bob, all_users=True),
        "admin": ListApiKeys(actor=admin),
        "admin of ann": ListApiKeys(actor=admin, user_id=ann.user_id),
        "admin of all": ListApiKeys(actor=admin, all_users=True),
    }
    found = {who: [item.id for item in (await auth.api_keys.list(request)).items] for who, request in lists.items()}
    assert found == {who: [key.id] if who in {"ann", "admin of ann", "admin of all"} else [] for who in lists}
    error = await refusal(auth.api_keys.revoke(RevokeApiKey(actor=bob, api_key_id=key.id)))
    assert error.code is RequestErrorCode.NOT_FOUND
    await auth.api_keys.revoke(RevokeApiKey(actor=admin, api_key_id=key.id))
    error = await refusal(auth.api_keys.revoke(RevokeApiKey(actor=admin, api_key_id=key.id)))
    assert error.code is RequestErrorCode.NOT_FOUND
