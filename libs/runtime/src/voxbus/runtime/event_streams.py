"""The JetStream stream of events: one definition, applied by whoever sets the platform up; services never create it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StoreCompression, StreamConfig
from nats.js.errors import NotFoundError

_DAY_S = 24 * 3600.0

EVENTS: Final = StreamConfig(
    name="EVENTS",
    description="Facts, kept for consumers that were away",
    subjects=["voxbus.event.>"],
    retention=RetentionPolicy.LIMITS,
    storage=StorageType.FILE,
    discard=DiscardPolicy.OLD,
    max_age=7 * _DAY_S,
    # An event that was published but not yet marked so is published again by the next process that looks: within seconds
    # when another one runs, within the longest restart delay of an orchestrator (5 minutes) when the last one crashed.
    duplicate_window=600.0,
    compression=StoreCompression.S2,
    allow_direct=True,
    num_replicas=1,
)
STREAMS: Final = (EVENTS,)
_DEFINED: Final = (
    "description", "subjects", "retention", "storage", "discard", "max_age", "duplicate_window", "compression",
    "allow_direct", "num_replicas",
)  # fmt: skip
"""What the definition decides; the rest is the operator's, such as a size limit or a placement."""


@dataclass(frozen=True)
class StreamChange:
    """What was done to one stream. `fields` are those that were corrected."""

    stream: str
    action: Literal["created", "corrected", "unchanged"]
    fields: tuple[str, ...] = ()


async def apply_streams(js: JetStreamContext, *, replicas: int = 1) -> list[StreamChange]:
    """Create the streams that are missing and correct those that differ; may be repeated.

    Raises nats.js.errors.APIError when the server refuses, as it does for a change of storage or retention.
    """
    return [await _apply(js, replace(wanted, num_replicas=replicas)) for wanted in STREAMS]


async def _apply(js: JetStreamContext, wanted: StreamConfig) -> StreamChange:
    name = str(wanted.name)
    try:
        found = (await js.stream_info(name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return StreamChange(name, "created")
    fields = _differences(wanted, found)
    if not fields:
        return StreamChange(name, "unchanged")
    await js.update_stream(replace(found, **{field: getattr(wanted, field) for field in fields}))
    return StreamChange(name, "corrected", fields)


def _differences(wanted: StreamConfig, found: StreamConfig) -> tuple[str, ...]:
    return tuple(name for name in _DEFINED if getattr(wanted, name) != getattr(found, name))
