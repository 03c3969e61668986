"""Composition root of the agents service."""

from __future__ import annotations

from voxbus.agents import handlers
from voxbus.agents.deletion import Deletion
from voxbus.agents.editor import Editor
from voxbus.agents.migrations import MIGRATIONS
from voxbus.agents.owners import Owners
from voxbus.agents.repository import AGENTS, AgentRepository
from voxbus.agents.service import AgentService
from voxbus.agents.settings import AgentsSettings
from voxbus.agents.sweeper import Sweeper
from voxbus.agents.versions import VersionService
from voxbus.runtime.process import Context
from voxbus.runtime.service import ServiceApplication


class AgentsApplication(ServiceApplication):
    """The agents service as a process."""

    def __init__(self, context: Context, settings: AgentsSettings) -> None:
        super().__init__(context, settings, migrations=MIGRATIONS, outboxes=(AGENTS,))
        repository = AgentRepository(self.store, self.relay)
        editor = Editor(repository, f"/agents/{context.instance_id}")
        deletion = Deletion(repository, editor, self.client)
        service = AgentService(repository, editor, Owners(self.client), deletion)
        handlers.register(self.rpc, service, VersionService(repository, editor), deletion)
        self._sweeper = Sweeper(repository, settings.sweep_interval_s)

    async def prepare(self) -> None:
        """Before the first request is taken."""
        self._sweeper.start()

    async def stop(self) -> None:
        await self._sweeper.stop()
        await super().stop()
