"""The beginning of a call: connect, authenticate, wait for `ready`."""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from voxbus.contracts import native
from voxbus.local.errors import CallRefusedError, GatewayUnreachableError

_READY_TIMEOUT_S: Final = 10.0
_MAX_MESSAGE_BYTES: Final = 2**20
_MAX_QUEUED_MESSAGES: Final = 256
_HINTS: Final = {
    native.NativeErrorCode.UNKNOWN_AGENT: "`voxbus agents list` shows the agents; one must be published to be called",
    native.NativeErrorCode.INVALID_TOKEN: "make a new one with `voxbus token`, in the state directory of this stack",
    native.NativeErrorCode.OVERLOADED: "end other calls, or start more workers: `voxbus up --processes stt=2,llm=2,tts=2`",
}


async def open_call(url: str, auth: native.Auth) -> tuple[ClientConnection, native.Ready]:
    """An accepted call at `url`. Raises GatewayUnreachableError or CallRefusedError."""
    try:
        socket = await connect(
            url, compression=None, proxy=None, max_size=_MAX_MESSAGE_BYTES, max_queue=_MAX_QUEUED_MESSAGES
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise GatewayUnreachableError(
            f"no voice gateway answers at {url} ({error})", "start a stack with `voxbus up`, or check --url"
        ) from None
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            await socket.send(auth.encode().decode())
            return socket, await _receive_ready(socket, url)
    except TimeoutError:
        await socket.close()
        raise GatewayUnreachableError(
            f"{url} took the connection and did not answer within {_READY_TIMEOUT_S:g} s", "look at the gateway's log"
        ) from None
    except BaseException:
        await socket.close()
        raise


async def _receive_ready(socket: ClientConnection, url: str) -> native.Ready:
    try:
        while True:
            raw = await socket.recv()
            message = native.SERVER_MESSAGE.validate_json(raw) if isinstance(raw, str) else None
            if isinstance(message, native.Ready):
                return message
            if isinstance(message, native.ErrorMessage):
                raise CallRefusedError(message.code, message.message, _HINTS.get(message.code, ""))
    except ConnectionClosed as closed:
        raise CallRefusedError("closed", f"it closed the connection ({closed})") from None
    except ValidationError:
        raise GatewayUnreachableError(f"{url} does not speak Voxbus' protocol", "check --url") from None
