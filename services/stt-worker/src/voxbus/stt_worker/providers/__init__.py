"""The providers of this worker: one file each, and one line here."""

from __future__ import annotations

from voxbus.stt_worker.pool import InferencePool
from voxbus.stt_worker.providers.base import RecogniserSession, SttProvider, Words, WordsListener
from voxbus.stt_worker.providers.local import LocalProvider
from voxbus.stt_worker.settings import Settings

__all__ = ["RecogniserSession", "SttProvider", "Words", "WordsListener", "make_providers"]


def make_providers(settings: Settings, pool: InferencePool) -> dict[str, SttProvider]:
    """Every provider that this worker can serve, by name, not yet started."""
    return {
        LocalProvider.name: LocalProvider(pool, settings.model_cache),
    }
