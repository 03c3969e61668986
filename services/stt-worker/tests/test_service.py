"""Which provider a stream is opened with, and with which failure an open is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import JsonValue

from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.contracts.stt import SttOpen
from voxbus.runtime.streams import StageFailure, WorkerStream
from voxbus.stt_worker.engines import Engines
from voxbus.stt_worker.providers import RecogniserSession, SttProvider
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import Settings

pytestmark = pytest.mark.unit

WRONG_SETTING = StageFailure(ErrorCode.BAD_REQUEST, "a wrong setting", retryable=False)
BUSY = StageFailure(ErrorCode.PROVIDER_FAILED, "too many requests", retryable=True)


class FakeSession(RecogniserSession):
    """Recognises nothing."""

    model: ClassVar[str] = "fake"

    def hear(self, pcm: bytes, at_ms: int) -> None:
        """Not listening."""

    async def finish_turn(self, speech_end_ms: int) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Nothing to free."""


class FakeProvider(SttProvider):
    """Opens a session, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def open(self, language: str, settings: Mapping[str, JsonValue]) -> RecogniserSession:
        if self._error is not None:
            raise self._error
        return FakeSession()


class FakeVad:
    """Hears nothing."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf

    def open(self, *_: object) -> object:
        return object()


async def open_with(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None, deaf: bool = False) -> WorkerStream:
    """Open a stream with a provider for each of `errors`, named by its number; None opens."""
    service = SttService(Settings(stt_inference_threads=1))
    engines: Any = Engines(FakeVad(deaf=deaf), object(), object())  # type: ignore[arg-type]
    monkeypatch.setattr(service, "_engines", engines)
    monkeypatch.setattr(
        service, "_providers", {str(number): FakeProvider(error) for number, error in enumerate(errors)}
    )
    request = SttOpen(
        call_id="call",
        stream_id="call_stt",
        attempt=1,
        owner_id="gateway",
        agent_id="agent",
        providers=tuple(ProviderChoice(name=str(number)) for number in range(len(errors))),
    )

    async def publish(_: str, __: bytes) -> None:
        """Nobody listens."""

    stream = WorkerStream("stt", request, publish, lambda *_: None)
    await service.open(request, stream)
    return stream


@pytest.mark.parametrize("error", [BUSY, WRONG_SETTING, ConnectionError("refused"), KeyError("a provider's bug")])
async def test_the_next_provider_is_tried_whatever_the_first_one_raised(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A refusal, a lost connection and a fault of the provider's own code all lead to the fallback."""
    stream = await open_with(monkeypatch, error, None)
    assert stream.provider == "1"


@pytest.mark.parametrize("errors", [(WRONG_SETTING, BUSY), (BUSY, WRONG_SETTING), (WRONG_SETTING, WRONG_SETTING, BUSY)])
async def test_an_open_that_may_yet_succeed_is_refused_as_retryable(
    monkeypatch: pytest.MonkeyPatch, errors: tuple[StageFailure, ...]
) -> None:
    """One provider's temporary failure makes another try worth while, however finally the others refused."""
    with pytest.raises(StageFailure) as refused:
        await open_with(monkeypatch, *errors)
    assert refused.value is BUSY


async def test_an_open_that_cannot_succeed_is_refused_with_the_first_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all providers refuse for good, the failure is that of the agent's first choice."""
    with pytest.raises(StageFailure) as refused:
        await open_with(monkeypatch, WRONG_SETTING, StageFailure(ErrorCode.BAD_REQUEST, "another", retryable=False))
    assert refused.value is WRONG_SETTING


async def test_an_error_that_is_no_failure_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's unexpected error is a retryable failure that names the provider and not the error's text."""
    with pytest.raises(StageFailure, match="provider '0'") as refused:
        await open_with(monkeypatch, ConnectionError("wss://key@host"))
    assert (refused.value.code, refused.value.retryable) == (ErrorCode.PROVIDER_FAILED, True)
    assert "host" not in refused.value.message


async def test_a_deaf_worker_takes_no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """While voice activity detection is out of order an open is refused, so that another worker gets it."""
    with pytest.raises(StageFailure, match="voice activity") as refused:
        await open_with(monkeypatch, None, deaf=True)
    assert (refused.value.code, refused.value.retryable) == (ErrorCode.INTERNAL, True)
