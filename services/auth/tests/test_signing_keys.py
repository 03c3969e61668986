"""Keys that sign: rotation without logging anyone out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import jwt
import pytest
from auth_stand import AuthStand, auth_stand, refusal, someone
from pydantic import SecretStr

from voxbus.auth.key_files import UnreadableKeyError
from voxbus.auth.signing_keys import KEPT_AFTER
from voxbus.contracts.access import Role
from voxbus.contracts.auth import VOICE_AUDIENCE, GetJwks, JwkSet, RotateKeys
from voxbus.contracts.rpc import RequestErrorCode

pytestmark = pytest.mark.integration


def ids(keys: JwkSet) -> list[str]:
    """Of the published keys, the oldest first."""
    return [str(key["kid"]) for key in keys.keys]


def verified(token: str, keys: JwkSet) -> dict[str, object]:
    """The claims, verified like a gateway does; raises KeyError when the key is not published."""
    known = {str(key["kid"]): jwt.PyJWK(dict(key)) for key in keys.keys}
    key = known[jwt.get_unverified_header(token)["kid"]]
    ahead = {"verify_iat": False}  # the clock of the use cases may be
    return dict(jwt.decode(token, key, algorithms=["EdDSA"], audience=VOICE_AUDIENCE, issuer="voxbus", options=ahead))


async def published(auth: AuthStand) -> JwkSet:
    """What gateways fetch."""
    return await auth.keys.jwks(GetJwks())


async def test_a_call_token_is_good_for_one_agent(auth: AuthStand) -> None:
    """It says who calls which agent, and until when."""
    actor = someone()
    token = auth.tokens.call_token(actor, "agent_1", 60)
    claims = verified(token.token, await published(auth))
    assert (claims["sub"], claims["user_id"], claims["agent_id"]) == (actor.user_id, actor.user_id, "agent_1")
    assert claims["exp"] == int(token.expires_at.timestamp())
    assert token.token not in repr(token)


async def test_only_public_halves_are_published(auth: AuthStand) -> None:
    """No member `d`."""
    (key,) = (await published(auth)).keys
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


async def test_processes_share_one_first_key(mongo_url: str, auth: AuthStand) -> None:
    """Of those that start at the same moment one makes it."""
    await auth.store.collection("signing_keys").delete_many({})
    database = auth.store.database.name
    stands = [auth_stand(mongo_url, database) for _ in range(3)]
    started = await asyncio.gather(*(stand.__aenter__() for stand in stands))
    try:
        assert len({stand.keys.signing_key()[0] for stand in started}) == 1
    finally:
        await asyncio.gather(*(stand.__aexit__(None, None, None) for stand in stands))


async def test_a_new_key_is_published_before_it_signs(auth: AuthStand) -> None:
    """During the lead time the old one signs; after it the new one, and tokens of both are good."""
    old_token = auth.tokens.call_token(someone(), "agent_1", 3600).token
    (old,) = ids(await published(auth))
    after = await auth.keys.rotate(RotateKeys())
    assert ids(after)[0] == old
    assert auth.keys.signing_key()[0] == old
    auth.clock.ahead = timedelta(seconds=61)
    assert auth.keys.signing_key()[0] == ids(after)[1]
    for token in (old_token, auth.tokens.call_token(someone(), "agent_1", 60).token):
        verified(token, await published(auth))
    assert await auth.events("signing_keys", ids(after)[1]) == ["voxbus.event.signing_keys.changed.v1"]


async def test_rotations_in_a_loop_make_one_key(auth: AuthStand) -> None:
    """Until the next key signs, another rotation is answered with that one."""
    first = ids(await auth.keys.rotate(RotateKeys()))
    assert [ids(await auth.keys.rotate(RotateKeys())) for _ in range(3)] == [first] * 3
    auth.clock.ahead = timedelta(seconds=61)
    assert len(ids(await auth.keys.rotate(RotateKeys()))) == 3


async def test_keys_rotate_by_themselves(auth: AuthStand) -> None:
    """When a key has signed for its days the next one does, without a gap and without an excess of keys."""
    (first,) = ids(await published(auth))
    auth.clock.ahead = timedelta(days=90) - timedelta(seconds=59)
    for _ in range(2):
        await auth.keys.tend()
    assert auth.keys.signing_key()[0] == first
    auth.clock.ahead += timedelta(seconds=61)
    assert auth.keys.signing_key()[0] == ids(await published(auth))[1]
    assert len(ids(await published(auth))) == 2


async def test_an_old_key_goes_when_its_last_token_has_expired(auth: AuthStand) -> None:
    """Not before, and others are told; its private half leaves the store at once."""
    (old,) = ids(await published(auth))
    new = ids(await auth.keys.rotate(RotateKeys()))[1]
    auth.clock.ahead = timedelta(seconds=60) + timedelta(hours=1, minutes=1)
    await auth.keys.tend()
    assert ids(await published(auth)) == [old, new]
    auth.clock.ahead = timedelta(seconds=61) + KEPT_AFTER
    await auth.keys.tend()
    assert ids(await published(auth)) == [new]
    document = await auth.store.collection("signing_keys").find_one({"_id": old})
    assert document
    assert "private_pem" not in document
    assert len(document["outbox"]) == 2


async def test_rotations_at_the_same_moment_make_one_key(auth: AuthStand, mongo_url: str) -> None:
    """Two processes never make the same generation twice."""
    database = auth.store.database.name
    async with auth_stand(mongo_url, database) as other:
        stands = (auth, other)
        await asyncio.gather(*(stand.keys._add_next(stand.clock()) for stand in stands))
        assert ids(await published(auth)) == ids(await published(other))
        assert len(ids(await published(auth))) == 2


async def test_a_process_notices_what_another_did(auth: AuthStand, mongo_url: str) -> None:
    """Within its checking time, without being told."""
    database = auth.store.database.name
    async with auth_stand(mongo_url, database, signing_key_check_s=0.1, signing_key_lead_s=0) as other:
        before = other.keys.signing_key()[0]
        await auth.keys.rotate(RotateKeys())
        auth_now = ids(await published(auth))[1]
        other.clock.ahead = timedelta(seconds=61)
        async with asyncio.timeout(10):
            while other.keys.signing_key()[0] == before:
                await asyncio.sleep(0.02)
        assert other.keys.signing_key()[0] == auth_now


async def test_rotation_is_for_admins(auth: AuthStand) -> None:
    """FORBIDDEN for others."""
    error = await refusal(auth.keys.rotate(RotateKeys(actor=someone())))
    assert error.code is RequestErrorCode.FORBIDDEN
    await auth.keys.rotate(RotateKeys(actor=someone(Role.ADMIN)))


async def test_private_keys_can_be_encrypted_in_the_store(mongo_url: str) -> None:
    """A process with another passphrase does not start; one with the same signs with the same key."""
    options = {"signing_key_passphrase": SecretStr("a passphrase")}
    async with auth_stand(mongo_url, **options) as auth:
        database = auth.store.database.name
        document = await auth.store.collection("signing_keys").find_one({})
        assert document
        assert "ENCRYPTED" in document["private_pem"]
        async with auth_stand(mongo_url, database, **options) as same:
            assert same.keys.signing_key()[0] == auth.keys.signing_key()[0]
        for wrong in ({}, {"signing_key_passphrase": SecretStr("another")}):
            with pytest.raises(UnreadableKeyError):
                async with auth_stand(mongo_url, database, **wrong):
                    pass
