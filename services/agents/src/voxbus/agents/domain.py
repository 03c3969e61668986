"""What an agent's draft and versions are, as rules without I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from voxbus.contracts.agent import AgentConfig, StageChoice
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.stage import ProviderChoice

KEPT_VERSIONS: Final = 1000
"""Of each agent; older ones are dropped."""


def spec_text(spec: AgentSpec) -> str:
    """The JSON text in which a spec is stored, secrets included."""
    return spec.model_dump_json()


def read_spec(text: str) -> AgentSpec:
    """The spec of a stored text. Raises ValueError, which quotes nothing of it: there are secrets in it."""
    try:
        return AgentSpec.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"a stored spec does not fit its contract, in {error.error_count()} places") from None


def content_hash(text: str) -> str:
    """The same for texts of the same content, whatever the order of keys."""
    canonical = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def config_of(agent_id: str, version: int, spec: AgentSpec) -> AgentConfig:
    """What a call uses of a version."""
    return AgentConfig(
        id=agent_id,
        version=version,
        name=spec.name,
        language=spec.language,
        system_prompt=spec.system_prompt,
        greeting=spec.greeting,
        stt=_choice(spec.stt_provider, spec.stt_settings, spec.stt_fallbacks),
        llm=_choice(spec.llm_provider, spec.llm_settings, spec.llm_fallbacks),
        tts=_choice(spec.tts_provider, spec.tts_settings, spec.tts_fallbacks),
        turn_taking=spec.turn_taking,
        limits=spec.limits,
        phrases=spec.phrases,
        tools=spec.tools,
        metadata=dict(spec.metadata),
    )


def _choice(provider: str, settings: Mapping[str, JsonValue], fallbacks: tuple[ProviderChoice, ...]) -> StageChoice:
    return StageChoice(provider=ProviderChoice(name=provider, settings=dict(settings)), fallbacks=fallbacks)
