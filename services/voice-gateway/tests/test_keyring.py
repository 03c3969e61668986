"""Where the keys of tokens come from, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fake_control_plane import FakeAuth, unavailable
from servers import NatsServer
from voice_client import Signer, eventually, pem

from voxbus.contracts.auth import API_AUDIENCE, VOICE_AUDIENCE
from voxbus.contracts.auth_events import SigningKeysChanged
from voxbus.contracts.base import new_id
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient
from voxbus.voice_gateway.edge.tokens import InvalidTokenError, key_id
from voxbus.voice_gateway.keyring import KeyRing

pytestmark = pytest.mark.integration


class KeyStand:
    """An `auth` with one signing key, and key rings."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.signer = Signer()
        self.auth = FakeAuth(url, self.signer.key)
        self._url, self._stack = url, stack

    async def ring(self, **options: Any) -> KeyRing:
        """A started key ring with a bus of its own."""
        bus = EventBus(self._url, "voice-gateway", new_id("p"))
        await bus.start()
        self._stack.push_async_callback(bus.stop)
        ring = KeyRing(RpcClient(bus), bus, **options)
        await ring.start()
        self._stack.push_async_callback(ring.stop)
        return ring


@pytest_asyncio.fixture
async def stand(nats_url: str) -> AsyncIterator[KeyStand]:
    """`auth` runs."""
    async with AsyncExitStack() as stack:
        made = KeyStand(nats_url, stack)
        await made.auth.start()
        stack.push_async_callback(made.auth.stop)
        yield made


def token(signer: Signer, **claims: Any) -> str:
    """A token that names its key, as `auth` makes them."""
    return signer.token(headers={"kid": key_id(signer.key.public_key())}, **claims)


async def good(ring: KeyRing, token: str) -> bool:
    """Whether it is taken."""
    try:
        await ring.verify(token, VOICE_AUDIENCE)
    except InvalidTokenError:
        return False
    return True


async def test_tokens_of_both_audiences(stand: KeyStand) -> None:
    """Keys of `auth` verify tokens for calls and for the API, each for its own use."""
    ring = await stand.ring()
    assert (await ring.verify(token(stand.signer), VOICE_AUDIENCE))["sub"] == "user-1"
    assert (await ring.verify(token(stand.signer, aud=API_AUDIENCE), API_AUDIENCE))["sub"] == "user-1"
    with pytest.raises(InvalidTokenError, match="not meant"):
        await ring.verify(token(stand.signer), API_AUDIENCE)


async def test_start_does_not_wait_for_auth(stand: KeyStand) -> None:
    """A ring starts while `auth` is away, says so, and takes tokens as soon as it is there."""
    await stand.auth.stop()
    ring = await stand.ring()
    assert ring.problem()
    with pytest.raises(RequestFailedError) as caught:
        await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    assert caught.value.error.retryable
    await stand.auth.start()
    await eventually(lambda: ring.problem() is None)
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)


async def test_a_new_key_is_accepted_within_one_refresh(stand: KeyStand) -> None:
    """A token of a key that `auth` made meanwhile is good at once: the ring asks for it, one time."""
    ring = await stand.ring()
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    asked, new = stand.auth.asked, Signer()
    stand.auth.keys.append(new.key)
    for _ in range(3):
        await ring.verify(token(new), VOICE_AUDIENCE)
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    assert stand.auth.asked == asked + 1


async def test_the_event_brings_new_keys(stand: KeyStand) -> None:
    """Every ring fetches when `auth` says that its keys changed, and a key that is gone verifies nothing any more."""
    rings = [await stand.ring(), await stand.ring()]
    await eventually(lambda: all(ring.problem() is None for ring in rings))
    new = Signer()
    stand.auth.keys = [new.key]
    asked = stand.auth.asked
    await stand.auth.tell(SigningKeysChanged(key_ids=()))
    await eventually(lambda: stand.auth.asked >= asked + 2)
    for ring in rings:
        await ring.verify(token(new), VOICE_AUDIENCE)
        with pytest.raises(InvalidTokenError, match="not signed"):
            await ring.verify(stand.signer.token(), VOICE_AUDIENCE)


async def test_made_up_key_names_do_not_reach_auth(stand: KeyStand) -> None:
    """A flood of tokens that name keys nobody has causes a handful of fetches, and each token is refused."""
    ring = await stand.ring()
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    asked = stand.auth.asked
    for number in range(50):
        with pytest.raises(InvalidTokenError, match="not signed"):
            await ring.verify(Signer().token(headers={"kid": f"made-up-{number}"}), VOICE_AUDIENCE)
    assert stand.auth.asked <= asked + 6


async def test_verifications_share_a_fetch(stand: KeyStand) -> None:
    """Calls that wait for the same new key wait for one request."""
    ring = await stand.ring()
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    asked, new = stand.auth.asked, Signer()
    stand.auth.keys.append(new.key)
    stand.auth.gate.clear()
    waiting = [asyncio.create_task(ring.verify(token(new), VOICE_AUDIENCE)) for _ in range(4)]
    await eventually(lambda: stand.auth.asked == asked + 1)
    stand.auth.gate.set()
    await asyncio.gather(*waiting)
    assert stand.auth.asked == asked + 1


async def test_a_new_key_while_auth_fails(stand: KeyStand) -> None:
    """Known keys go on; a token of an unknown one is neither good nor bad until `auth` can be asked."""
    ring = await stand.ring()
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    stand.auth.failure = unavailable()
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    with pytest.raises(RequestFailedError):
        await ring.verify(token(Signer()), VOICE_AUDIENCE)
    assert ring.problem() is None


async def test_a_restart_without_auth(stand: KeyStand, tmp_path: Path) -> None:
    """Keys are kept in a file for its owner alone, and a ring that starts without `auth` uses them."""
    file = tmp_path / "cache" / "public-keys.json"
    await stand.ring(cache_file=file)
    await eventually(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    await stand.auth.stop()
    ring = await stand.ring(cache_file=file)
    assert ring.problem() is None
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)


@pytest.mark.parametrize("content", ["", "{}", '{"keys": [{"kty": "oct", "k": "AAAA"}]}', '{"keys": 7}'])
async def test_a_broken_file(stand: KeyStand, tmp_path: Path, content: str) -> None:
    """A kept file that cannot be used is passed over."""
    file = tmp_path / "keys.json"
    file.write_text(content)
    ring = await stand.ring(cache_file=file)
    await eventually(lambda: ring.problem() is None)
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)


async def test_own_issuers(stand: KeyStand) -> None:
    """Keys from the settings count beside those of `auth`, with whatever name their tokens give them."""
    own = Signer()
    ring = await stand.ring(static_pem=pem(own.key))
    assert ring.problem() is None
    await ring.verify(own.token(headers={"kid": "ours"}), VOICE_AUDIENCE)
    await eventually(lambda: stand.auth.asked)
    await ring.verify(token(stand.signer), VOICE_AUDIENCE)
    await ring.verify(own.token(), VOICE_AUDIENCE)


async def test_after_the_bus_was_away(nats_server: NatsServer) -> None:
    """What changed while the bus was away is fetched when it is back."""
    async with AsyncExitStack() as stack:
        stand = KeyStand(nats_server.url, stack)
        await stand.auth.start()
        stack.push_async_callback(stand.auth.stop)
        ring = await stand.ring()
        await eventually(lambda: ring.problem() is None)
        new = Signer()
        nats_server.stop()
        stand.auth.keys = [new.key]
        asked = stand.auth.asked
        nats_server.start()
        await eventually(lambda: stand.auth.asked > asked)
        async with asyncio.timeout(5):
            while not await good(ring, new.token()):
                await asyncio.sleep(0.01)
