"""The agents that can be called: published versions, asked from `agents` and kept."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from voxbus.contracts import agents
from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient
from voxbus.voice_gateway.kept_agents import KeptAgents
from voxbus.voice_gateway.metrics import AGENT_LOOKUPS
from voxbus.voice_gateway.watch import EventWatch

log = structlog.get_logger(__name__)

FRESH_S: Final = 600.0
"""How long a version is used without asking, if no event says that it changed."""
ABSENT_S: Final = 3.0
"""How long an unknown id stays unknown without asking: a flood of calls to it does not reach the service."""
AWAY_S: Final = 5.0
"""After a failure the last known versions are used for this long before the service is asked again."""
_ANSWER_S, _ANSWER_OR_REFUSE_S = 0.5, 1.0
"""How long an answer may take (it is asked twice), where there is something to fall back on, and where there is not."""
_MOST: Final = 5000
"""Agents kept in memory."""


class AgentUnavailableError(Exception):
    """The service cannot be asked, and no version of the agent is known."""


@dataclass
class _Known:
    config: AgentConfig
    fresh_until: float
    reconnects: int
    """Of the bus when it was asked for: events may have been missed since it came back."""


class AgentCatalogue:
    """Published agents: cached for ten minutes, dropped by the events of `agents`.

    While the service is away the last known version is used, from memory or from disk.
    """

    def __init__(
        self,
        client: RpcClient,
        events: EventBus,
        *,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`directory`: where the last known versions are kept; None: in memory alone."""
        self._client = client
        self._watch = EventWatch(events)
        self._kept = KeptAgents(directory)
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[AgentConfig | AgentUnavailableError | None]] = {}
        self._away_until: float | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen to what changes. The bus is connected by now."""
        await self._watch.on(agents.AgentPublished, lambda event: self._drop(event.agent_id))
        await self._watch.on(agents.AgentUpdated, lambda event: self._drop(event.agent_id))
        await self._watch.on(agents.AgentDeleted, lambda event: self._deleted(event.agent_id))
        await self._watch.listening()

    async def stop(self) -> None:
        """Finish what is being written."""
        await self._watch.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3)

    def problem(self) -> str | None:
        """For /health: None while there are agents that can be called, or the service is to be asked again."""
        if self._known or self._away_until is None or self._clock() >= self._away_until:
            return None
        return "the agents service does not answer, and no agent is known"

    async def get(self, agent_id: str) -> AgentConfig | None:
        """The published version, or None when there is none. Raises AgentUnavailableError."""
        known, now = self._known.get(agent_id), self._clock()
        if known is not None and now < known.fresh_until and known.reconnects == self._watch.reconnects:
            AGENT_LOOKUPS.labels("hit").inc()
            self._known.move_to_end(agent_id)
            return known.config
        if known is not None and self._away_until is not None and now < self._away_until:
            AGENT_LOOKUPS.labels("stale").inc()
            return known.config
        if now < self._absent.get(agent_id, now):
            AGENT_LOOKUPS.labels("hit").inc()
            return None
        answer = await asyncio.shield(self._question(agent_id))
        if isinstance(answer, AgentUnavailableError):
            raise answer
        return answer

    def _question(self, agent_id: str) -> asyncio.Task[AgentConfig | AgentUnavailableError | None]:
        """One for all that ask for the same agent now."""
        task = self._asking.get(agent_id)
        if task is None:
            task = self._asking[agent_id] = self._spawn(self._ask(agent_id))
        return task

    async def _ask(self, agent_id: str) -> AgentConfig | AgentUnavailableError | None:
        reconnects = self._watch.reconnects
        try:
            resolved = await self._client.request(
                agents.RESOLVE_AGENT,
                agents.ResolveAgent(agent_id=agent_id),
                timeout_s=_ANSWER_S if agent_id in self._known else _ANSWER_OR_REFUSE_S,
            )
        except RequestFailedError as error:
            if error.code is RequestErrorCode.NOT_FOUND:
                self._not_there(agent_id)
                return None
            return await self._last_known(agent_id, error)
        else:
            self._answered()
            AGENT_LOOKUPS.labels("miss").inc()
            self._keep(resolved.config, reconnects, fresh=self._counts(agent_id))
            return resolved.config
        finally:
            if self._counts(agent_id):
                del self._asking[agent_id]

    def _counts(self, agent_id: str) -> bool:
        """Whether what this task brings is still wanted: no event said meanwhile that the agent changed."""
        return self._asking.get(agent_id) is asyncio.current_task()

    def _keep(self, config: AgentConfig, reconnects: int, *, fresh: bool) -> None:
        """Not fresh: an event has come since it was asked for, and it serves as the last known version at most."""
        before = self._known.get(config.id)
        if not fresh and (before is None or before.config.version >= config.version):
            return
        self._known[config.id] = _Known(config, self._clock() + FRESH_S if fresh else 0.0, reconnects)
        self._known.move_to_end(config.id)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        if before is None or before.config != config:
            self._spawn(self._kept.write(config))

    def _not_there(self, agent_id: str) -> None:
        self._answered()
        AGENT_LOOKUPS.labels("miss").inc()
        if not self._counts(agent_id):
            return
        if self._known.pop(agent_id, None) is not None:
            log.info("agent gone", agent_id=agent_id)
        self._spawn(self._kept.remove(agent_id))
        self._absent[agent_id] = self._clock() + ABSENT_S
        self._absent.move_to_end(agent_id)
        if len(self._absent) > _MOST:
            self._absent.popitem(last=False)

    def _answered(self) -> None:
        if self._away_until is not None:
            log.info("agents service answers again")
        self._away_until = None

    async def _last_known(self, agent_id: str, error: RequestFailedError) -> AgentConfig | AgentUnavailableError:
        if error.error.retryable:
            if self._away_until is None:
                log.warning("agents service does not answer, using what is known", reason=error.error.message)
            self._away_until = self._clock() + AWAY_S
        else:
            log.error("agent cannot be resolved", agent_id=agent_id, code=error.code.value)
        known = self._known.get(agent_id)
        config = known.config if known is not None else await self._kept.read(agent_id)
        if config is None:
            AGENT_LOOKUPS.labels("failed").inc()
            return AgentUnavailableError(agent_id)
        if self._counts(agent_id):
            self._known.setdefault(agent_id, _Known(config, 0.0, 0))
        AGENT_LOOKUPS.labels("stale").inc()
        return config

    def _drop(self, agent_id: str) -> None:
        """Ask before it is used again; it stays what is known last."""
        known = self._known.get(agent_id)
        if known is not None:
            known.fresh_until = 0.0
        self._absent.pop(agent_id, None)
        self._asking.pop(agent_id, None)  # what it brings may be older than the event

    def _deleted(self, agent_id: str) -> None:
        self._drop(agent_id)
        self._known.pop(agent_id, None)
        self._spawn(self._kept.remove(agent_id))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
