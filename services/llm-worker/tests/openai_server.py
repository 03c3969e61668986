"""A server that speaks OpenAI's chat completions over real HTTP, streams, and fails on demand.

`test_openai_server.py` holds what a client may rely on; it also runs against a real server, if one is named.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

KEY = "sk-test-secret"
MODEL = "tiny"


class Fault(Enum):
    """What goes wrong, after `Reply.fault_after` tokens."""

    STALL = auto()
    CUT = auto()
    MALFORMED = auto()
    NO_COMPLETION = auto()
    ERROR_EVENT = auto()
    SILENT_END = auto()


@dataclass(frozen=True)
class Reply:
    """One answer: a status other than 200, or tokens and tool calls as (id, name, arguments in parts)."""

    tokens: tuple[str, ...] = ()
    tool_calls: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    status: int = 200
    fault: Fault | None = None
    fault_after: int = 0
    token_s: float = 0.0
    endless: bool = False
    open_after: str = ""
    """The connection stays open and silent after "stop" (the finish reason) or "usage"; "cut": it is cut after "stop"."""
    indices: tuple[int | None, ...] = ()
    """Of the tool calls, as servers that do not count them send them; empty: 0, 1, 2…"""


@dataclass
class OpenAiServer:
    """Give it replies, start it, read what was asked of it."""

    replies: deque[Reply] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    base_url: str = ""

    async def __aenter__(self) -> OpenAiServer:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnected.set()
        except asyncio.CancelledError:
            pass  # the server stops; asyncio would report a cancelled connection as an error
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line = await reader.readline()
        if not line:
            return False
        headers: dict[str, str] = {}
        while (header := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        return await self._answer(line.decode().split()[1], headers, body, reader, writer)

    async def _answer(
        self,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        self.keys.append(headers.get("authorization", ""))
        problem = refusal(path, headers, body)
        if problem:
            return await _error(writer, *problem)
        self.requests.append(body)
        reply = self.replies.popleft()
        if reply.status != 200:
            return await _error(writer, reply.status, "rate_limit_exceeded" if reply.status == 429 else "server_error")
        # Nothing is pipelined, so that reading on shows when the client goes away.
        gone = asyncio.create_task(reader.read(1))
        stream = asyncio.create_task(_Stream(writer, body, reply).run())
        await asyncio.wait({gone, stream}, return_when=asyncio.FIRST_COMPLETED)
        if not stream.done():
            self.disconnected.set()
        for task in (gone, stream):
            task.cancel()
        results = await asyncio.gather(gone, stream, return_exceptions=True)
        return results[1] is True and isinstance(results[0], asyncio.CancelledError)


class _Stream:
    """Server-sent events of one reply, in chunked encoding."""

    def __init__(self, writer: asyncio.StreamWriter, body: dict[str, Any], reply: Reply) -> None:
        self._writer = writer
        self._body = body
        self._reply = reply

    async def run(self) -> bool:
        """True: the connection may be used again."""
        reply = self._reply
        self._writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await self._event(self._chunk({"role": "assistant", "content": ""}))
        for position, token in enumerate(reply.tokens):
            if reply.fault and position == reply.fault_after:
                return await self._fail(reply.fault)
            await asyncio.sleep(reply.token_s)
            await self._event(self._chunk({"content": token}))
        if reply.fault:
            return await self._fail(reply.fault)
        while reply.endless:
            await asyncio.sleep(max(reply.token_s, 0.005))
            await self._event(self._chunk({"content": " and on"}))
        await self._tool_calls()
        await self._event(self._chunk({}, "tool_calls" if reply.tool_calls else "stop"))
        if reply.open_after == "cut":
            return False
        if self._body.get("stream_options", {}).get("include_usage"):
            if reply.open_after == "stop":
                await asyncio.Event().wait()
            usage = {"prompt_tokens": 7, "completion_tokens": len(reply.tokens), "total_tokens": 7 + len(reply.tokens)}
            await self._event({**self._chunk({}), "choices": [], "usage": usage})
        if reply.open_after == "usage":
            await asyncio.Event().wait()
        await self._data("[DONE]")
        return await self._end()

    async def _tool_calls(self) -> None:
        for number, (call_id, name, parts) in enumerate(self._reply.tool_calls):
            index = self._reply.indices[number] if self._reply.indices else number
            function = {"name": name, "arguments": ""}
            head = {"index": index, "id": call_id, "type": "function", "function": function}
            await self._event(self._chunk({"tool_calls": [head]}))
            for part in parts:
                await self._event(self._chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))

    async def _fail(self, fault: Fault) -> bool:
        if fault is Fault.STALL:
            await asyncio.Event().wait()
        if fault is Fault.MALFORMED:
            await self._data('{"id": "chatcmpl-1", "choices": [{"de')
        if fault is Fault.NO_COMPLETION:
            await self._data('["this", "is", "no", "completion"]')
        if fault is Fault.ERROR_EVENT:
            await self._event({"error": {"message": "the caller said secret words", "type": "server_error"}})
        if fault is Fault.CUT:
            return False
        return await self._end()

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self._body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}],
        }

    async def _event(self, event: dict[str, Any]) -> None:
        await self._data(json.dumps(event))

    async def _data(self, data: str) -> None:
        encoded = f"data: {data}\n\n".encode()
        self._writer.write(f"{len(encoded):x}\r\n".encode() + encoded + b"\r\n")
        await self._writer.drain()

    async def _end(self) -> bool:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return True


def refusal(path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str] | None:
    """Status and code for what OpenAI's servers refuse."""
    if path != "/v1/chat/completions":
        return 404, "not_found"
    if headers.get("authorization") not in (f"Bearer {KEY}", "Bearer none"):
        return 401, "invalid_api_key"
    if body.get("model") != MODEL:
        return 404, "model_not_found"
    pending: set[str] = set()
    for message in body.get("messages", []):
        if message["role"] == "tool":
            if message["tool_call_id"] not in pending:
                return 400, "invalid_request_error"
            pending.remove(message["tool_call_id"])
        elif pending:
            return 400, "invalid_request_error"
        pending |= {call["id"] for call in message.get("tool_calls", [])}
    return (400, "invalid_request_error") if pending or not body.get("messages") else None


async def _error(writer: asyncio.StreamWriter, status: int, code: str) -> bool:
    error = {"message": f"something with {KEY} and the caller's words", "type": "error", "param": None, "code": code}
    encoded = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 {status} Error\r\nContent-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
    writer.write(head.encode() + encoded)
    await writer.drain()
    return True
