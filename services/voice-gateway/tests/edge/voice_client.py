"""Clients of the voice socket: the `websockets` library, and a bare TCP socket for what that library would never send."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fake_call import AGENT_ID, Exchange, RecordingCall
from websockets.asyncio.client import ClientConnection

from voxbus.contracts.native import SERVER_MESSAGE
from voxbus.voice_gateway.edge.server import VoiceServer
from voxbus.voice_gateway.edge.tokens import KeySet, keys_of_pem

TIMEOUT_S = 10.0


async def eventually(condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until `condition()` is true; fail when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"never true: {condition}")
        await asyncio.sleep(0.002)


def pem(*keys: Any) -> bytes:
    """The public halves."""
    return b"\n".join(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys)


class Signer:
    """Makes tokens."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()

    def token(
        self, *, headers: dict[str, Any] | None = None, key: Any = None, algorithm: str = "EdDSA", **claims: Any
    ) -> str:
        """A good token, with `claims` on top; a claim that is None is left out."""
        good = {"sub": "user-1", "aud": "voxbus-voice", "exp": int(time.time()) + 60}
        payload = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return jwt.encode(payload, key or self.key, algorithm=algorithm, headers=headers)


class FixedKeys:
    """Keys that never change, and that a test can hold back."""

    def __init__(self, *keys: Any) -> None:
        self.keys = KeySet(keys_of_pem(pem(*keys)))
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def verify(self, token: str, audience: str) -> Mapping[str, Any]:
        """The claims, once `gate` is set. Raises InvalidTokenError and `failure`."""
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.keys.verify(token, audience)


@dataclass
class Gateway:
    """A running server and what a test needs to know of it."""

    server: VoiceServer
    exchange: Exchange
    signer: Signer
    keys: FixedKeys

    @property
    def call(self) -> RecordingCall:
        """The only call there was."""
        assert len(self.exchange.calls) == 1
        return self.exchange.calls[0]

    def auth(self, **fields: Any) -> str:
        """A good auth message, with `fields` on top."""
        return json.dumps({"type": "auth", "token": self.signer.token(), "agent_id": AGENT_ID, **fields})

    def connect(self, path: str = "/v1/voice", **options: Any) -> websockets.connect:
        """A client's connection; not authenticated."""
        url = f"ws://127.0.0.1:{self.server.port}{path}"
        return websockets.connect(url, **{"compression": None, "ping_interval": None, "max_queue": None, **options})

    async def ready(self, client: ClientConnection, **fields: Any) -> dict[str, Any]:
        """Authenticate; the server's `ready`."""
        await client.send(self.auth(**fields))
        return await receive(client, "ready")


StartGateway = Callable[..., Awaitable[Gateway]]


async def receive(client: ClientConnection, kind: str | None = None) -> dict[str, Any]:
    """The next message, which must be JSON of a known type, and of type `kind` if that is given."""
    data = await asyncio.wait_for(client.recv(), TIMEOUT_S)
    assert isinstance(data, str), f"binary message of {len(data)} bytes"
    SERVER_MESSAGE.validate_json(data)
    message: dict[str, Any] = json.loads(data)
    assert kind is None or message["type"] == kind, message
    return message


async def receive_audio(client: ClientConnection) -> bytes:
    """The next message, which must be audio."""
    data = await asyncio.wait_for(client.recv(), TIMEOUT_S)
    assert isinstance(data, bytes), data
    return data


async def close_code(client: ClientConnection) -> int | None:
    """Wait for the end of the connection; the server's close code."""
    await asyncio.wait_for(client.wait_closed(), TIMEOUT_S)
    return client.close_code


async def expect_fatal(client: ClientConnection, error: str, code: int) -> dict[str, Any]:
    """The next message is a fatal error, the last one, and then the server closes with `code`. Returns the error."""
    message = await receive(client, "error")
    assert (message["code"], message["fatal"]) == (error, True)
    with pytest.raises(websockets.ConnectionClosed):
        await asyncio.wait_for(client.recv(), TIMEOUT_S)
    assert await close_code(client) == code
    return message


class RawClient:
    """A client on a bare socket, after the upgrade."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, **headers: str) -> RawClient:
        """Connect and upgrade."""
        return await cls.upgrade(*await asyncio.open_connection("127.0.0.1", port), **headers)

    @classmethod
    async def upgrade(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, **headers: str) -> RawClient:
        """Upgrade an open socket."""
        fields = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return cls(reader, writer)

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> None:
        """Send one frame."""
        self.writer.write(frame_header(opcode, len(payload), fin=fin, rsv=rsv, masked=masked))
        if masked:
            mask = os.urandom(4)
            self.writer.write(mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))
        else:
            self.writer.write(payload)

    async def receive_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the server's next frame. Raises IncompleteReadError at the end."""
        first, second = await asyncio.wait_for(self.reader.readexactly(2), TIMEOUT_S)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        return first & 0x0F, await self.reader.readexactly(size)

    async def receive_close(self) -> int:
        """The server's close code; other frames before it are skipped."""
        while True:
            opcode, payload = await self.receive_frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def close(self) -> None:
        """Drop the socket."""
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def frame_header(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """The header of a client's frame, without the mask."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        return bytes([first, mask_bit | size])
    if size < 65_536:
        return struct.pack("!BBH", first, mask_bit | 126, size)
    return struct.pack("!BBQ", first, mask_bit | 127, size)
