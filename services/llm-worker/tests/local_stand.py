"""Provider `local` in a service, pointed at a server of the test's."""

from __future__ import annotations

from typing import Any

from openai_server import KEY, MODEL
from reply_stream import ReplyStream, reply_request

from voxbus.contracts.llm import Tool, ToolKind
from voxbus.contracts.stage import ProviderChoice
from voxbus.llm_worker.http_tools import HttpTools
from voxbus.llm_worker.providers.local import LocalProvider
from voxbus.llm_worker.service import LlmService
from voxbus.llm_worker.settings import Settings

LOCAL = ProviderChoice(name="local")
BOOK = Tool(
    name="book",
    description="Write it down.",
    parameters={"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
)
HANG_UP = Tool(name="hang_up", kind=ToolKind.END_CALL)


def make_service(http: HttpTools | None = None, **settings: Any) -> LlmService:
    defaults: dict[str, Any] = {
        "llm_local_api_key": KEY,
        "llm_local_model": MODEL,
        "llm_first_token_timeout_s": 0.3,
        "llm_token_timeout_s": 0.3,
    }
    provider = LocalProvider(Settings(_env_file=None, **{**defaults, **settings}))  # type: ignore[call-arg]
    return LlmService({"local": provider}, first_piece_chars=None, tool_rounds=3, http=http)


async def reply(service: LlmService, *choices: ProviderChoice, **fields: Any) -> ReplyStream:
    stream = await ReplyStream(reply_request(*(choices or (LOCAL,)), **fields)).open(service)
    return await stream.done()
