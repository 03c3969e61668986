"""The providers of this worker: one file each, and one line here."""

from __future__ import annotations

from voxbus.tts_worker.providers.base import TtsProvider, Utterance
from voxbus.tts_worker.providers.local import LocalProvider
from voxbus.tts_worker.settings import Settings

__all__ = ["TtsProvider", "Utterance", "make_providers"]


def make_providers(settings: Settings) -> dict[str, TtsProvider]:
    """Every provider that this worker can serve, by name, not yet started."""
    return {
        LocalProvider.name: LocalProvider(settings.tts_synthesis_threads),
    }
