"""One WebSocket connection: whole messages out of frames, limits, keep-alive, and an orderly end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from voxbus.voice_gateway.edge import metrics
from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.limits import EdgeLimits, TokenBucket
from voxbus.voice_gateway.edge.wire import Handler

log = structlog.get_logger(__name__)

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING, _CLOSE = WSMsgType.PING, WSMsgType.CLOSE


class Connection(WSListener):
    """A client's socket. Made by the server; the wire protocol gives it a `Handler`."""

    def __init__(
        self,
        protocol: str,
        limits: EdgeLimits,
        make_handler: Callable[[Connection], Handler],
        registry: set[Connection],
    ) -> None:
        self.protocol = protocol
        self.remote_address = ""
        self.closed = False
        """Whether the end has begun."""
        self._limits = limits
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self._frames = TokenBucket(limits.message_rate, limits.message_rate * 2)
        self._transport: Any = None
        self._partial: bytearray | None = None
        self._partial_kind = _BINARY
        self._heard = True
        self._heard_at = self._loop.time()
        self._pinged = False
        self._gone = self._loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None
        self._counts = [0, 0, 0, 0]  # messages in, bytes in, messages out, bytes out since the last report
        self._handler = make_handler(self)

    # For the handler.

    def send_text(self, data: bytes) -> None:
        """Send a text message; dropped once the connection is closed."""
        self._send(_TEXT, data)

    def send_binary(self, data: bytes) -> None:
        """Send a binary message; dropped once the connection is closed."""
        self._send(_BINARY, data)

    def _send(self, kind: WSMsgType, data: bytes) -> None:
        if self.closed:
            return
        counts = self._counts
        counts[2] += 1
        counts[3] += len(data)
        self._transport.send(kind, data)

    def close(self, code: int, reason: str) -> None:
        """Send what is still to be sent and a close frame; the socket goes when the client has answered, or is late.

        `reason` is for the client; what does not fit in a close frame (123 bytes) is cut off.
        """
        if self.closed:
            return
        self._transport.send_close(code, reason.encode()[:123].decode(errors="ignore"))
        self._begin_end()
        self._deadline = self._loop.call_later(self._limits.close_timeout_s, self.abort)

    def abort(self) -> None:
        """Drop the socket with what was not sent yet."""
        if not self.closed:
            self._begin_end()
        self._transport.disconnect(False)

    async def wait_gone(self) -> None:
        """Wait until the socket is gone: at most `close_timeout_s` after `close`."""
        await asyncio.shield(self._gone)

    def _begin_end(self) -> None:
        self.closed = True
        self._partial = None
        # Not from inside of whatever asked for the end: it may be the call itself.
        self._loop.call_soon(self._handler.on_closed)

    # For the server.

    def sweep(self, now: float) -> None:
        """Called about once a second: keep-alive and metrics."""
        self._report()
        if self._heard:
            self._heard, self._heard_at, self._pinged = False, now, False
        if self.closed:
            return
        silent_s = now - self._heard_at
        if silent_s >= self._limits.ping_interval_s * 2:
            self._give_up("dead")
            self.abort()
        elif silent_s >= self._limits.ping_interval_s and not self._pinged:
            self._pinged = True
            self._transport.send_ping()

    def too_large(self) -> None:
        """The client announced a frame beyond the limit. Nothing more is read: its payload must not pile up here."""
        if not self.closed:
            self._breach(CloseCode.TOO_LARGE, f"a message may have at most {self._limits.max_message_bytes} bytes")
        self._stop_reading()

    def broken(self) -> None:
        """The client does not speak WebSocket (any more); a close frame is on its way."""
        if not self.closed:
            self._give_up("protocol_error")
            self._begin_end()
            self._deadline = self._loop.call_later(self._limits.close_timeout_s, self.abort)
        self._stop_reading()

    def _stop_reading(self) -> None:
        underlying = self._transport.underlying_transport
        if underlying.is_reading():
            underlying.pause_reading()

    def _give_up(self, reason: str) -> None:
        metrics.CONNECTIONS_LOST.labels(self.protocol, reason).inc()
        log.info("connection given up", protocol=self.protocol, reason=reason)

    def _breach(self, code: CloseCode, message: str) -> None:
        self._give_up(code.name.lower())
        self._handler.on_breach(code, message)
        self.close(code, message)

    def _report(self) -> None:
        messages_in, bytes_in, messages_out, bytes_out = self._counts
        self._counts[:] = (0, 0, 0, 0)
        metrics.MESSAGES.labels(self.protocol, "in").inc(messages_in)
        metrics.BYTES.labels(self.protocol, "in").inc(bytes_in)
        metrics.MESSAGES.labels(self.protocol, "out").inc(messages_out)
        metrics.BYTES.labels(self.protocol, "out").inc(bytes_out)

    # Called by picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        underlying = transport.underlying_transport
        peer = underlying.get_extra_info("peername")
        self.remote_address = str(peer[0]) if peer else ""
        # Without this the kernel would hold minutes of audio for a client that does not read.
        sock = underlying.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.max_backlog_bytes // 2)
        underlying.set_write_buffer_limits(high=self._limits.max_backlog_bytes)
        self._registry.add(self)
        metrics.CONNECTIONS.labels(self.protocol).inc()
        metrics.CONNECTIONS_OPENED.labels(self.protocol).inc()
        self._handler.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame, which may be a fragment of a message."""
        self._heard = True
        try:
            if self.closed:
                if frame.msg_type == _CLOSE:
                    transport.disconnect()
            elif not self._frames.take():
                self._breach(CloseCode.FLOOD, f"more than {self._limits.message_rate:g} messages a second")
            elif frame.rsv1 or frame.rsv2 or frame.rsv3:
                self._breach(CloseCode.PROTOCOL_ERROR, "no extension was agreed")
            elif frame.msg_type == _BINARY and frame.fin and self._partial is None:
                self._on_message(_BINARY, frame.get_payload_as_bytes())
            else:
                self._on_other(transport, frame)
        except Exception:
            log.exception("connection failed", protocol=self.protocol)
            self._breach(CloseCode.INTERNAL, "internal error")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        if not self.closed:
            self._begin_end()
        if self._deadline is not None:
            self._deadline.cancel()
        self._registry.discard(self)
        self._report()
        metrics.CONNECTIONS.labels(self.protocol).dec()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to, and what waits for it has become too much."""
        if not self.closed:
            self._loop.call_soon(self._drop_slow_reader)

    def resume_writing(self) -> None:
        """It has caught up; too late."""

    def _drop_slow_reader(self) -> None:
        if not self.closed:
            metrics.SLOW_READERS.labels(self.protocol).inc()
            self._give_up("slow_reader")
            self.close(CloseCode.SLOW_READER, "the client reads too slowly")

    # Messages out of frames.

    def _on_other(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in (_TEXT, _BINARY, _CONTINUATION):
            self._on_data(kind, frame)
        elif kind == _PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == _CLOSE:
            payload = frame.get_payload_as_bytes()
            self.close(int.from_bytes(payload[:2], "big") if payload else CloseCode.NORMAL, "")
            transport.disconnect()

    def _on_data(self, kind: WSMsgType, frame: WSFrame) -> None:
        starts = kind != _CONTINUATION
        if starts != (self._partial is None):
            self._breach(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
            return
        if starts and frame.fin:
            self._on_message(kind, frame.get_payload_as_bytes())
            return
        if self._partial is None:
            self._partial, self._partial_kind = bytearray(), kind
        if len(self._partial) + frame.payload_size > self._limits.max_message_bytes:
            self._breach(CloseCode.TOO_LARGE, f"a message may have at most {self._limits.max_message_bytes} bytes")
            return
        self._partial += frame.get_payload_as_memoryview()
        if frame.fin:
            data, self._partial = bytes(self._partial), None
            self._on_message(self._partial_kind, data)

    def _on_message(self, kind: WSMsgType, data: bytes) -> None:
        counts = self._counts
        counts[0] += 1
        counts[1] += len(data)
        if kind == _BINARY:
            self._handler.on_binary(data)
        else:
            self._handler.on_text(data)
