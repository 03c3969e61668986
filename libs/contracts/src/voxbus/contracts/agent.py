"""What an agent is: everything a call needs to know about whom it talks to."""

from __future__ import annotations

from pydantic import Field

from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.llm import Tool
from voxbus.contracts.stage import ProviderChoice
from voxbus.contracts.stt import TurnTaking


class StageChoice(Message):
    """The provider of a stage and, in order, what to fall back on."""

    provider: ProviderChoice
    fallbacks: tuple[ProviderChoice, ...] = ()

    @property
    def providers(self) -> tuple[ProviderChoice, ...]:
        """First choice, then the fallbacks."""
        return (self.provider, *self.fallbacks)


def _choice(name: str) -> StageChoice:
    return StageChoice(provider=ProviderChoice(name=name))


class CallLimits(Message):
    """How long a call may last and how long a caller may stay silent."""

    max_duration_s: int = Field(default=1800, ge=5, le=86_400)
    silence_s: float = Field(default=10.0, ge=1, le=600)
    """After this much silence the agent asks once, after as much again it says goodbye and ends the call."""


class Phrases(Message):
    """What the agent says on its own."""

    still_there: str = "Are you still there?"
    goodbye_silence: str = "I can't hear you, so I will end the call now. Goodbye."
    goodbye_duration: str = "We have reached the time limit of this call. Goodbye."
    unavailable: str = "I am sorry, I have a technical problem. Please call again later. Goodbye."


class AgentConfig(Message):
    """One version of an agent."""

    id: Identifier
    version: int = Field(default=1, ge=1)
    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    language: str = Field(default="en", pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    system_prompt: str = ""
    greeting: str | None = None
    stt: StageChoice = Field(default_factory=lambda: _choice("local"))
    llm: StageChoice = Field(default_factory=lambda: _choice("scripted"))
    tts: StageChoice = Field(default_factory=lambda: _choice("local"))
    turn_taking: TurnTaking = TurnTaking()
    limits: CallLimits = CallLimits()
    phrases: Phrases = Phrases()
    tools: tuple[Tool, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
