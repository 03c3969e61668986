"""Settings of the worker, and what comes of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from reply_stream import ReplyStream, reply_request

from voxbus.contracts.stage import ProviderChoice
from voxbus.llm_worker.__main__ import build
from voxbus.llm_worker.script import library
from voxbus.llm_worker.settings import Settings

pytestmark = pytest.mark.unit

LINE = "If you would like to come on Tuesday, then we could see you right after lunch."
ECHO = ProviderChoice(name="scripted", settings={"script": {"otherwise": LINE}, "token_ms": 0})


def made(**settings: Any) -> Settings:
    return Settings(_env_file=None, **settings)


@pytest.mark.parametrize(("chars", "pieces"), [(0, 1), (40, 2)])
async def test_a_first_piece_may_never_leave_early(chars: int, pieces: int) -> None:
    """0 switches the early first piece off."""
    service = build(made(llm_first_piece_chars=chars))
    stream = await (await ReplyStream(reply_request(ECHO)).open(service)).done()
    assert len(stream.sentences) == pieces
    await service.stop()


@pytest.mark.parametrize("chars", [-1, 10])
def test_a_first_piece_is_no_chopped_word(chars: int) -> None:
    """Lengths below that of a clause are refused."""
    with pytest.raises(ValidationError, match="llm_first_piece_chars"):
        made(llm_first_piece_chars=chars)


def test_scripts_of_agents_are_not_kept_for_ever() -> None:
    """The worker remembers the scripts used last."""
    for number in range(300):
        library.parse({"otherwise": f"Line {number}."})
    assert library._parse.cache_info().currsize == 256
