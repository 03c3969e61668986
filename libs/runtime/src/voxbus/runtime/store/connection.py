"""The connection to MongoDB, and whether it answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from pydantic import Field
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from voxbus.contracts.stage import StoreStatus
from voxbus.runtime.metrics import STORE_PING_SECONDS, STORE_UP
from voxbus.runtime.rpc.errors import RequestFailedError, unavailable
from voxbus.runtime.settings import RuntimeSettings

log = structlog.get_logger(__name__)

Document = dict[str, Any]
_NAME = "mongodb"
_NOT_YET = "not reached yet, trying again"
_SELECTION_S = 2.0
"""How long an operation looks for the server: shorter than a request waits for its answer."""
_FULL = frozenset({10334, 17419, 17420})
"""MongoDB's codes of a change that would make a document larger than 16 MB."""
_PING_EVERY_S = 2.0
_PING_AGAIN_S = 0.5
"""Between pings while it does not answer."""


class StoreSettings(RuntimeSettings):
    """Settings of a process that keeps documents."""

    mongo_url: str = Field(
        default="mongodb://127.0.0.1:27017", description="Where MongoDB is; may hold a password.", repr=False
    )
    mongo_database: str = Field(default="voxbus", description="The database in it.")
    mongo_timeout_s: float = Field(
        default=5.0, gt=0, description="How long MongoDB may take to connect or to answer one operation."
    )


def store_failure(error: Exception) -> RequestFailedError | None:
    """UNAVAILABLE for what may succeed later: the store is away, changes its primary or is too slow, or a record is full of
    events that cannot be published at the moment. None for the rest.
    """
    if isinstance(error, PyMongoError) and (
        error.timeout or isinstance(error, ConnectionFailure) or error.has_error_label("TransientTransactionError")
    ):
        return unavailable("the store cannot be reached")
    if isinstance(error, OperationFailure) and error.code in _FULL:
        return unavailable("the record is full of events that could not be told yet; try again later")
    return None


class DocumentStore:
    """The database of the platform, as one service uses it. Reconnects by itself."""

    def __init__(self, settings: StoreSettings, service: str) -> None:
        timeout_ms = int(settings.mongo_timeout_s * 1000)
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(
            settings.mongo_url,
            tz_aware=True,
            appname=f"voxbus-{service}",
            connect=False,
            serverSelectionTimeoutMS=int(_SELECTION_S * 1000),
            connectTimeoutMS=min(timeout_ms, int(_SELECTION_S * 1000)),
            socketTimeoutMS=timeout_ms,
        )
        self._database = self._client[settings.mongo_database]
        self._timeout_s = settings.mongo_timeout_s
        self._problem: str | None = _NOT_YET
        self._latency_ms: float | None = None
        self._answers = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def database(self) -> AsyncDatabase[Document]:
        """The database; times are timezone-aware, in UTC."""
        return self._database

    def collection(self, name: str) -> AsyncCollection[Document]:
        """A collection of the database."""
        return self._database[name]

    async def start(self) -> None:
        """Begin to watch the store; returns at once."""
        self._task = asyncio.create_task(self._watch(), name="store-watch")

    async def reachable(self) -> None:
        """Wait until the store answers."""
        await self._answers.wait()

    async def stop(self) -> None:
        """Disconnect."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()
        STORE_UP.labels(_NAME).set(0)

    def status(self) -> StoreStatus:
        """As of the last ping, which is at most a few seconds old."""
        return StoreStatus(name=_NAME, problem=self._problem, latency_ms=self._latency_ms)

    def problem(self) -> str | None:
        """What is wrong; None: it answers."""
        return self._problem

    async def _watch(self) -> None:
        while True:
            await self._ping()
            await asyncio.sleep(_PING_AGAIN_S if self._problem else _PING_EVERY_S)

    async def _ping(self) -> None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._database.command("ping")
        except (PyMongoError, TimeoutError, OSError) as error:
            self._failed(error)
            return
        seconds = time.perf_counter() - started
        STORE_PING_SECONDS.labels(_NAME).observe(seconds)
        STORE_UP.labels(_NAME).set(1)
        self._latency_ms = round(seconds * 1000, 2)
        if self._problem:
            log.info("store answers", store=_NAME, latency_ms=self._latency_ms)
        self._problem = None
        self._answers.set()

    def _failed(self, error: Exception) -> None:
        # The driver's message names hosts and may quote the URL: the kind is enough.
        if self._problem in (None, _NOT_YET):
            log.warning("store does not answer, trying again", store=_NAME, error=type(error).__name__)
        self._answers.clear()
        self._latency_ms = None
        self._problem = f"does not answer ({type(error).__name__}), trying again"
        STORE_UP.labels(_NAME).set(0)
