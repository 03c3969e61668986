"""The two connections of a process: a raw one for the live plane, and FastStream's for events and requests.

The live plane has its own connection so that a slow event handler or a large reply never delays audio; FastStream costs 4 to 8
times as much per message (docs/decisions/0003-stage-streams.md), which is why requests only use its connection (0010).
"""

from voxbus.runtime.bus.errors import BusUnavailableError, NoWorkerError, TooLargeError
from voxbus.runtime.bus.events import BusSubscriber, EventBus, patience_s
from voxbus.runtime.bus.live import LiveBus, MessageHandler

__all__ = [
    "BusSubscriber",
    "BusUnavailableError",
    "EventBus",
    "LiveBus",
    "MessageHandler",
    "NoWorkerError",
    "TooLargeError",
    "patience_s",
]
