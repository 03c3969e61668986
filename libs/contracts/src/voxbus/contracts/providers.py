"""The providers an agent can name, per stage. A test holds each worker's registry against it."""

from __future__ import annotations

from typing import Final

from voxbus.contracts.stage import Stage

KNOWN_PROVIDERS: Final[dict[Stage, tuple[str, ...]]] = {
    Stage.STT: ("local",),
    Stage.LLM: ("local", "scripted"),
    Stage.TTS: ("local",),
}
