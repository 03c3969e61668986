"""Runs a language-model worker: `python -m voxbus.llm_worker`."""

from __future__ import annotations

from voxbus.llm_worker.destinations import Destinations
from voxbus.llm_worker.http_tools import HttpTools
from voxbus.llm_worker.providers import make_providers
from voxbus.llm_worker.service import LlmService
from voxbus.llm_worker.settings import DEFAULT_CAPACITY, Settings
from voxbus.runtime.process import run_worker


def build(settings: Settings) -> LlmService:
    """The service with every provider."""
    return LlmService(
        make_providers(settings),
        first_piece_chars=settings.llm_first_piece_chars or None,
        tool_rounds=settings.llm_tool_rounds,
        http=HttpTools(Destinations(settings.tool_allow_hosts)),
    )


def main() -> None:
    """Entry of the process."""
    run_worker("llm-worker", Settings, build, default_capacity=DEFAULT_CAPACITY)


if __name__ == "__main__":
    main()
