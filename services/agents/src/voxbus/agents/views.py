"""From documents to what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxbus.agents.domain import read_spec
from voxbus.agents.secret_headers import mask
from voxbus.contracts.agents import Agent, AgentSpec, AgentSummary, AgentVersion

Document = Mapping[str, Any]
_SUMMARY = (
    "user_id", "name", "language", "stt_provider", "llm_provider", "tts_provider", "revision", "published_version",
    "published_at", "created_at", "updated_at",
)  # fmt: skip


def spec_values(spec: AgentSpec) -> dict[str, Any]:
    """What of a spec stands beside its text, for lists."""
    return {
        "name": spec.name,
        "name_folded": spec.name.casefold(),
        "language": spec.language,
        "stt_provider": spec.stt_provider,
        "llm_provider": spec.llm_provider,
        "tts_provider": spec.tts_provider,
    }


def summary(document: Document) -> AgentSummary:
    """An agent in a list."""
    return AgentSummary(**_summary(document))


def agent(document: Document) -> Agent:
    """An agent with its draft, secrets masked."""
    return Agent(**_summary(document), draft=mask(read_spec(document["draft"])))


def version(document: Document, entry: Document) -> AgentVersion:
    """A version in a list."""
    return AgentVersion(**version_values(document, entry))


def version_values(document: Document, entry: Document) -> dict[str, Any]:
    """The fields of `AgentVersion`."""
    return {
        "agent_id": document["_id"],
        "version": entry["version"],
        "note": entry["note"],
        "published_at": entry["published_at"],
        "published_by": entry["published_by"],
        "current": entry["version"] == document["published_version"],
    }


def _summary(document: Document) -> dict[str, Any]:
    return {
        "id": document["_id"],
        "unpublished_changes": document["draft_hash"] != document["published_hash"],
        **{name: document[name] for name in _SUMMARY},
    }
