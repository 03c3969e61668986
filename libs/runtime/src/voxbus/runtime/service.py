"""A service that keeps documents and answers requests: store, migrations, outbox and requests in one life."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from voxbus.runtime.process import Application, Context
from voxbus.runtime.rpc import RpcClient, RpcServer
from voxbus.runtime.store import DocumentStore, StoreSettings, store_failure
from voxbus.runtime.store.migrations import Migration, migrate
from voxbus.runtime.store.outbox import OutboxRelay

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5


class ServiceApplication(Application):
    """Subclass it per service: build repository and service in `__init__`, and register handlers with `self.rpc.answer`."""

    def __init__(
        self,
        context: Context,
        settings: StoreSettings,
        *,
        migrations: Sequence[Migration],
        outboxes: Sequence[str],
    ) -> None:
        self._service = context.service
        self._migrations = migrations
        self.store = DocumentStore(settings, context.service)
        self.rpc = RpcServer(context.events, context.service, translate=store_failure)
        self.client = RpcClient(context.events)
        self.relay = OutboxRelay(self.store, context.events, outboxes)
        self._started = False
        self._draining = False
        context.health.add("mongodb", self.store.problem)

    async def prepare(self) -> None:
        """What the service does when its collections are there and before it answers.

        It is repeated when the store goes away in the middle.
        """

    async def start(self) -> None:
        """Wait for the store, bring it up to date, then answer.

        When the store goes away later, requests fail with UNAVAILABLE until it is back.
        """
        await self.store.start()
        await self._prepare_store()
        await self.relay.start()
        await self.rpc.start()
        self._started = True

    async def _prepare_store(self) -> None:
        while True:
            await self.store.reachable()
            try:
                await migrate(self.store, self._service, self._migrations)
                await self.prepare()
            except PyMongoError as error:
                if store_failure(error) is None:
                    raise
                log.warning("the store went away during the start, trying again", error=type(error).__name__)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def drain(self) -> None:
        """Leave requests to the other processes and answer those that have begun."""
        self._draining = True
        await self.rpc.drain()

    async def stop(self) -> None:
        """End everything; a service that has tasks of its own ends them first."""
        await self.rpc.drain()
        await self.relay.stop()
        await self.store.stop()

    def status(self) -> dict[str, Any]:
        """Ready: it has started. A store that is away since then is in `stores`, and keeps `/ready` from 200."""
        return {
            "ready": self._started and self.store.problem() is None,
            "draining": self._draining,
            "active": self.rpc.active,
            "stores": (self.store.status(),),
        }
