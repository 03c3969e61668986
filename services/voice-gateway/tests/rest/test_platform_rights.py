"""No request of a client gets the rights of the platform."""

from __future__ import annotations

import pytest
from fastapi import Request
from rest_stand import RestStand, an_actor, an_agent

from voxbus.contracts import agents
from voxbus.voice_gateway.rest.backend import Services
from voxbus.voice_gateway.rest.context import RequestContext, put_context

pytestmark = pytest.mark.unit


def _services(stand: RestStand) -> Services:
    scope = {"type": "http", "app": stand.api, "headers": []}
    put_context(scope, RequestContext("req_1"))
    return Services(Request(scope))


async def test_a_route_that_forgets_the_actor_asks_nothing() -> None:
    """A request without an actor, which services would take for the platform's own, is not sent; with one it is."""
    stand = RestStand()
    stand.services.answer(agents.GET_AGENT, an_agent())
    services = _services(stand)
    with pytest.raises(PermissionError, match="without an actor"):
        await services.request(agents.GET_AGENT, agents.GetAgent(agent_id="front-desk"))
    assert not stand.services.asked
    await services.request(agents.GET_AGENT, agents.GetAgent(agent_id="front-desk", actor=an_actor()))
    assert len(stand.services.asked) == 1
