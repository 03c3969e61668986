"""What a wire protocol is to the server. A new one is one file with a `Handler`, and one line in `routes.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.limits import EdgeLimits
from voxbus.voice_gateway.edge.line import CallFactory
from voxbus.voice_gateway.edge.tokens import CallTokens

if TYPE_CHECKING:
    from voxbus.voice_gateway.edge.connection import Connection


class Handler(ABC):
    """A wire protocol's side of a connection. Callbacks come one after the other and must not block."""

    @abstractmethod
    def on_open(self) -> None:
        """The socket is open."""

    @abstractmethod
    def on_text(self, data: bytes) -> None:
        """A text message, as the client sent it: that it is UTF-8 is not checked."""

    @abstractmethod
    def on_binary(self, data: bytes) -> None:
        """A binary message."""

    @abstractmethod
    def on_breach(self, code: CloseCode, message: str) -> None:
        """The client broke a limit: tell it in the protocol's words. The connection then closes with `code`."""

    @abstractmethod
    def on_closed(self) -> None:
        """No message will come and none can be sent any more. Called once."""


@dataclass(frozen=True)
class Edge:
    """What every wire protocol needs."""

    start_call: CallFactory
    tokens: CallTokens
    limits: EdgeLimits = field(default_factory=EdgeLimits)


@dataclass(frozen=True)
class WireProtocol:
    """A wire protocol: its name, as in metrics and `Line.protocol`, and what makes the handler of a connection."""

    name: str
    make_handler: Callable[[Edge, Connection], Handler]
