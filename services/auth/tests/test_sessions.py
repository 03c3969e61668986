"""Log-ins: refreshed, stolen, expired, ended."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog
from auth_stand import PASSWORD, AuthStand, actor_of, auth_stand, refusal

from voxbus.auth.secret_tokens import parse_refresh_token
from voxbus.contracts.access import Role
from voxbus.contracts.auth import (
    ChangePassword,
    Client,
    DeleteUser,
    LogIn,
    LogOut,
    Refresh,
    Session,
    UpdateUser,
    UserChange,
)
from voxbus.contracts.rpc import RequestError, RequestErrorCode

pytestmark = pytest.mark.integration

OTHER_PASSWORD = "another walk along the river"
LOG_IN = LogIn(email="ann@example.org", password=PASSWORD)


async def refresh(auth: AuthStand, session: Session) -> Session:
    """The next session of the family."""
    return await auth.accounts.refresh(Refresh(refresh_token=session.refresh_token, client=Client(address="::1")))


async def refused(auth: AuthStand, session: Session) -> bool:
    """Whether the refresh token is not good."""
    error: RequestError = await refusal(refresh(auth, session))
    return error.code is RequestErrorCode.UNAUTHENTICATED


def session_id(session: Session) -> str:
    """Of the family."""
    token = parse_refresh_token(session.refresh_token)
    assert token
    return token.record_id


async def test_each_refresh_gives_the_next_token(auth: AuthStand) -> None:
    """The family goes on, with a new token each time."""
    session = await auth.sign_up("ann@example.org")
    tokens = {session.refresh_token}
    for _ in range(3):
        session = await refresh(auth, session)
        tokens.add(session.refresh_token)
    assert len(tokens) == 4


async def test_an_old_token_ends_the_family(auth: AuthStand) -> None:
    """Both the thief and the owner are out, other log-ins are not, and a warning names session and user."""
    first = await auth.sign_up("ann@example.org")
    other = await auth.accounts.log_in(LOG_IN)
    second = await refresh(auth, first)
    third = await refresh(auth, second)
    with structlog.testing.capture_logs() as logs:
        assert await refused(auth, first)
    assert await refused(auth, third)
    await refresh(auth, other)
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [(entry["session_id"], entry["user_id"]) for entry in warnings] == [(session_id(first), first.user.id)]


async def test_of_two_refreshes_with_one_token_at_most_one_is_answered(auth: AuthStand) -> None:
    """However they interleave, and the family is over."""
    session = await auth.sign_up("ann@example.org")
    results = await asyncio.gather(*(refresh(auth, session) for _ in range(5)), return_exceptions=True)
    won = [result for result in results if isinstance(result, Session)]
    assert len(won) <= 1
    for result in won:
        assert await refused(auth, result)


async def test_a_session_slides_and_has_an_end(mongo_url: str) -> None:
    """Use keeps it alive beyond its idle time, up to the longest life."""
    async with auth_stand(mongo_url, refresh_ttl_days=10, session_max_days=25) as auth:
        session = await auth.sign_up("ann@example.org")
        assert session.refresh_expires_in_s == 10 * 86400
        for day in (9, 18):
            auth.clock.ahead = timedelta(days=day)
            session = await refresh(auth, session)
        assert session.refresh_expires_in_s == pytest.approx(7 * 86400, abs=60)
        auth.clock.ahead = timedelta(days=25, seconds=1)
        assert await refused(auth, session)


async def test_an_idle_session_ends(mongo_url: str) -> None:
    """Without a refresh it is over after the idle time, also where the store has not removed it yet."""
    async with auth_stand(mongo_url, refresh_ttl_days=10) as auth:
        session = await auth.sign_up("ann@example.org")
        auth.clock.ahead = timedelta(days=10, seconds=1)
        assert await refused(auth, session)


async def test_the_store_removes_expired_sessions_by_itself(auth: AuthStand) -> None:
    """The collection has a TTL index on the end of each session."""
    indexes = await auth.store.collection("sessions").index_information()
    assert indexes["expiry"]["key"] == [("expires_at", 1)]
    assert indexes["expiry"]["expireAfterSeconds"] == 0


@pytest.mark.parametrize("token", ["", "garbage", "vxr_sess_00000000000000000000_" + "A" * 43])
async def test_garbage_is_refused_like_any_bad_token(auth: AuthStand, token: str) -> None:
    """UNAUTHENTICATED, with the words of the others."""
    ended = await auth.sign_up("ann@example.org")
    await auth.accounts.log_out(LogOut(refresh_token=ended.refresh_token))
    expected = await refusal(refresh(auth, ended))
    assert await refusal(auth.accounts.refresh(Refresh(refresh_token=token))) == expected


async def test_logging_out_ends_the_session_of_the_token(auth: AuthStand) -> None:
    """That one only, and a second time is no failure."""
    one, two = await auth.sign_up("ann@example.org"), await auth.accounts.log_in(LOG_IN)
    for _ in range(2):
        await auth.accounts.log_out(LogOut(refresh_token=one.refresh_token))
    assert await refused(auth, one)
    await refresh(auth, two)


async def test_logging_out_without_a_token_ends_the_actors_session(auth: AuthStand) -> None:
    """The one the access token came from."""
    one, two = await auth.sign_up("ann@example.org"), await auth.accounts.log_in(LOG_IN)
    await auth.accounts.log_out(LogOut(actor=actor_of(one.user, session_id(one))))
    assert await refused(auth, one)
    await refresh(auth, two)


async def test_logging_out_everywhere_ends_all_sessions_of_the_user(auth: AuthStand) -> None:
    """Those of others stay, and others are told that access tokens are stale."""
    one, two = await auth.sign_up("ann@example.org"), await auth.accounts.log_in(LOG_IN)
    bob = await auth.sign_up("bob@example.org")
    await auth.accounts.log_out(LogOut(actor=actor_of(one.user, session_id(one)), everywhere=True))
    assert await refused(auth, one)
    assert await refused(auth, two)
    await refresh(auth, bob)
    assert "voxbus.event.user.updated.v1" in await auth.events("users", one.user.id)


async def test_a_changed_password_ends_the_other_sessions(auth: AuthStand) -> None:
    """The one it was changed from goes on."""
    here, there = await auth.sign_up("ann@example.org"), await auth.accounts.log_in(LOG_IN)
    actor = actor_of(here.user, session_id(here))
    change = ChangePassword(actor=actor, current_password=PASSWORD, new_password=OTHER_PASSWORD)
    await auth.accounts.change_password(change)
    assert await refused(auth, there)
    await refresh(auth, await refresh(auth, here))


@pytest.mark.parametrize("change", [UserChange(password=OTHER_PASSWORD), UserChange(enabled=False)])
async def test_a_session_does_not_outlive_what_it_was_begun_with(auth: AuthStand, change: UserChange) -> None:
    """Even when its document survived the change, as when a process died in between or a log-in was under way."""
    session = await auth.sign_up("ann@example.org")
    document = await auth.store.collection("sessions").find_one({"_id": session_id(session)})
    assert document
    await auth.users.update(UpdateUser(user_id=session.user.id, change=change))
    assert await auth.store.collection("sessions").count_documents({}) == 0
    await auth.store.collection("sessions").insert_one(document)
    if change.enabled is False:
        await auth.users.update(UpdateUser(user_id=session.user.id, change=UserChange(enabled=True)))
    assert await refused(auth, session)


async def test_a_deleted_user_has_no_session(auth: AuthStand) -> None:
    """Gone at once."""
    session = await auth.sign_up("ann@example.org")
    await auth.users.delete(DeleteUser(user_id=session.user.id))
    assert await refused(auth, session)


async def test_a_new_role_is_in_the_next_access_token(auth: AuthStand) -> None:
    """The session goes on, others are told that older access tokens are stale."""
    session = await auth.sign_up("ann@example.org")
    await auth.users.update(UpdateUser(user_id=session.user.id, change=UserChange(role=Role.ADMIN)))
    assert (await refresh(auth, session)).user.role is Role.ADMIN
    assert "voxbus.event.user.updated.v1" in await auth.events("users", session.user.id)
