"""What all calls of the process share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxbus.runtime.streams import StageClient
from voxbus.voice_gateway.playout import Clock
from voxbus.voice_gateway.pump import AudioPump
from voxbus.voice_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from voxbus.voice_gateway.call import Call


@dataclass(frozen=True)
class CallParts:
    """Made once, by the register of calls."""

    settings: GatewaySettings
    client: StageClient
    clock: Clock
    pump: AudioPump
    publish: Callable[..., Coroutine[Any, Any, None]]
    ended: Callable[[Call], None]
