"""Settings of this worker."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from voxbus.llm_worker.cutter import FIRST_PIECE_CHARS, MIN_CLAUSE_CHARS
from voxbus.llm_worker.destinations import as_network
from voxbus.runtime.settings import WorkerSettings

_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
DEFAULT_CAPACITY: Final = 64
"""Replies at a time, so that one core is half busy: measured 0.2 ms of CPU a token through the openai SDK (32 replies of 40
tokens a second took 24 % of a core), and 0.02 ms a token of the scripted provider."""


class Settings(WorkerSettings):
    """Environment variables `VOXBUS_*`."""

    llm_local_base_url: str | None = Field(
        default=None, description="OpenAI-compatible server of provider `local`, such as http://127.0.0.1:8000/v1."
    )
    llm_local_api_key: SecretStr | None = Field(
        default=None, description="Its key, if it wants one. Only ever sent to VOXBUS_LLM_LOCAL_BASE_URL."
    )
    llm_local_model: str | None = Field(default=None, description="Model of agents that name none.")
    llm_connect_timeout_s: float = Field(default=2.0, gt=0, description="To connect to a provider.")
    llm_first_token_timeout_s: float = Field(default=8.0, gt=0, description="From a request to its first token.")
    llm_token_timeout_s: float = Field(default=4.0, gt=0, description="Between two tokens.")
    llm_tool_rounds: int = Field(
        default=4,
        ge=1,
        le=20,
        description="How often in a turn a model may go on after tool calls; the last time it must speak.",
    )
    tool_allow_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts, addresses and networks (10.1.0.0/16) that HTTP tools of agents may reach besides public ones; "
        "separated by commas.",
    )
    llm_first_piece_chars: int = Field(
        default=FIRST_PIECE_CHARS,
        ge=0,
        description=f"A longer first sentence is handed on at the end of a clause; 0: never, else {MIN_CLAUSE_CHARS} or more.",
    )

    @field_validator("tool_allow_hosts", mode="before")
    @classmethod
    def _are_separated(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("tool_allow_hosts")
    @classmethod
    def _are_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if as_network(entry) is None and not _HOST.fullmatch(entry):
                raise ValueError(f"{entry!r} is no host, address or network")
        return entries

    @field_validator("llm_first_piece_chars")
    @classmethod
    def _is_a_clause(cls, chars: int) -> int:
        if 0 < chars < MIN_CLAUSE_CHARS:
            raise ValueError(f"must be 0, for never, or at least {MIN_CLAUSE_CHARS}")
        return chars
