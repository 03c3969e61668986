"""Uploads of contacts: a file as it arrives, kept on disk, then sent to `campaigns` in batches."""

from __future__ import annotations

import asyncio
import codecs
import itertools
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final, cast

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from voxbus.contracts.campaigns import MAX_BATCH, ContactRow, ContactsAdded, RowProblem
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest.contacts_file import ContactsFile, ContactsFileError
from voxbus.voice_gateway.rest.errors import RETRY_AFTER_S, ProblemError, invalid_body

MAX_FILE_BYTES: Final = 50 * 1024 * 1024
MAX_REPORTED: Final = 1000
CSV: Final = "text/csv"
MULTIPART: Final = "multipart/form-data"
_IN_MEMORY_BYTES: Final = 1 << 20
_FORM_BYTES: Final = 64 * 1024
"""Of a form around a file: boundaries, headers, other fields."""
_BATCH_BYTES: Final = 400_000
"""A request must fit in a message of the bus, 1 MiB."""
FIRST_PAUSE_S: Final = 0.5
"""Between two tries of a batch; the next ones are longer."""
_TRIES: Final = 5
STALLED_S: Final = 30.0
"""Without a byte of the file; a slow line is no reason to give up."""
_CHARSET: Final = re.compile(r';\s*charset="?([\w.:-]+)"?', re.IGNORECASE)
_CHARSETS: Final = frozenset({"ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "cp1252"})

AddBatch = Callable[[tuple[ContactRow, ...]], Awaitable[ContactsAdded]]


class ImportReport(BaseModel):
    """What came of a file; every row below the header that is not empty is counted once."""

    rows: int = Field(examples=[1200])
    added: int = Field(examples=[1150])
    duplicates: int = Field(description="Numbers that the campaign has already, or that came twice.", examples=[38])
    rejected_count: int = Field(examples=[12])
    rejected: tuple[RowProblem, ...] = Field(description=f"The first {MAX_REPORTED:,} rejected rows, in their order.")
    contact_count: int = Field(description="Contacts of the campaign afterwards.", examples=[1150])
    encoding: str = Field(
        description="How the file was read: `cp1252` or `latin-1` when it is no Unicode.", examples=["utf-8"]
    )
    delimiter: str = Field(examples=[","])


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[ContactsFile]:
    """The file of a request. Raises 413, 415, and 422 when it cannot be used."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        receiving = _from_form(request)
    elif kind == CSV:
        receiving = _from_body(request)
    else:
        raise ProblemError(415, f"send {CSV} or {MULTIPART}", headers={"Accept": f"{CSV}, {MULTIPART}"})
    async with receiving as file:
        charset = _charset(request) if kind == CSV else None
        try:
            yield await asyncio.to_thread(ContactsFile, file, charset)
        except ContactsFileError as error:
            raise invalid_body("", str(error)) from None


async def import_file(file: ContactsFile, contact_count: int, add: AddBatch) -> ImportReport:
    """Send the rows on; `contact_count` are there before.

    Raises what `add` raises, saying how many rows were taken by then. A batch is sent again when the service was away: what it
    had taken before its answer was lost then counts as duplicate.
    """
    report = _Report(file, contact_count)
    rows = file.rows()
    while batch := await asyncio.to_thread(_next_batch, rows):
        good = tuple(row for row in batch if isinstance(row, ContactRow))
        report.note_bad([row for row in batch if isinstance(row, RowProblem)])
        if good:
            try:
                report.note_added(await _persistently(add, good))
            except RequestFailedError as error:
                raise _interrupted(error, report.added) from None
    return report.result()


class _Report:
    def __init__(self, file: ContactsFile, contact_count: int) -> None:
        self._file = file
        self._contact_count = contact_count
        self.added = 0
        self._duplicates = 0
        self._rejected: list[RowProblem] = []
        self._rejected_count = 0

    def note_added(self, added: ContactsAdded) -> None:
        self.added += added.added
        self._duplicates += added.duplicates
        self._contact_count = added.contact_count
        title = self._file.phone_column
        self.note_bad(
            [
                problem.model_copy(update={"column": title}) if problem.column == "phone_number" else problem
                for problem in added.rejected
            ]
        )

    def note_bad(self, problems: list[RowProblem]) -> None:
        self._rejected_count += len(problems)
        self._rejected = sorted([*self._rejected, *problems], key=lambda problem: problem.row)[:MAX_REPORTED]

    def result(self) -> ImportReport:
        return ImportReport(
            rows=self._file.row_count,
            added=self.added,
            duplicates=self._duplicates,
            rejected_count=self._rejected_count,
            rejected=tuple(self._rejected),
            contact_count=self._contact_count,
            encoding=self._file.encoding.removesuffix("-sig"),
            delimiter=self._file.delimiter,
        )


def _next_batch(rows: Iterator[ContactRow | RowProblem]) -> list[ContactRow | RowProblem]:
    """As many rows as one request may hold; empty at the end."""
    batch: list[ContactRow | RowProblem] = []
    size = 0
    for row in itertools.islice(rows, MAX_BATCH):
        batch.append(row)
        if isinstance(row, ContactRow):
            size += len(row.encode())
        if size > _BATCH_BYTES:
            break
    return batch


async def _persistently(add: AddBatch, rows: tuple[ContactRow, ...]) -> ContactsAdded:
    for tried in itertools.count(1):
        try:
            return await add(rows)
        except RequestFailedError as error:
            if not error.error.retryable or tried == _TRIES:
                raise
            await asyncio.sleep(FIRST_PAUSE_S * 2 ** (tried - 1))
    raise AssertionError("unreachable")


def _interrupted(error: RequestFailedError, added: int) -> RequestFailedError | ProblemError:
    if not added:
        return error
    again = f"{added} contacts were added before; send the file again, and they count as duplicates"
    if error.code is RequestErrorCode.UNAVAILABLE:
        message = f"{error.error.message}: {again}"
        return ProblemError(503, message, headers={"Retry-After": str(RETRY_AFTER_S)})
    return RequestFailedError(error.code, f"{error.error.message} ({added} contacts were added before)")


@asynccontextmanager
async def _from_body(request: Request) -> AsyncIterator[BinaryIO]:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        async for chunk in _limited(request, MAX_FILE_BYTES):
            if file.tell() + len(chunk) > _IN_MEMORY_BYTES:
                await asyncio.to_thread(file.write, chunk)
            else:
                file.write(chunk)
        yield cast(BinaryIO, file)


@asynccontextmanager
async def _from_form(request: Request) -> AsyncIterator[BinaryIO]:
    chunks = _limited(request, MAX_FILE_BYTES + _FORM_BYTES)
    try:
        form = await MultiPartParser(request.headers, chunks, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError) as error:
        message = error.message if isinstance(error, MultiPartException) else "the boundary is missing"
        raise invalid_body("", f"the form cannot be read: {message}") from None
    try:
        files = [part for part in form.values() if isinstance(part, UploadFile)]
        if not files:
            raise invalid_body("", "the form has no file")
        if (files[0].size or 0) > MAX_FILE_BYTES:
            raise _too_large()
        yield files[0].file
    finally:
        await form.close()


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body. 413 as soon as it is known to be too large, 408 when nothing more of it comes."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large()
    size = 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(STALLED_S):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise ProblemError(408, "the file stopped coming", headers={"Connection": "close"}) from None
        if chunk is None:
            return
        size += len(chunk)
        if size > limit:
            raise _too_large()
        yield chunk


def _too_large() -> ProblemError:
    # The rest of the body is not read: the connection cannot be used again.
    message = f"a file may have at most {MAX_FILE_BYTES >> 20} MiB: send it in parts"
    return ProblemError(413, message, headers={"Connection": "close"})


def _charset(request: Request) -> str | None:
    found = _CHARSET.search(request.headers.get("content-type", ""))
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1]).name
    except LookupError:
        name = ""
    if name not in _CHARSETS:
        raise ProblemError(415, "send the file as UTF-8, UTF-16, ISO-8859-1 or windows-1252")
    return "utf-8-sig" if name == "utf-8" else name
