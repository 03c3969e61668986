"""What this worker counts. Labels never hold an id."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

_INFERENCE_BUCKETS: Final = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 0.75, 1, 2, 5)

INFERENCE_SECONDS: Final = Histogram(
    "voxbus_stt_inference_seconds", "Wall time of one inference", ["kind"], buckets=_INFERENCE_BUCKETS
)
QUEUE_SECONDS: Final = Histogram(
    "voxbus_stt_queue_seconds", "What an inference waited for a thread", ["kind"], buckets=_INFERENCE_BUCKETS
)
VAD_SECONDS: Final = Histogram(
    "voxbus_stt_vad_seconds",
    "Wall time of one batch of voice activity detection",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
)
VAD_BATCH: Final = Histogram(
    "voxbus_stt_vad_batch_streams",
    "Streams in one batch of voice activity detection",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
INTERIMS_SKIPPED: Final = Counter(
    "voxbus_stt_interims_skipped_total", "Interim transcripts given up because other work was waiting"
)
TURNS: Final = Counter("voxbus_stt_turns_total", "Turns that ended", ["reason"])
DECIDE_SECONDS: Final = Histogram(
    "voxbus_stt_turn_decide_seconds",
    "From the end of the voice to the decision that the turn is over",
    buckets=(0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5),
)
TRANSCRIBE_SECONDS: Final = Histogram(
    "voxbus_stt_turn_transcribe_seconds",
    "What the final words took beyond the decision that the turn is over",
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5),
)
