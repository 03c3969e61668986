"""The inner interface of the edge: a wire protocol gives the call logic a `Line`, the call logic gives it a `CallEnd`.

All audio between the two is PCM16 mono 16 kHz; the line resamples. Everything happens on one event loop: the methods that
are not `async` never block and are not to be called from another thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.native import Ended, ErrorMessage, NativeErrorCode, TranscriptMessage, Turn

LineMessage = TranscriptMessage | Turn | ErrorMessage
"""What a call tells the client beside audio."""


@dataclass(frozen=True)
class CallRequest:
    """An authenticated client asks for a call. `sample_rate` is the client's, in Hz."""

    agent_id: str
    protocol: str
    sample_rate: int
    subject: str
    """`sub` of the token: whom the call is for."""
    remote_address: str
    """Of the peer of the socket, which may be a proxy."""
    claims: Mapping[str, JsonValue] = field(default_factory=dict)
    """All claims of the token."""


class CallRefused(Exception):  # noqa: N818 - the name says what happened to the call
    """There will be no call. The client is told `code` and `message`, so the message must hold nothing internal."""

    def __init__(self, code: NativeErrorCode, message: str) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message


class Line(ABC):
    """The caller's end of a call, as the call logic sees it.

    The line may be used as soon as the call factory has returned the call. Once it is `closed` every method does nothing.
    """

    protocol: str
    sample_rate: int
    """What the client sends and plays, in Hz."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the client can no longer be reached."""

    @abstractmethod
    def send_audio(self, pcm: bytes) -> None:
        """Play this to the caller: any whole number of samples, usually 20 ms (640 bytes). Pacing is the caller's matter."""

    @abstractmethod
    def clear(self) -> None:
        """Throw away what the client has not played yet; marks that wait are over at once."""

    @abstractmethod
    def mark(self, name: str) -> None:
        """Have `CallEnd.on_mark(name)` called when everything sent before has been played or cleared."""

    @abstractmethod
    def send_message(self, message: LineMessage) -> None:
        """Tell the client; a protocol that has no words for it ignores it."""

    @abstractmethod
    async def end(self, ended: Ended) -> None:
        """Tell the client that the call is over, send what is still to be sent, close. Calls nothing back."""


class CallEnd(ABC):
    """What a line calls on the call. Callbacks return fast; none comes after `on_disconnected` or `Line.end`."""

    id: str
    """The call's id."""
    agent: AgentConfig
    """Whom the caller talks with."""

    @abstractmethod
    def on_audio(self, pcm: bytes) -> None:
        """Exactly one frame: 20 ms, 640 bytes."""

    @abstractmethod
    def on_mark(self, name: str) -> None:
        """Everything sent before the mark has been played or cleared."""

    @abstractmethod
    def on_dtmf(self, digit: str) -> None:
        """The caller pressed a key: one of `0-9A-D*#`."""

    @abstractmethod
    def on_hangup(self) -> None:
        """The caller ends the call. The line stays open until `Line.end`."""

    @abstractmethod
    def on_disconnected(self) -> None:
        """The socket is gone."""


CallFactory = Callable[[CallRequest, Line], Awaitable[CallEnd]]
"""Starts a call. Raises `CallRefused`. It may use the line only after its last await: the client is told `ready` when
it returns, and what is sent before that is dropped."""
