"""Credentials become actors, and stop being good when they should."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from rest_stand import FakeServices, an_actor

from voxbus.contracts import auth
from voxbus.contracts.access import Permission, Role
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.edge.tokens import InvalidTokenError
from voxbus.voice_gateway.rest.callers import CACHE_S, Callers
from voxbus.voice_gateway.rest.errors import ProblemError

pytestmark = pytest.mark.unit

START = 1_800_000_000.0


class Clock:
    """Unix time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class FixedTokens:
    """Tokens are names of claims."""

    def __init__(self) -> None:
        self.asked = 0
        self.claims: dict[str, Mapping[str, JsonValue]] = {}

    async def verify(self, token: str, audience: str) -> Mapping[str, JsonValue]:
        """The claims, for the audience of the API alone."""
        self.asked += 1
        if audience != auth.API_AUDIENCE or token not in self.claims:
            raise InvalidTokenError("the token is not signed by a key this gateway knows")
        return self.claims[token]


class Stand:
    """Callers with a clock, tokens and a service."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tokens = FixedTokens()
        self.services = FakeServices()
        self.callers = Callers(self.services, self.tokens, self.clock)

    def token(self, name: str = "token", **changes: Any) -> str:
        """A token of user_1 that is issued now and good for 15 minutes."""
        now = self.clock.now
        claims = {
            "user_id": "user_1", "role": "user", "permissions": ["agents:read"], "sid": "sess_1", "iat": now, "exp": now + 900,
        }  # fmt: skip
        self.tokens.claims[name] = {**claims, **changes}
        return name

    def api_key(self, **changes: Any) -> str:
        """A key that `auth` knows."""
        actor = an_actor(permissions=(Permission.AGENTS_READ,), api_key_id="key_1")
        self.services.answer(auth.VERIFY_API_KEY, auth.VerifiedApiKey(actor=actor, **changes))
        return "vxk_key_1_secret"

    async def refused(self, credential: str) -> str:
        """Why a credential is refused with 401."""
        with pytest.raises(ProblemError) as caught:
            await self.callers.identify(credential)
        assert caught.value.status == 401
        return caught.value.detail

    def at(self, seconds: float) -> datetime:
        """A time relative to the start."""
        return datetime.fromtimestamp(START, UTC) + timedelta(seconds=seconds)


@pytest.fixture
def stand() -> Stand:
    """A fresh one."""
    return Stand()


async def test_token(stand: Stand) -> None:
    """A good token stands for its user, with its permissions, of those that are known here."""
    actor = await stand.callers.identify(stand.token(permissions=["agents:read", "moon:visit"]))
    assert (actor.user_id, actor.role, actor.session_id) == ("user_1", Role.USER, "sess_1")
    assert actor.permissions == (Permission.AGENTS_READ,)


async def test_bad_token(stand: Stand) -> None:
    """A token that is not good is a 401, and is asked for anew each time."""
    assert "not signed" in await stand.refused("nonsense")
    await stand.refused("nonsense")
    assert stand.tokens.asked == 2


@pytest.mark.parametrize("changes", [{"user_id": None}, {"role": "king"}, {"user_id": "a b"}, {"iat": None}])
async def test_token_of_another_kind(stand: Stand, changes: dict[str, Any]) -> None:
    """A signed token without the claims of an access token is a 401."""
    assert "not an access token" in await stand.refused(stand.token(**changes))


async def test_tokens_are_remembered_until_they_expire(stand: Stand) -> None:
    """A token is verified once a minute, and again as soon as it may have expired."""
    token = stand.token(exp=START + 30)
    for _ in range(3):
        await stand.callers.identify(token)
    assert stand.tokens.asked == 1
    stand.clock.now += 30
    await stand.callers.identify(token)
    assert stand.tokens.asked == 2


async def test_changed_user(stand: Stand) -> None:
    """What was issued before a user's access changed is refused at once, what came after is good."""
    old = stand.token("old")
    await stand.callers.identify(old)
    stand.clock.now += 5
    stand.callers.user_changed("user_1", stand.at(4))
    assert "changed" in await stand.refused(old)
    await stand.callers.identify(stand.token("new"))
    await stand.callers.identify(stand.token("other", user_id="user_2", iat=START))


async def test_change_told_late(stand: Stand) -> None:
    """A change counts from when it happened, not from when it is told; an older one told later changes nothing."""
    stand.clock.now += 100
    token = stand.token(iat=START + 50)
    stand.callers.user_changed("user_1", stand.at(49))
    await stand.callers.identify(token)
    stand.callers.user_changed("user_1", stand.at(51))
    stand.callers.user_changed("user_1", stand.at(10))
    await stand.refused(token)


async def test_change_that_overtakes_a_login(stand: Stand) -> None:
    """Revisions tell before from after, whatever the clocks say: a token for an older one is refused, one for this is good."""
    dated_later = stand.token("old", rev=3, iat=START + 60)
    dated_earlier = stand.token("new", rev=4, iat=START - 60)
    stand.callers.user_changed("user_1", stand.at(0), revision=4)
    await stand.refused(dated_later)
    await stand.callers.identify(dated_earlier)
    stand.callers.user_changed("user_1", stand.at(1), revision=2)
    await stand.callers.identify(dated_earlier)
    await stand.refused(stand.token("unnamed", iat=START))


async def test_deleted_user(stand: Stand) -> None:
    """No token of a deleted user is good, not even one that was under way."""
    stand.callers.user_deleted("user_1", stand.at(0))
    await stand.refused(stand.token(rev=1, iat=START + 60))
    stand.callers.user_changed("user_1", stand.at(1), revision=9)
    await stand.refused(stand.token("later", rev=9, iat=START + 60))


async def test_change_that_is_none_of_access(stand: Stand) -> None:
    """A new email leaves tokens good."""
    token = stand.token()
    stand.callers.user_changed("user_1", stand.at(1), access_changed=False)
    await stand.callers.identify(token)


async def test_api_key(stand: Stand) -> None:
    """A key is asked about once a minute."""
    key = stand.api_key()
    for _ in range(3):
        assert (await stand.callers.identify(key)).api_key_id == "key_1"
    assert len(stand.services.asked) == 1
    stand.clock.now += CACHE_S
    await stand.callers.identify(key)
    assert len(stand.services.asked) == 2


async def test_api_key_that_expires(stand: Stand) -> None:
    """A key is not remembered beyond its life."""
    key = stand.api_key(expires_at=stand.at(10))
    await stand.callers.identify(key)
    stand.services.fail(auth.VERIFY_API_KEY, RequestErrorCode.UNAUTHENTICATED)
    stand.clock.now += 10
    await stand.refused(key)


async def test_bad_api_key(stand: Stand) -> None:
    """A key that `auth` refuses is a 401, and so is one that can be none."""
    stand.services.fail(auth.VERIFY_API_KEY, RequestErrorCode.UNAUTHENTICATED)
    await stand.refused("vxk_key_1_wrong")
    await stand.refused("vxk_" + "x" * 1000)


async def test_auth_away(stand: Stand) -> None:
    """While `auth` is away, keys that are remembered go on, and others are a 503, not a 401."""
    key = stand.api_key()
    await stand.callers.identify(key)
    stand.services.fail(auth.VERIFY_API_KEY, RequestErrorCode.UNAVAILABLE)
    await stand.callers.identify(key)
    with pytest.raises(RequestFailedError) as caught:
        await stand.callers.identify("vxk_key_2_secret")
    assert caught.value.code is RequestErrorCode.UNAVAILABLE


@pytest.mark.parametrize("what", ["revoked", "user", "forget"])
async def test_api_key_asked_anew(stand: Stand, what: str) -> None:
    """A key is asked about anew when it was revoked, its user changed, or something may have been missed."""
    key = stand.api_key()
    await stand.callers.identify(key)
    stand.services.fail(auth.VERIFY_API_KEY, RequestErrorCode.UNAUTHENTICATED)
    if what == "revoked":
        stand.callers.api_key_revoked("key_1")
    elif what == "user":
        stand.callers.user_changed("user_1", stand.at(0))
    else:
        stand.callers.forget()
    await stand.refused(key)


async def test_revoked_while_it_is_checked(stand: Stand) -> None:
    """An answer that was under way when the key was revoked is not remembered."""
    key = stand.api_key()
    asked, go_on = asyncio.Event(), asyncio.Event()
    ask = stand.services.request

    async def slow(*arguments: Any, **more: Any) -> Any:
        answer = await ask(*arguments, **more)
        asked.set()
        await go_on.wait()
        return answer

    stand.services.request = slow  # type: ignore[method-assign]
    first = asyncio.create_task(stand.callers.identify(key))
    await asked.wait()
    stand.callers.api_key_revoked("key_1")
    go_on.set()
    await first
    stand.services.fail(auth.VERIFY_API_KEY, RequestErrorCode.UNAUTHENTICATED)
    await stand.refused(key)
