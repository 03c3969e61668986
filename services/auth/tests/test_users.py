"""Admins and users."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import jwt
import pytest
from auth_stand import PASSWORD, AuthStand, actor_of, auth_stand, refusal, someone
from pymongo.errors import DuplicateKeyError

from voxbus.auth.admins import AdminError
from voxbus.contracts.access import Role
from voxbus.contracts.auth import (
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    LogIn,
    UpdateUser,
    User,
    UserChange,
)
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store.documents import now

pytestmark = pytest.mark.integration

OTHER_PASSWORD = "another walk along the river"


async def test_admins_create_users(auth: AuthStand) -> None:
    """They can log in; a second one of the same email is a conflict."""
    admin = await auth.admin()
    request = CreateUser(actor=admin, email="Ann@example.org", password=PASSWORD, role=Role.USER)
    made = await auth.users.create(request)
    assert not made.replayed
    await auth.accounts.log_in(LogIn(email=made.user.email, password=PASSWORD))
    assert (await refusal(auth.users.create(request))).code is RequestErrorCode.CONFLICT


async def test_a_create_may_be_repeated(auth: AuthStand) -> None:
    """The same key answers the same user; with other content, also another password, the key is refused."""
    admin = await auth.admin()
    request = CreateUser(actor=admin, email="ann@example.org", password=PASSWORD, idempotency_key="k1")
    first, *others = await asyncio.gather(*(auth.users.create(request) for _ in range(4)))
    assert {made.user.id for made in others} == {first.user.id}
    assert sum(made.replayed for made in (first, *others)) == 3
    for other in ({"email": "bob@example.org"}, {"password": OTHER_PASSWORD}, {"role": Role.ADMIN}):
        error = await refusal(auth.users.create(request.model_copy(update=other)))
        assert error.code is RequestErrorCode.KEY_REUSED


async def test_users_see_themselves_only(auth: AuthStand) -> None:
    """Others are not found, as if absent; admins see all."""
    ann, bob = (await auth.sign_up("ann@example.org")).user, (await auth.sign_up("bob@example.org")).user
    admin, me = await auth.admin(), actor_of(ann)
    assert (await auth.users.get(GetUser(actor=me, user_id=ann.id))).id == ann.id
    assert (await auth.users.get(GetUser(actor=admin, user_id=bob.id))).id == bob.id
    hidden = await refusal(auth.users.get(GetUser(actor=me, user_id=bob.id)))
    absent = await refusal(auth.users.get(GetUser(actor=me, user_id="user_0")))
    assert hidden == absent
    assert hidden.code is RequestErrorCode.NOT_FOUND
    assert [user.id for user in (await auth.users.list(ListUsers(actor=me))).items] == [ann.id]
    assert len((await auth.users.list(ListUsers(actor=admin))).items) == 3


async def test_users_change_nobody(auth: AuthStand) -> None:
    """Not themselves either: that is for admins."""
    ann, bob = (await auth.sign_up("ann@example.org")).user, (await auth.sign_up("bob@example.org")).user
    me, change = actor_of(ann), UserChange(role=Role.ADMIN)
    forbidden = [
        auth.users.update(UpdateUser(actor=me, user_id=ann.id, change=change)),
        auth.users.delete(DeleteUser(actor=me, user_id=ann.id)),
        auth.users.create(CreateUser(actor=me, email="c@example.org", password=PASSWORD)),
    ]
    assert {(await refusal(request)).code for request in forbidden} == {RequestErrorCode.FORBIDDEN}
    hidden = [
        auth.users.update(UpdateUser(actor=me, user_id=bob.id, change=change)),
        auth.users.delete(DeleteUser(actor=me, user_id=bob.id)),
    ]
    assert {(await refusal(request)).code for request in hidden} == {RequestErrorCode.NOT_FOUND}


async def test_lists_are_filtered_sorted_and_paged(auth: AuthStand) -> None:
    """By role, state and part of the email; pages join without gap or repetition."""
    admin = await auth.admin("root@example.org")
    for number in range(5):
        await auth.users.create(CreateUser(actor=admin, email=f"u{number}@team.example", password=PASSWORD))
    found: list[User] = []
    cursor = None
    while True:
        request = ListUsers(
            actor=admin, email="TEAM.", role=Role.USER, enabled=True, sort="email", limit=2, cursor=cursor
        )
        page = await auth.users.list(request)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [user.email for user in found] == [f"u{number}@team.example" for number in range(5)]
    assert (await auth.users.list(ListUsers(actor=admin, email=".*"))).items == ()
    assert (await auth.users.list(ListUsers(actor=admin, enabled=False))).items == ()


async def test_no_update_is_lost(auth: AuthStand) -> None:
    """A stale revision is refused; without one concurrent changes of different fields all arrive."""
    admin = await auth.admin()
    ann = (await auth.sign_up("ann@example.org")).user
    changed = await auth.users.update(
        UpdateUser(actor=admin, user_id=ann.id, expected_revision=1, change=UserChange(enabled=False))
    )
    assert changed.revision == 2
    stale = UpdateUser(actor=admin, user_id=ann.id, expected_revision=1, change=UserChange(enabled=True))
    assert (await refusal(auth.users.update(stale))).code is RequestErrorCode.STALE
    changes = [UserChange(enabled=True), UserChange(role=Role.ADMIN), UserChange(email="lee@example.org")]
    await asyncio.gather(
        *(auth.users.update(UpdateUser(actor=admin, user_id=ann.id, change=change)) for change in changes)
    )
    seen = await auth.users.get(GetUser(user_id=ann.id))
    assert (seen.enabled, seen.role, seen.email, seen.revision) == (True, Role.ADMIN, "lee@example.org", 5)


async def test_what_changes_nothing_is_no_change(auth: AuthStand) -> None:
    """The revision stays and nothing is told."""
    ann = (await auth.sign_up("ann@example.org")).user
    same = UserChange(email="ANN@example.org", role=Role.USER, enabled=True)
    assert await auth.users.update(UpdateUser(user_id=ann.id, change=same)) == ann
    assert len(await auth.events("users", ann.id)) == 1


async def test_an_email_in_use_is_refused(auth: AuthStand) -> None:
    """CONFLICT; that of a deleted user is free again."""
    ann, bob = (await auth.sign_up("ann@example.org")).user, (await auth.sign_up("bob@example.org")).user
    change = UpdateUser(user_id=bob.id, change=UserChange(email="ann@example.org"))
    assert (await refusal(auth.users.update(change))).code is RequestErrorCode.CONFLICT
    await auth.users.delete(DeleteUser(user_id=ann.id))
    assert (await auth.users.update(change)).email == "ann@example.org"


async def test_a_deleted_user_is_gone(auth: AuthStand) -> None:
    """Not found, not listed, no log-in; the event waits in the tombstone, which keeps no email and no hash."""
    ann = (await auth.sign_up("ann@example.org")).user
    await auth.users.delete(DeleteUser(user_id=ann.id, expected_revision=1))
    assert (await refusal(auth.users.get(GetUser(user_id=ann.id)))).code is RequestErrorCode.NOT_FOUND
    assert (await refusal(auth.users.delete(DeleteUser(user_id=ann.id)))).code is RequestErrorCode.NOT_FOUND
    assert (await auth.users.list(ListUsers())).items == ()
    await refusal(auth.accounts.log_in(LogIn(email=ann.email, password=PASSWORD)))
    tombstone = await auth.store.collection("users").find_one({"_id": ann.id})
    assert tombstone
    assert not {"email", "password"} & set(tombstone)
    assert (await auth.events("users", ann.id))[-1] == "voxbus.event.user.deleted.v1"


REMOVALS = [UserChange(role=Role.USER), UserChange(enabled=False), None]


async def remove(auth: AuthStand, user_id: str, change: UserChange | None) -> None:
    """End an admin by a change, or by deletion."""
    if change is None:
        await auth.users.delete(DeleteUser(user_id=user_id))
    else:
        await auth.users.update(UpdateUser(user_id=user_id, change=change))


@pytest.mark.parametrize("change", REMOVALS)
async def test_the_last_admin_stays(auth: AuthStand, change: UserChange | None) -> None:
    """A disabled admin does not count; with another one it is possible."""
    one, two = (await auth.admin()).user_id, (await auth.admin("two@example.org")).user_id
    await auth.users.update(UpdateUser(user_id=two, change=UserChange(enabled=False)))
    assert (await refusal(remove(auth, one, change))).code is RequestErrorCode.CONFLICT
    await auth.users.update(UpdateUser(user_id=two, change=UserChange(enabled=True)))
    await remove(auth, one, change)


async def test_admins_who_remove_each_other_at_once_leave_one(auth: AuthStand, mongo_url: str) -> None:
    """Whatever the way and the process, of all admins at least one stays, and somebody succeeds."""
    database = auth.store.database.name
    async with auth_stand(mongo_url, database) as other:
        for number in range(4):
            admins = [(await auth.admin(f"{number}-{name}@example.org")).user_id for name in "abc"]
            left = {"role": "admin", "enabled": True, "deleted": {"$ne": True}}
            await auth.store.collection("users").update_many({"_id": {"$nin": admins}}, {"$set": {"enabled": False}})
            stands = (auth, other, auth)
            removals = [
                remove(stand, user_id, change) for stand, user_id, change in zip(stands, admins, REMOVALS, strict=True)
            ]
            results = await asyncio.gather(*removals, return_exceptions=True)
            assert await auth.store.collection("users").count_documents(left) == 1
            failures = [result for result in results if result is not None]
            assert [type(failure) for failure in failures] == [RequestFailedError]


async def test_a_removal_that_died_halfway_blocks_nobody(auth: AuthStand) -> None:
    """Its mark is taken away after a while, and its own late end fails."""
    one, two = (await auth.admin()).user_id, (await auth.admin("two@example.org")).user_id
    record = await auth.user_repository.by_id(two)
    assert record
    mark = await auth.user_repository.mark_leaving(record)
    assert mark
    old = {"$set": {"leaving.at": now() - timedelta(seconds=60)}}
    await auth.store.collection("users").update_one({"_id": two}, old)
    await remove(auth, one, None)
    assert not await auth.user_repository.delete(record, mark=mark)


async def test_an_admin_with_a_new_password_logs_in_anew(auth: AuthStand) -> None:
    """Resetting a password ends the user's sessions, one's own too."""
    admin = await auth.admin()
    await auth.accounts.log_in(LogIn(email="root@example.org", password=PASSWORD))
    change = UserChange(password=OTHER_PASSWORD)
    await auth.users.update(UpdateUser(actor=admin, user_id=admin.user_id, change=change))
    assert await auth.store.collection("sessions").count_documents({}) == 0
    await auth.accounts.log_in(LogIn(email="root@example.org", password=OTHER_PASSWORD))


async def test_a_token_says_which_revision_it_is_for(auth: AuthStand) -> None:
    """A demotion is told with a greater one, so that a login which it overtakes gets no token that outlives it."""
    admin = await auth.admin()
    other = await auth.admin("ann@example.org")
    read = await auth.user_repository.by_id(other.user_id)
    assert read
    await auth.users.update(UpdateUser(actor=admin, user_id=other.user_id, change=UserChange(role=Role.USER)))
    late = jwt.decode(auth.tokens.access_token(read.user, "sess_1", auth.clock()), options={"verify_signature": False})
    document = await auth.store.collection("users").find_one({"_id": other.user_id})
    assert document
    told = json.loads(document["outbox"][-1]["data"])
    assert late["rev"] < told["revision"] == document["revision"]


async def test_the_first_admin_is_made_once(auth: AuthStand, mongo_url: str) -> None:
    """Two processes at once make one, and a user who is there is never changed."""
    options = {"admin_email": "Root@example.org", "admin_password": PASSWORD}
    database = auth.store.database.name
    async with auth_stand(mongo_url, database, **options) as one, auth_stand(mongo_url, database, **options) as two:
        await asyncio.gather(one.admins.ensure_first(one.settings), two.admins.ensure_first(two.settings))
        (first,) = (await auth.users.list(ListUsers())).items
        assert (first.email, first.role) == ("root@example.org", Role.ADMIN)
    other = {**options, "admin_password": OTHER_PASSWORD}
    async with auth_stand(mongo_url, database, **other) as later:
        await later.admins.ensure_first(later.settings)
    await auth.accounts.log_in(LogIn(email="root@example.org", password=PASSWORD))


async def test_a_first_admin_who_left_does_not_come_back(mongo_url: str) -> None:
    """While there is an admin the settings make none, whatever became of theirs."""
    options = {"admin_email": "root@example.org", "admin_password": PASSWORD}
    async with auth_stand(mongo_url, **options) as auth:
        await auth.admins.ensure_first(auth.settings)
        (first,) = (await auth.users.list(ListUsers())).items
        other = await auth.admin("ann@example.org")
        await auth.users.delete(DeleteUser(actor=other, user_id=first.id))
        await auth.admins.ensure_first(auth.settings)
        assert [user.id for user in (await auth.users.list(ListUsers())).items] == [other.user_id]


async def test_a_first_admin_without_a_good_password_stops_the_start(mongo_url: str) -> None:
    """The operator is told what is missing."""
    for options, message in (({}, "ADMIN_PASSWORD"), ({"admin_password": "short"}, "at least 12")):
        async with auth_stand(mongo_url, admin_email="root@example.org", **options) as auth:
            with pytest.raises(AdminError, match=message):
                await auth.admins.ensure_first(auth.settings)


async def test_an_admin_can_be_reset_by_the_operator(auth: AuthStand) -> None:
    """A disabled user becomes an enabled admin with the new password; making one of the same email is refused."""
    ann = (await auth.sign_up("ann@example.org")).user
    await auth.users.update(UpdateUser(user_id=ann.id, change=UserChange(enabled=False)))
    with pytest.raises(DuplicateKeyError):
        await auth.admins.create("ann@example.org", OTHER_PASSWORD)
    await auth.admins.reset("ann@example.org", OTHER_PASSWORD)
    session = await auth.accounts.log_in(LogIn(email="ann@example.org", password=OTHER_PASSWORD))
    assert session.user.role is Role.ADMIN
    assert await auth.admins.reset("nobody@example.org", OTHER_PASSWORD) is None


async def test_strangers_are_nobody(auth: AuthStand) -> None:
    """An actor whose user is gone sees nothing."""
    stranger = someone()
    assert (await auth.users.list(ListUsers(actor=stranger))).items == ()
