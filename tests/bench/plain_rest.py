"""What the REST benchmark is compared with: agents kept by FastAPI and pymongo in one process, with nothing around it.

No users, no permissions, no versions, no events, no limits: create, get and list of a document with a validated body.
Run by `rest.py`: `python plain_rest.py MONGO_URL PORT`.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pymongo import AsyncMongoClient

from voxbus.contracts.agents import AgentSpec


def make_api(mongo_url: str) -> FastAPI:
    """The three routes."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    agents = client["plain"]["agents"]

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        await agents.create_index([("user_id", 1), ("created_at", -1)])
        yield
        await client.close()

    api = FastAPI(lifespan=lifespan)

    @api.post("/agents", status_code=201)
    async def create(spec: AgentSpec) -> dict[str, Any]:
        document = {
            "_id": f"agent_{secrets.token_hex(10)}",
            "user_id": "user_1",
            "created_at": datetime.now(UTC),
            "draft": spec.model_dump(mode="json"),
        }
        await agents.insert_one(document)
        return {"id": document.pop("_id"), **document}

    @api.get("/agents/{agent_id}")
    async def get(agent_id: str) -> dict[str, Any]:
        document = await agents.find_one({"_id": agent_id})
        if document is None:
            raise HTTPException(404)
        return {"id": document.pop("_id"), **document}

    @api.get("/agents")
    async def list_agents(limit: int = 20) -> dict[str, Any]:
        cursor = (
            agents.find({"user_id": "user_1"}, {"draft.name": 1, "created_at": 1}).sort("created_at", -1).limit(limit)
        )
        return {"items": [{"id": document.pop("_id"), **document} async for document in cursor]}

    return api


if __name__ == "__main__":
    uvicorn.run(
        make_api(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
    )
