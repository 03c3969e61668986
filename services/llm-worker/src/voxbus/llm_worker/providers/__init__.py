"""The providers of the language-model stage. A new one is a file here and a line in `make_providers`."""

from __future__ import annotations

from voxbus.llm_worker.providers.base import Provider
from voxbus.llm_worker.providers.local import LocalProvider
from voxbus.llm_worker.providers.scripted import ScriptedProvider
from voxbus.llm_worker.settings import Settings


def make_providers(settings: Settings) -> dict[str, Provider]:
    """Every provider of this worker, by name."""
    providers: tuple[Provider, ...] = (
        ScriptedProvider(),
        LocalProvider(settings),
    )
    return {provider.name: provider for provider in providers}
