"""A small service on `ServiceApplication`, run as a process: it keeps notes and tells that it did."""

from __future__ import annotations

from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from voxbus.contracts.agents import AgentCreated
from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.event import Event
from voxbus.contracts.rpc import CreateRequest, Operation
from voxbus.runtime.process import Context, load_settings, run_process
from voxbus.runtime.service import ServiceApplication
from voxbus.runtime.store import StoreSettings
from voxbus.runtime.store.migrations import Migration
from voxbus.runtime.store.outbox import entry, outbox_index

COLLECTION = "notes"


class CreateNote(CreateRequest):
    note_id: Identifier


class Note(Message):
    note_id: Identifier
    event_id: str


CREATE_NOTE: Final = Operation("notes", "create", CreateNote, Note)


class NotesService(ServiceApplication):
    """Answers one operation."""

    def __init__(self, context: Context, settings: StoreSettings) -> None:
        super().__init__(context, settings, migrations=[Migration(1, "indexes", _indexes)], outboxes=[COLLECTION])
        self.rpc.answer(CREATE_NOTE, self._create)

    async def _create(self, request: CreateNote) -> Note:
        fact: Event[Any] = Event(
            source="/notes", subject=request.note_id, data=AgentCreated(agent_id=request.note_id, user_id="user_ann")
        )
        await self.store.collection(COLLECTION).insert_one({"_id": request.note_id, "outbox": [entry(fact)]})
        self.relay.nudge(COLLECTION, request.note_id)
        return Note(note_id=request.note_id, event_id=fact.id)


async def _indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    await outbox_index(database, COLLECTION)


if __name__ == "__main__":
    run_process("notes", load_settings(StoreSettings), NotesService)
