"""What a client of the platform does before a call: an account, an agent, a token. All through the REST API."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.auth import CallToken, Session
from voxbus.local.access import Ask, log_in
from voxbus.local.api import ApiClient
from voxbus.local.call_tokens import get_call_token
from voxbus.local.problem import AccessRefusedError
from voxbus.local.state import StackInfo, StateDir


@dataclass(frozen=True)
class Prepared:
    """All that a call needs, and who made it."""

    email: str
    agent_id: str
    version: int
    token: CallToken


class _SessionAccess:
    """The access token of one session, which lives longer than the preparations take."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def token(self, ask: Ask, *, refused: str | None = None) -> str | None:
        """The access token."""
        return None if refused else self._session.access_token


async def prepare_call(stack: StackInfo, state: StateDir, spec: AgentSpec) -> Prepared:
    """Make an account, an agent that does what `spec` says, publish it, get a call token. Raises CommandError."""
    session = await _new_session(stack, state)
    async with ApiClient(stack.rest_url, _SessionAccess(session)) as client:
        agent = (await client.create("/agents", spec.model_dump(mode="json"))).data
        published = await client.post(f"/agents/{agent['id']}/publish", {}, revision=agent["revision"])
        token = await get_call_token(client, agent["id"])
    return Prepared(session.user.email, agent["id"], published["published_version"], token)


async def _new_session(stack: StackInfo, state: StateDir) -> Session:
    """Sign up; where nobody may, the admin makes the account."""
    account = {"email": f"demo-{secrets.token_hex(4)}@voxbus.example", "password": secrets.token_urlsafe(18)}
    async with ApiClient(stack.rest_url) as anonymous:
        try:
            return Session.model_validate(await anonymous.ask("/auth/signup", account))
        except AccessRefusedError:
            async with ApiClient.for_stack(stack, state) as admin:
                await admin.create("/users", account)
            return await log_in(anonymous.ask, account["email"], account["password"])
