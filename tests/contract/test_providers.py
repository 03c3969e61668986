"""The providers that agents can name are those that the workers have."""

from __future__ import annotations

import pytest

from voxbus.contracts.providers import KNOWN_PROVIDERS
from voxbus.contracts.stage import Stage
from voxbus.llm_worker.providers import make_providers as make_llm_providers
from voxbus.llm_worker.settings import Settings as LlmSettings
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import Settings as SttSettings
from voxbus.tts_worker.providers import make_providers as make_tts_providers
from voxbus.tts_worker.settings import Settings as TtsSettings

pytestmark = pytest.mark.contract


async def test_agents_can_name_what_the_workers_have_and_nothing_else() -> None:
    """The list that agents are checked against holds exactly the providers that each worker registers."""
    hearing = SttService(SttSettings())
    registered = {
        Stage.STT: hearing.providers(),
        Stage.LLM: tuple(make_llm_providers(LlmSettings())),
        Stage.TTS: tuple(make_tts_providers(TtsSettings())),
    }
    await hearing.stop()
    assert {stage: sorted(names) for stage, names in registered.items()} == {
        stage: sorted(names) for stage, names in KNOWN_PROVIDERS.items()
    }
