"""What this worker counts. Labels never hold an id."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

_SECONDS: Final = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 0.75, 1, 2, 5)

FIRST_AUDIO_SECONDS: Final = Histogram(
    "voxbus_tts_first_audio_seconds",
    "From the arrival of an utterance's first sentence to its first audio",
    ["provider"],
    buckets=_SECONDS,
)
SYNTHESIS_SECONDS: Final = Histogram(
    "voxbus_tts_synthesis_seconds",
    "From the start of a sentence at the provider to its last audio",
    ["provider"],
    buckets=_SECONDS,
)
QUEUE_SECONDS: Final = Histogram(
    "voxbus_tts_queue_seconds", "What a piece of local synthesis waited for a thread", buckets=(0.001, *_SECONDS)
)
SENTENCES: Final = Counter("voxbus_tts_sentences_total", "Sentences by outcome", ["provider", "outcome"])
AUDIO_SECONDS: Final = Counter("voxbus_tts_audio_seconds_total", "Audio sent", ["provider"])
FALLBACKS: Final = Counter("voxbus_tts_fallbacks_total", "Utterances moved to the next provider", ["provider"])
