"""What campaigns ask others: agents and users."""

from __future__ import annotations

from voxbus.contracts.access import Actor
from voxbus.contracts.agents import GET_AGENT, Agent, GetAgent
from voxbus.contracts.auth import GET_USER, GetUser
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, RpcClient, invalid


class Directory:
    """Asks `agents` and `auth`. Everything raises UNAVAILABLE when they do not answer."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def agent(self, agent_id: str, actor: Actor | None) -> Agent | None:
        """The agent as the actor sees it. While it may be about to be deleted, `agents` lets us wait for the outcome."""
        try:
            return await self._client.request(GET_AGENT, GetAgent(agent_id=agent_id, actor=actor))
        except RequestFailedError as error:
            if error.code is RequestErrorCode.NOT_FOUND:
                return None
            raise

    async def require_user(self, user_id: str) -> None:
        """Raises INVALID at `/user_id` when there is no such user."""
        try:
            await self._client.request(GET_USER, GetUser(user_id=user_id))
        except RequestFailedError as error:
            if error.code is RequestErrorCode.NOT_FOUND:
                raise invalid("/user_id", "there is no such user") from None
            raise
