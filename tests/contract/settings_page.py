"""`docs/settings.md`, made from the settings classes of the services."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import NoDecode

from voxbus.agents.settings import AgentsSettings
from voxbus.auth.settings import AuthSettings
from voxbus.campaigns.settings import CampaignsSettings
from voxbus.llm_worker.settings import Settings as LlmSettings
from voxbus.runtime.settings import RuntimeSettings, WorkerSettings
from voxbus.runtime.store import StoreSettings
from voxbus.stt_worker.settings import Settings as SttSettings
from voxbus.tts_worker.settings import Settings as TtsSettings
from voxbus.voice_gateway.rest.settings import Rate, RestSettings
from voxbus.voice_gateway.settings import GatewaySettings

GROUPS: Final[tuple[tuple[str, type[RuntimeSettings], type[RuntimeSettings] | None], ...]] = (
    ("Every process", RuntimeSettings, None),
    ("Processes that keep documents: auth, agents, campaigns", StoreSettings, RuntimeSettings),
    ("auth", AuthSettings, StoreSettings),
    ("agents", AgentsSettings, StoreSettings),
    ("campaigns", CampaignsSettings, StoreSettings),
    ("rest-gateway", RestSettings, RuntimeSettings),
    ("voice-gateway", GatewaySettings, RuntimeSettings),
    ("Every stage worker", WorkerSettings, RuntimeSettings),
    ("stt-worker", SttSettings, WorkerSettings),
    ("llm-worker", LlmSettings, WorkerSettings),
    ("tts-worker", TtsSettings, WorkerSettings),
)
"""Heading, class, and the class whose settings are listed elsewhere."""
_HEAD: Final = """# Settings

Environment variables, or the same names in a file `.env` in the working directory. A wrong value ends the process at its start
with a message that names the variable. Generated from the code by `make contracts`; do not edit.
"""


def settings_text() -> str:
    """The page as it is committed."""
    return "\n".join([_HEAD, *(line for group in GROUPS for line in _group(*group))]).rstrip() + "\n"


def _group(heading: str, settings: type[RuntimeSettings], base: type[RuntimeSettings] | None) -> Iterator[str]:
    known = set(base.model_fields) if base else set()
    own = {name: field for name, field in settings.model_fields.items() if name not in known}
    if not own:
        return
    yield f"## {heading}\n"
    yield "| variable | default | what |"
    yield "|---|---|---|"
    for name, field in own.items():
        yield f"| `VOXBUS_{name.upper()}` | {_default(field)} | {_what(field)} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined:
        return "set at the start"
    value = field.default
    if value is None or value == ():
        return "–"
    if isinstance(value, Path) and value.is_absolute():
        return "in the user's cache directory"
    if isinstance(value, tuple) and NoDecode not in field.metadata:
        return f"`{json.dumps(value)}`"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, Rate):
        return f"{value.limit}/{ {1: 'second', 60: 'minute', 3600: 'hour'}[value.window_s] }"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _what(field: FieldInfo) -> str:
    parts = [re.sub(r"\s+", " ", field.description or "").strip()]
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        parts.append(f"One of {', '.join(map(str, get_args(annotation)))}.")
    if annotation is SecretStr or SecretStr in get_args(annotation):
        parts.append("A secret.")
    return " ".join(part for part in parts if part).replace("|", "\\|")
