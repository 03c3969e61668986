"""Bodies: read with a limit, parsed once, refused where they hold what is not known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

import pydantic_core
from fastapi import Request
from pydantic import BaseModel, JsonValue, ValidationError

from voxbus.voice_gateway.rest.backend import backend_of
from voxbus.voice_gateway.rest.errors import ProblemError, from_validation, invalid_body, pointer, unknown_name

ModelT = TypeVar("ModelT", bound=BaseModel)

JSON: Final = ("application/json",)
MERGE_PATCH: Final = ("application/merge-patch+json", "application/json")
MAX_DEPTH: Final = 32
"""Objects and lists inside each other. The store allows 100, for the record around them too."""
MAX_VALUES: Final = 50_000
"""In one body: the largest that is of use, 1,000 contacts, has fewer, and looking at each takes time from everybody."""
BODY_TIMEOUT_S: Final = 30.0
_INT64: Final = 2**63
_CHARSET = re.compile(r';\s*charset="?(?P<charset>[\w-]+)"?', re.IGNORECASE)


class JsonBody(Generic[ModelT]):
    """Dependency: the body as a model. Unknown fields are refused, types are those of JSON (`"5"` is no number).

    Write it after the parameter that asks for a permission, so that a stranger learns nothing about bodies:

        async def create(actor: Annotated[Actor, require(...)], spec: Annotated[AgentSpec, Depends(JsonBody(AgentSpec))])
    """

    media_types: tuple[str, ...] = JSON

    def __init__(
        self, model: type[ModelT], *, examples: Mapping[str, Any] | None = None, optional: bool = False
    ) -> None:
        """`examples` for the documentation: name to body. `optional`: no body at all is an empty object."""
        self.model = model
        self.examples = dict(examples or {})
        self.optional = optional

    async def __call__(self, request: Request) -> ModelT:
        raw = await read_json_bytes(request, self.media_types, optional=self.optional)
        try:
            check_json(parse_json(raw))
            return self.model.model_validate_json(raw, strict=True, extra="forbid")
        except ValidationError as error:
            raise from_validation(error, self.model) from None


class MergePatch(Generic[ModelT]):
    """Dependency: the body as a JSON merge patch (RFC 7396) of `model`.

    Names at the top are checked here; what comes out of the patch is checked by who applies it.
    """

    media_types: tuple[str, ...] = MERGE_PATCH
    optional = False

    def __init__(self, model: type[ModelT], *, examples: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.examples = dict(examples or {})

    async def __call__(self, request: Request) -> dict[str, JsonValue]:
        patch = parse_json(await read_json_bytes(request, self.media_types))
        check_json(patch)
        if not isinstance(patch, dict):
            raise invalid_body("", "must be an object with the fields that change")
        for name in patch:
            if name not in self.model.model_fields:
                raise invalid_body(pointer((name,)), unknown_name(name, self.model.model_fields))
        return patch


async def read_json_bytes(request: Request, media_types: tuple[str, ...], *, optional: bool = False) -> bytes:
    """The body, when its type is one of `media_types` and it is not larger than the settings allow."""
    if optional and not has_body(request):
        return b"{}"
    check_media_type(request, media_types)
    return await read_body(request, backend_of(request).settings.max_body_bytes) or (b"{}" if optional else b"")


def has_body(request: Request) -> bool:
    """Whether one was announced."""
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def check_media_type(request: Request, media_types: tuple[str, ...]) -> None:
    """Raises 415 when the body is said to be something else."""
    value = request.headers.get("content-type", "")
    kind = value.partition(";")[0].strip().lower()
    charset = _CHARSET.search(value)
    if kind not in media_types:
        raise ProblemError(
            415,
            f"send {' or '.join(media_types)}" + (f", not {kind}" if re.fullmatch(r"[\w.+/-]{1,100}", kind) else ""),
            headers={"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(media_types)},
        )
    if charset and charset["charset"].lower() not in ("utf-8", "utf8"):
        raise ProblemError(415, "JSON is sent as UTF-8")


async def read_body(request: Request, limit: int) -> bytes:
    """The body; 413 as soon as it is known to be larger than `limit` bytes, however it is sent, 408 when it takes too long."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError(408, "the body did not come in time", headers={"Connection": "close"}) from None
    return b"".join(chunks)


def parse_json(raw: bytes) -> Any:
    """What the bytes say; 422 when they are no JSON, and for NaN, which is none."""
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise invalid_body("", f"not valid JSON: {error}") from None


def check_json(value: Any) -> None:
    """Raises 422 for what parses and cannot be kept: depth, U+0000, numbers beyond 64 bits, values without end."""
    seen = 0
    pending: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while pending:
        path, item = pending.pop()
        seen += 1
        if seen + len(pending) > MAX_VALUES:
            raise invalid_body("", f"holds more than {MAX_VALUES} values")
        if isinstance(item, str):
            if "\0" in item:
                raise invalid_body(pointer(path), "must not hold the character U+0000")
        elif isinstance(item, dict | list):
            if len(path) >= MAX_DEPTH:
                raise invalid_body(pointer(path), f"is nested deeper than {MAX_DEPTH} levels")
            pairs = item.items() if isinstance(item, dict) else enumerate(item)
            for key, inner in pairs:
                if isinstance(key, str) and "\0" in key:
                    raise invalid_body(pointer(path), "must not hold the character U+0000 in a name")
                pending.append(((*path, key), inner))
        elif isinstance(item, int) and not -_INT64 <= item < _INT64:
            raise invalid_body(pointer(path), "must be a number of at most 64 bits")
        elif isinstance(item, float) and item in (float("inf"), float("-inf")):
            raise invalid_body(pointer(path), "is too large for a number")


def _too_large(limit: int) -> ProblemError:
    # The server throws away the rest as it comes: closing at once would reset the connection, and the client lose this answer.
    return ProblemError(413, f"a body may have at most {limit} bytes")
