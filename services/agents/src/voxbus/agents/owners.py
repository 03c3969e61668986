"""Whose an agent is, and who may say so."""

from __future__ import annotations

from typing import Final

from voxbus.contracts.access import Actor
from voxbus.contracts.auth import GET_USER, GetUser
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, RpcClient, invalid

_ASK_S: Final = 1.0
"""For one try of two, so that the answer comes before the sender of the request gives up."""


class Owners:
    """Asks `auth` whether a user exists."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client

    async def of_new(self, actor: Actor | None, named: str | None) -> str:
        """The owner of a new agent. INVALID, FORBIDDEN."""
        if actor is not None:
            return await self.changed(actor, actor.user_id, named)
        if named is None:
            raise invalid("/user_id", "the platform must say whose the agent is")
        return await self._existing(named)

    async def changed(self, actor: Actor | None, current: str, named: str | None) -> str:
        """The owner after a change that names one, or names none. INVALID, FORBIDDEN."""
        if named is None or named == current:
            return current
        if actor is not None and not actor.is_admin:
            raise RequestFailedError(RequestErrorCode.FORBIDDEN, "only an admin gives agents to other users")
        return await self._existing(named)

    async def _existing(self, user_id: str) -> str:
        try:
            return (await self._client.request(GET_USER, GetUser(user_id=user_id), timeout_s=_ASK_S)).id
        except RequestFailedError as error:
            if error.error.code is RequestErrorCode.NOT_FOUND:
                raise invalid("/user_id", "there is no such user") from None
            raise
