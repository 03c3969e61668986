"""Tokens for calls, from the REST API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from voxbus.contracts.auth import CallToken
from voxbus.local.api import ApiClient
from voxbus.local.errors import CallRefusedError
from voxbus.local.problem import ApiError

DEFAULT_TTL_S: Final = 600
_REFUSALS: Final = {
    HTTPStatus.NOT_FOUND: "`voxbus agents list` shows the agents there are",
    HTTPStatus.CONFLICT: "publish the agent with `voxbus agents publish`",
    HTTPStatus.FORBIDDEN: "",
}


async def get_call_token(client: ApiClient, agent_id: str, ttl_s: int = DEFAULT_TTL_S) -> CallToken:
    """A token for calls to one agent, good for `ttl_s` seconds. Raises CallRefusedError and other CommandErrors."""
    try:
        answer = await client.post("/auth/call-tokens", {"agent_id": agent_id, "ttl_s": ttl_s})
    except ApiError as error:
        if error.status not in _REFUSALS:
            raise
        raise CallRefusedError(error.code, str(error), _REFUSALS[HTTPStatus(error.status)]) from None
    return CallToken.model_validate(answer)
