"""Services of the text-to-speech stage, with a fake provider and with the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from fake_speech import FakeProvider, Listener

from voxbus.contracts.stage import ProviderChoice
from voxbus.tts_worker.engine import Engine
from voxbus.tts_worker.providers.local import LocalProvider
from voxbus.tts_worker.service import TtsService
from voxbus.tts_worker.settings import Settings

Open = Callable[..., Awaitable[Listener]]


def opener(service: TtsService, default: str) -> Open:
    """A function that opens a stream on `service`."""

    async def open_stream(*choices: ProviderChoice, language: str = "en") -> Listener:
        listener = Listener(*(choices or (ProviderChoice(name=default),)), language=language)
        listener.handler = await service.open(listener.request, listener.stream)
        return listener

    return open_stream


@pytest.fixture
def fake() -> FakeProvider:
    """The agent's provider."""
    return FakeProvider("fake")


@pytest.fixture
def spare() -> FakeProvider:
    """The agent's fallback."""
    return FakeProvider("spare")


@pytest_asyncio.fixture
async def open_fake(fake: FakeProvider, spare: FakeProvider) -> AsyncIterator[Open]:
    """Opens streams on a service whose providers are fakes."""
    service = TtsService(Settings(tts_provider_timeout_s=0.2), {"fake": fake, "spare": spare})
    await service.start()
    yield opener(service, "fake")
    await service.stop()


@pytest_asyncio.fixture
async def open_local() -> AsyncIterator[Open]:
    """Opens streams on a service with the real engine."""
    service = TtsService(Settings(tts_synthesis_threads=1), {"local": LocalProvider(1)})
    await service.start()
    yield opener(service, "local")
    await service.stop()


@pytest.fixture(params=["fake", "local"])
def open_any(request: pytest.FixtureRequest) -> Open:
    """Opens streams on either: what holds for every provider is tested with both."""
    opened: Open = request.getfixturevalue(f"open_{request.param}")
    return opened


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real engine, warm."""
    engine = Engine()
    engine.warm_up()
    return engine
