"""The native protocol: JSON text messages, and audio as binary messages. The page for client authors is
docs/protocols/native.md, the messages are in `voxbus.contracts.native`."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any, Final

import structlog
from pydantic import ValidationError

from voxbus.contracts.audio import SAMPLE_BYTES, SAMPLE_RATE
from voxbus.contracts.base import Message
from voxbus.contracts.native import (
    CLIENT_MESSAGE,
    Audio,
    Auth,
    Clear,
    Dtmf,
    Ended,
    ErrorMessage,
    Mark,
    NativeErrorCode,
    Ready,
)
from voxbus.runtime.audio import StreamResampler
from voxbus.voice_gateway.edge import metrics
from voxbus.voice_gateway.edge.caller_audio import CallerAudio
from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.connection import Connection
from voxbus.voice_gateway.edge.limits import TokenBucket
from voxbus.voice_gateway.edge.line import CallEnd, CallRefused, CallRequest, Line, LineMessage
from voxbus.voice_gateway.edge.marks import Marks
from voxbus.voice_gateway.edge.native_faults import BREACH_CODE, END_CLOSE, REFUSAL_CLOSE, explain, token_refusal
from voxbus.voice_gateway.edge.tokens import Claims
from voxbus.voice_gateway.edge.wire import Edge, Handler, WireProtocol

log = structlog.get_logger(__name__)


class NativeLine(Line, Handler):
    """One client: authenticates, asks for the call, then carries messages both ways."""

    protocol = "native"

    def __init__(self, edge: Edge, connection: Connection) -> None:
        self.sample_rate = SAMPLE_RATE
        self._edge = edge
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._auth_deadline: asyncio.TimerHandle | None = None
        self._auth: Auth | None = None
        self._starting: asyncio.Task[None] | None = None
        self._call: CallEnd | None = None
        self._hung_up = False
        self._base64 = False
        self._caller_audio: CallerAudio | None = None
        self._resampler: StreamResampler | None = None
        self._marks = Marks()
        self._log: Any = log
        self._faults = TokenBucket(edge.limits.fault_rate, edge.limits.fault_burst)

    # The connection's side.

    def on_open(self) -> None:
        """The client has so long to authenticate, whatever else it sends."""
        timeout_s = self._edge.limits.auth_timeout_s
        self._auth_deadline = self._loop.call_later(
            timeout_s, self._refuse, NativeErrorCode.AUTH_TIMEOUT, f"no valid auth message within {timeout_s:g} s"
        )

    def on_text(self, data: bytes) -> None:
        """A JSON message."""
        try:
            message = CLIENT_MESSAGE.validate_json(data)
        except ValidationError as error:
            self._fault(NativeErrorCode.INVALID_MESSAGE, explain(error))
            return
        if isinstance(message, Auth):
            self._on_auth(message)
        elif self._auth is None:
            self._refuse(NativeErrorCode.NOT_AUTHENTICATED, "the first message must be auth")
        elif isinstance(message, Audio):
            self._on_base64(message.data)
        elif isinstance(message, Mark):
            self._on_mark(message.name)
        elif isinstance(message, Dtmf):
            if self._call is not None:
                self._call.on_dtmf(message.digit)
        else:
            self._on_hangup()

    def on_binary(self, data: bytes) -> None:
        """Audio."""
        if self._caller_audio is not None:
            self._on_audio(self._caller_audio, data)
        elif self._auth is None:
            self._refuse(NativeErrorCode.NOT_AUTHENTICATED, "the first message must be auth")

    def on_breach(self, code: CloseCode, message: str) -> None:
        """A limit of the connection."""
        self._send(
            ErrorMessage(code=BREACH_CODE.get(code, NativeErrorCode.INVALID_MESSAGE), message=message, fatal=True)
        )

    def on_closed(self) -> None:
        """Nothing can be said any more."""
        self._disarm()
        self._caller_audio = None
        call, self._call = self._call, None
        if call is not None:
            call.on_disconnected()

    # Authentication.

    def _on_auth(self, auth: Auth) -> None:
        if self._auth is not None:
            self._fault(NativeErrorCode.INVALID_MESSAGE, "already authenticated")
            return
        self._auth = auth
        self.sample_rate = auth.sample_rate
        self._base64 = auth.audio == "base64"
        if auth.sample_rate != SAMPLE_RATE:
            self._resampler = StreamResampler(SAMPLE_RATE, auth.sample_rate)
        self._starting = self._loop.create_task(self._start(auth))

    async def _start(self, auth: Auth) -> None:
        claims = await self._verify(auth)
        if claims is None or self._connection.closed:
            return
        self._disarm()
        request = CallRequest(
            agent_id=auth.agent_id,
            protocol=self.protocol,
            sample_rate=auth.sample_rate,
            subject=claims.subject,
            remote_address=self._connection.remote_address,
            claims=claims.all,
        )
        try:
            call = await self._edge.start_call(request, self)
        except CallRefused as refused:
            self._refuse(refused.code, refused.message)
        except Exception:
            log.exception("call could not be started")
            self._refuse(NativeErrorCode.INTERNAL, "the call could not be started")
        else:
            self._begin(call)

    async def _verify(self, auth: Auth) -> Claims | None:
        """What the token says; None when the client was refused."""
        try:
            return await self._edge.tokens.verify(auth.token, auth.agent_id)
        except Exception as error:  # the client is told something in any case
            self._refuse(*token_refusal(error))
        return None

    def _begin(self, call: CallEnd) -> None:
        if self._connection.closed:
            call.on_disconnected()
            return
        self._call = call
        self._log = log.bind(call_id=call.id, agent_id=call.agent.id)
        self._send(
            Ready(session_id=call.id, sample_rate=self.sample_rate, agent_id=call.agent.id, agent_name=call.agent.name)
        )
        self._caller_audio = CallerAudio(self.sample_rate, self._edge.limits.audio_burst_s, call.on_audio)
        if self._hung_up:
            call.on_hangup()

    def _disarm(self) -> None:
        if self._auth_deadline is not None:
            self._auth_deadline.cancel()
            self._auth_deadline = None

    # What the client says during a call.

    def _on_audio(self, audio: CallerAudio, pcm: bytes) -> None:
        try:
            accepted = audio.push(pcm)
        except ValueError as error:
            self._fault(NativeErrorCode.INVALID_AUDIO, str(error))
            return
        if not accepted:
            self._on_too_fast(audio, len(pcm) / (SAMPLE_BYTES * self.sample_rate))

    def _on_too_fast(self, audio: CallerAudio, dropped_s: float) -> None:
        metrics.AUDIO_DROPPED.labels(self.protocol).inc(dropped_s)
        if audio.dropped_s > self._edge.limits.max_dropped_s:
            self._fatal(NativeErrorCode.OVERLOADED, "audio keeps coming faster than real time", CloseCode.FLOOD)
        else:
            self._fault(NativeErrorCode.OVERLOADED, "audio comes faster than real time; it was dropped")

    def _on_base64(self, data: str) -> None:
        try:
            pcm = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            self._fault(NativeErrorCode.INVALID_AUDIO, "data is not base64")
            return
        self.on_binary(pcm)

    def _on_mark(self, name: str) -> None:
        for played in self._marks.played(name):
            self._report_mark(played)

    def _on_hangup(self) -> None:
        self._hung_up = True
        if self._call is not None:
            self._call.on_hangup()

    # The call's side.

    @property
    def closed(self) -> bool:
        """Whether the client can no longer be reached."""
        return self._connection.closed

    def send_audio(self, pcm: bytes) -> None:
        """Binary, or base64 where the client asked for it."""
        if self._call is None:
            return
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
        if self._base64:
            self._send(Audio(data=base64.b64encode(pcm).decode()))
        else:
            self._connection.send_binary(pcm)

    def clear(self) -> None:
        """Tell the client; marks that wait are over at the next turn of the event loop."""
        if self._call is None:
            return
        self._send(Clear())
        if self._resampler is not None:
            self._resampler.reset()
        self._report_soon(self._marks.clear())

    def mark(self, name: str) -> None:
        """The client sends it back when it has played what was sent before."""
        if self._call is None:
            return
        self._report_soon(self._marks.add(name))
        self._send(Mark(name=name))

    def _report_soon(self, names: list[str]) -> None:
        for name in names:  # not from inside of the call's own call
            self._loop.call_soon(self._report_mark, name)

    def _report_mark(self, name: str) -> None:
        if self._call is not None:
            self._call.on_mark(name)

    def send_message(self, message: LineMessage) -> None:
        """As it is."""
        if self._call is not None:
            self._send(message)

    async def end(self, ended: Ended) -> None:
        """Say `ended` and close; wait until the socket is gone."""
        self._call = None
        self._caller_audio = None
        self._send(ended)
        self._connection.close(END_CLOSE.get(ended.reason, CloseCode.NORMAL), "the call is over")
        await self._connection.wait_gone()

    # Sending.

    def _send(self, message: Message) -> None:
        self._connection.send_text(message.encode())

    def _fault(self, code: NativeErrorCode, message: str) -> None:
        """Answer a bad message; the call goes on, unless there is none yet or there are too many."""
        if self._auth is None:
            self._refuse(code, message)
        elif self._faults.take():
            metrics.CLIENT_FAULTS.labels(self.protocol, code.value).inc()
            self._log.info("client fault", protocol=self.protocol, code=code.value)
            self._send(ErrorMessage(code=code, message=message))
        elif code is not NativeErrorCode.OVERLOADED:
            self._fatal(NativeErrorCode.OVERLOADED, "too many bad messages", CloseCode.FLOOD)

    def _refuse(self, code: NativeErrorCode, message: str) -> None:
        """There will be no call."""
        metrics.AUTH_FAILURES.labels(self.protocol, code.value).inc()
        self._fatal(code, message, REFUSAL_CLOSE.get(code, CloseCode.INTERNAL))

    def _fatal(self, code: NativeErrorCode, message: str, close_code: CloseCode) -> None:
        if self._connection.closed:
            return
        self._log.info("client dropped", protocol=self.protocol, code=code.value, close_code=close_code.value)
        self._send(ErrorMessage(code=code, message=message, fatal=True))
        self._connection.close(close_code, message)


NATIVE: Final = WireProtocol("native", NativeLine)
