"""Both ends of the stage stream protocol: a worker's (`StageWorker`) and the gateway's (`StageClient`).

The protocol is described in docs/decisions/0003-stage-streams.md.
"""

from voxbus.runtime.streams.failure import StageFailure
from voxbus.runtime.streams.owned_stream import OwnedStream
from voxbus.runtime.streams.owner import StageClient, StreamListener
from voxbus.runtime.streams.owner_settings import OwnerSettings, Takeover
from voxbus.runtime.streams.service import StageService, StreamHandler
from voxbus.runtime.streams.worker import StageWorker
from voxbus.runtime.streams.worker_stream import WorkerStream

__all__ = [
    "OwnedStream",
    "OwnerSettings",
    "StageClient",
    "StageFailure",
    "StageService",
    "StageWorker",
    "StreamHandler",
    "StreamListener",
    "Takeover",
    "WorkerStream",
]
