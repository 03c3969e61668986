"""Write the committed documents anew: message schemas, `docs/asyncapi.yaml`, `docs/openapi.json`, `docs/settings.md`.

Run by `make contracts`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from settings_page import settings_text

from voxbus.contracts.asyncapi import document
from voxbus.contracts.schemas import MESSAGES, breaking_changes, schema_of
from voxbus.voice_gateway.rest.api import openapi_document

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
ASYNCAPI = ROOT / "docs" / "asyncapi.yaml"
SETTINGS = ROOT / "docs" / "settings.md"
OPENAPI = ROOT / "docs" / "openapi.json"


def asyncapi_text() -> str:
    """The AsyncAPI document as it is committed."""
    return str(yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120))


def openapi_text() -> str:
    """The OpenAPI document of the REST API as it is committed."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


def schema_text(name: str) -> str:
    """A message's schema as it is committed."""
    return json.dumps(schema_of(MESSAGES[name]), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Refuses to write a breaking change."""
    for name in MESSAGES:
        path = SCHEMAS / f"{name}.json"
        if path.exists():
            broken = breaking_changes(json.loads(path.read_text()), schema_of(MESSAGES[name]))
            if broken:
                print(f"{name} breaks its peers; it needs a new major version:", *broken, sep="\n  ")
                return 1
        path.write_text(schema_text(name))
    ASYNCAPI.write_text(asyncapi_text())
    OPENAPI.write_text(openapi_text())
    SETTINGS.write_text(settings_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
