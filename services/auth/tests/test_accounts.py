"""People with their own account."""

from __future__ import annotations

import asyncio

import jwt
import pytest
from auth_stand import PASSWORD, AuthStand, actor_of, auth_stand, refusal

from voxbus.contracts.access import ROLE_PERMISSIONS, Role
from voxbus.contracts.auth import (
    API_AUDIENCE,
    ChangePassword,
    GetJwks,
    GetUser,
    LogIn,
    Session,
    SignUp,
    UpdateUser,
    UserChange,
)
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.integration

OTHER_PASSWORD = "another walk along the river"


async def claims_of(auth: AuthStand, session: Session) -> dict[str, object]:
    """Of the access token, verified with the published keys."""
    keys = jwt.PyJWKSet.from_dict((await auth.keys.jwks(GetJwks())).model_dump(mode="json"))
    kid = jwt.get_unverified_header(session.access_token)["kid"]
    return dict(jwt.decode(session.access_token, keys[kid], algorithms=["EdDSA"], audience=API_AUDIENCE))


async def test_a_sign_up_makes_a_user_who_is_logged_in(auth: AuthStand) -> None:
    """The email is normalised, the role is user, and the access token says who they are and what they may do."""
    session = await auth.sign_up("Ann@Example.ORG")
    claims = await claims_of(auth, session)
    assert (session.user.email, session.user.role, session.user.revision) == ("ann@example.org", Role.USER, 1)
    assert claims["sub"] == claims["user_id"] == session.user.id
    assert (claims["iss"], claims["role"]) == ("voxbus", "user")
    assert claims["permissions"] == [permission.value for permission in ROLE_PERMISSIONS[Role.USER]]
    assert session.refresh_token.startswith(f"vxr_{claims['sid']}_")
    life = float(str(claims["exp"])) - float(str(claims["iat"]))
    assert life == pytest.approx(session.expires_in_s, abs=2)
    assert await auth.events("users", session.user.id) == ["voxbus.event.user.created.v1"]


async def test_an_email_has_one_user(auth: AuthStand) -> None:
    """Of several sign-ups at the same moment one wins, however the email is written."""
    spellings = ("ann@example.org", "ANN@example.org", " ann@Example.org ")
    results = await asyncio.gather(*(auth.sign_up(email) for email in spellings), return_exceptions=True)
    assert sum(isinstance(result, Session) for result in results) == 1
    error = await refusal(auth.sign_up("ann@example.org"))
    assert error.code is RequestErrorCode.CONFLICT


async def test_sign_up_can_be_switched_off(mongo_url: str) -> None:
    """FORBIDDEN then."""
    async with auth_stand(mongo_url, signup_enabled=False) as auth:
        assert (await refusal(auth.sign_up("ann@example.org"))).code is RequestErrorCode.FORBIDDEN


async def test_problems_of_a_sign_up_name_the_field(auth: AuthStand) -> None:
    """INVALID at `/email` or `/password`."""
    bad_email = await refusal(auth.sign_up("ann@x..org"))
    bad_password = await refusal(auth.sign_up("ann@example.org", "passwordpassword"))
    assert [error.problems[0].path for error in (bad_email, bad_password)] == ["/email", "/password"]


async def test_every_wrong_log_in_is_answered_alike(auth: AuthStand) -> None:
    """Unknown or impossible emails, wrong passwords and disabled users: one answer, after exactly one check of an equal hash."""
    user = (await auth.sign_up("ann@example.org")).user
    off = (await auth.sign_up("off@example.org")).user
    await auth.users.update(UpdateUser(user_id=off.id, change=UserChange(enabled=False)))
    attempts = [
        ("nobody@example.org", PASSWORD),
        ("no email at all", PASSWORD),
        ("", ""),
        (user.email, OTHER_PASSWORD),
        (user.email, ""),
        (off.email, PASSWORD),
    ]
    answers, costs = [], set()
    for email, password in attempts:
        auth.passwords.checked.clear()
        answers.append(await refusal(auth.accounts.log_in(LogIn(email=email, password=password))))
        assert len(auth.passwords.checked) == 1
        costs.add(auth.passwords.checked[0].rpartition("p=")[0])
    assert answers == [answers[0]] * len(attempts)
    assert answers[0].code is RequestErrorCode.UNAUTHENTICATED
    assert len(costs) == 1


async def test_a_log_in_gives_a_session_and_notes_the_time(auth: AuthStand) -> None:
    """The email may be written in any case; the revision does not grow by a log-in."""
    user = (await auth.sign_up("ann@example.org")).user
    session = await auth.accounts.log_in(LogIn(email="ANN@example.org", password=PASSWORD))
    assert session.user.id == user.id
    seen = await auth.users.get(GetUser(user_id=user.id))
    assert seen.last_login_at is not None
    assert seen.revision == user.revision


async def test_a_password_is_the_same_however_it_was_composed(auth: AuthStand) -> None:
    """A keyboard that sends decomposed characters logs in as well."""
    await auth.sign_up("ann@example.org", "un caf\u00e9 au bord de l'eau")
    await auth.accounts.log_in(LogIn(email="ann@example.org", password="un cafe\u0301 au bord de l'eau"))


async def test_a_log_in_renews_a_hash_of_older_parameters(auth: AuthStand, mongo_url: str) -> None:
    """After a change of the cost the next log-in keeps a hash of the new cost, and the password stays."""
    await auth.sign_up("ann@example.org")
    database = auth.store.database.name
    async with auth_stand(mongo_url, database, argon2_time_cost=2) as dearer:
        for _ in range(2):
            await dearer.accounts.log_in(LogIn(email="ann@example.org", password=PASSWORD))
        record = await dearer.user_repository.by_email("ann@example.org")
    assert record is not None
    assert ",t=2," in record.password


async def test_a_burst_of_log_ins_is_bounded(mongo_url: str) -> None:
    """What is too much at once is told to come back, whether there is such a user or not, and the rest is answered."""
    async with auth_stand(mongo_url, argon2_concurrency=1, argon2_memory_kib=8192, argon2_time_cost=8) as auth:
        await auth.sign_up("ann@example.org")
        emails = ["ann@example.org", "nobody@example.org"] * 20
        requests = [LogIn(email=email, password=PASSWORD) for email in emails]
        results = await asyncio.gather(*(auth.accounts.log_in(request) for request in requests), return_exceptions=True)
    failures = [result.error for result in results if isinstance(result, RequestFailedError)]
    refused = [error for error in failures if error.code is RequestErrorCode.UNAVAILABLE]
    assert any(isinstance(result, Session) for result in results)
    assert len(failures) + sum(isinstance(result, Session) for result in results) == 40
    assert refused
    assert all(error.retryable for error in refused)
    assert len(auth.passwords.checked) == 40 - len(refused)  # what is refused costs no hash


async def test_changing_the_password_needs_the_current_one(auth: AuthStand) -> None:
    """INVALID at `/current_password`, and the rules hold for the new one."""
    session = await auth.sign_up("ann@example.org")
    actor = actor_of(session.user)
    wrong = await refusal(
        auth.accounts.change_password(
            ChangePassword(actor=actor, current_password=OTHER_PASSWORD, new_password=OTHER_PASSWORD)
        )
    )
    weak = await refusal(
        auth.accounts.change_password(
            ChangePassword(actor=actor, current_password=PASSWORD, new_password="ann@example.org")
        )
    )
    assert wrong.problems[0].path == "/current_password"
    assert weak.problems[0].path == "/new_password"


async def test_a_changed_password_is_the_only_one(auth: AuthStand) -> None:
    """The old one is refused, the new one is good, and others are told that access changed."""
    session = await auth.sign_up("ann@example.org")
    change = ChangePassword(actor=actor_of(session.user), current_password=PASSWORD, new_password=OTHER_PASSWORD)
    await auth.accounts.change_password(change)
    await refusal(auth.accounts.log_in(LogIn(email="ann@example.org", password=PASSWORD)))
    await auth.accounts.log_in(LogIn(email="ann@example.org", password=OTHER_PASSWORD))
    document = await auth.store.collection("users").find_one({"_id": session.user.id})
    assert document is not None
    assert '"access_changed":true' in document["outbox"][-1]["data"]


async def test_the_store_holds_no_secret(auth: AuthStand) -> None:
    """Neither passwords nor refresh tokens lie there in clear."""
    session = await auth.sign_up("ann@example.org")
    kept = [str(document) for name in ("users", "sessions") async for document in auth.store.collection(name).find()]
    assert len(kept) == 2
    for secret in (PASSWORD, session.refresh_token, session.refresh_token[-43:], session.access_token):
        assert secret not in " ".join(kept)
        assert secret not in repr(session)
        assert secret not in repr(SignUp(email="ann@example.org", password=PASSWORD))
