"""What the worker relies on in an OpenAI-compatible server: the fake keeps to it, and a real one can be held to it.

Name a real server by VOXBUS_TEST_OPENAI_BASE_URL and VOXBUS_TEST_OPENAI_MODEL.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai_server import MODEL, OpenAiServer, Reply

pytestmark = pytest.mark.integration

REAL = os.environ.get("VOXBUS_TEST_OPENAI_BASE_URL")


class Subject:
    """A server, and a client of it."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self.client = client
        self.model = model


@pytest_asyncio.fixture(
    params=["fake", pytest.param("real", marks=pytest.mark.skipif(not REAL, reason="no real server is named"))]
)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """The fake, or the real server."""
    if request.param == "real":
        async with AsyncOpenAI(base_url=REAL, api_key="none", max_retries=0) as client:
            yield Subject(client, os.environ["VOXBUS_TEST_OPENAI_MODEL"])
        return
    async with OpenAiServer() as server, AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        server.replies.append(Reply(tokens=("Hello", " there", ".")))
        yield Subject(client, MODEL)


async def test_a_reply_streams_in_chunks_and_ends_with_reason_and_usage(subject: Subject) -> None:
    """Text comes in several deltas, then one chunk has the reason, then one without choices has the usage."""
    stream = await subject.client.chat.completions.create(
        model=subject.model,
        messages=[{"role": "user", "content": "Say hello."}],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=20,
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text or "" for text in texts).strip()
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


async def test_an_unknown_model_is_not_found(subject: Subject) -> None:
    """A model the server does not have is a 404, as a client error."""
    with pytest.raises(NotFoundError):
        await subject.client.chat.completions.create(
            model="no-such-model", messages=[{"role": "user", "content": "Hi."}], stream=True
        )


async def test_a_conversation_without_messages_is_refused(subject: Subject) -> None:
    """Messages are required."""
    with pytest.raises(BadRequestError):
        await subject.client.chat.completions.create(model=subject.model, messages=[], stream=True)
