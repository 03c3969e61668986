"""Requests in, use cases, results out."""

from __future__ import annotations

from voxbus.agents.deletion import Deletion
from voxbus.agents.service import AgentService
from voxbus.agents.versions import VersionService
from voxbus.contracts import agents
from voxbus.contracts.rpc import Done
from voxbus.runtime.rpc import RpcServer


def register(server: RpcServer, service: AgentService, versions: VersionService, deletion: Deletion) -> None:
    """Answer every operation of `voxbus.contracts.agents`."""

    async def delete(request: agents.DeleteAgent) -> Done:
        await deletion.delete(request)
        return Done()

    server.answer(agents.CREATE_AGENT, service.create)
    server.answer(agents.GET_AGENT, service.get)
    server.answer(agents.LIST_AGENTS, service.list)
    server.answer(agents.REPLACE_AGENT, service.replace)
    server.answer(agents.PATCH_AGENT, service.patch)
    server.answer(agents.DELETE_AGENT, delete)
    server.answer(agents.PUBLISH_AGENT, versions.publish)
    server.answer(agents.LIST_AGENT_VERSIONS, versions.list)
    server.answer(agents.GET_AGENT_VERSION, versions.get)
    server.answer(agents.COMPARE_AGENT_VERSIONS, versions.compare)
    server.answer(agents.RESTORE_AGENT_VERSION, versions.restore)
    server.answer(agents.RESOLVE_AGENT, versions.resolve)
