"""The documents of an API, made once."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from fastapi import FastAPI

from voxbus.voice_gateway.rest.openapi import document
from voxbus.voice_gateway.rest.reference import reference_page


class DocumentedApi(FastAPI):
    """An application that tells what it does."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = document(self)
        return self.openapi_schema

    @cached_property
    def openapi_json(self) -> bytes:
        """The same as it is served."""
        return json.dumps(self.openapi(), ensure_ascii=False).encode()

    @cached_property
    def reference_html(self) -> bytes:
        """The same for people."""
        return reference_page(self.openapi()).encode()
